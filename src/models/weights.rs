//! Weights on disk: safetensors under the authors' `state_dict` names, sorted, so that
//! PyTorch loads them with `strict=True`.

pub use super::tensors::{METADATA, WeightsError, metadata};

use super::Network;
use super::tensors::{self, Values};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::{BTreeMap, HashMap};
use tch::{Kind, Tensor};

/// Names and tensors, sorted by name.
pub type NamedTensors = BTreeMap<String, Tensor>;

/// Everything in the network's `state_dict`, in standard memory order, on the CPU.
pub fn state(network: &Network) -> NamedTensors {
    let mut state: NamedTensors = network
        .parameters
        .iter()
        .chain(&network.buffers)
        .map(|named| (named.name.clone(), named.tensor.detach().copy()))
        .collect();
    for buffer in &network.buffers {
        if let Some(layer) = buffer.name.strip_suffix(".running_mean") {
            let count = Tensor::from(network.batches_tracked);
            state.insert(format!("{layer}.num_batches_tracked"), count);
        }
    }
    state
}

/// Copies a `state_dict` into the network; every name must fit, as with `strict=True`.
///
/// # Errors
/// If a tensor is missing, left over, or of another shape.
pub fn load_state(network: &mut Network, state: &NamedTensors) -> Result<(), WeightsError> {
    let mut used = 0;
    let _no_grad = tch::no_grad_guard();
    for named in network.parameters.iter_mut().chain(&mut network.buffers) {
        let name = &named.name;
        let found = state.get(name).ok_or_else(|| WeightsError::Missing(name.clone()))?;
        if found.size() != named.tensor.size() || found.kind() != Kind::Float {
            return Err(WeightsError::Shape {
                name: name.clone(),
                found: found.size().iter().map(|&s| s as usize).collect(),
                dtype: format!("{:?}", found.kind()),
                expected: named.tensor.size(),
            });
        }
        named.tensor.copy_(found);
        used += 1;
    }
    for buffer in &network.buffers {
        let Some(layer) = buffer.name.strip_suffix(".running_mean") else { continue };
        let name = format!("{layer}.num_batches_tracked");
        let count = state.get(&name).ok_or(WeightsError::Missing(name.clone()))?;
        if !count.size().is_empty() {
            return Err(WeightsError::Format(format!("tensor '{name}' is not a single number")));
        }
        network.batches_tracked = count.int64_value(&[]);
        used += 1;
    }
    if used == state.len() {
        return Ok(());
    }
    let known: Vec<String> = self::state(network).into_keys().collect();
    let stranger = state.keys().find(|name| !known.contains(name)).cloned();
    Err(WeightsError::Unexpected(stranger.unwrap_or_default()))
}

/// Serializes tensors (`f32` or `i64`), sorted by name. A single metadata entry, since the
/// crate keeps several in a hash map, whose order would change the bytes.
pub fn to_bytes(tensors: &NamedTensors, metadata: Option<String>) -> Vec<u8> {
    let data: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let shape = tensor.size().iter().map(|&s| s as usize).collect();
            let (dtype, bytes) = raw(tensor);
            (name.clone(), dtype, shape, bytes)
        })
        .collect();
    let views = data.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name.as_str(), view.expect("the length of a tensor fits its shape"))
    });
    let metadata = metadata.map(|text| HashMap::from([(METADATA.to_owned(), text)]));
    safetensors::serialize(views, metadata).expect("names are distinct and shapes are right")
}

fn raw(tensor: &Tensor) -> (Dtype, Vec<u8>) {
    let flat = tensor.detach().to_device(tch::Device::Cpu).contiguous().view([-1]);
    match tensor.kind() {
        Kind::Int64 => {
            let values = Vec::<i64>::try_from(&flat).expect("a flat i64 tensor");
            (Dtype::I64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
        kind => {
            assert_eq!(kind, Kind::Float, "weights are f32 or i64");
            let values = Vec::<f32>::try_from(&flat).expect("a flat f32 tensor");
            (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
    }
}

/// Reads tensors of `f32` or `i64`.
///
/// # Errors
/// If the bytes are no safetensors file or hold another type.
pub fn from_bytes(bytes: &[u8]) -> Result<NamedTensors, WeightsError> {
    let tensor = |read: tensors::FileTensor| {
        let flat = match &read.values {
            Values::F32(values) => Tensor::from_slice(values),
            Values::I64(values) => Tensor::from_slice(values),
        };
        (read.name, flat.view(read.shape.as_slice()))
    };
    Ok(tensors::parse(bytes)?.into_iter().map(tensor).collect())
}
