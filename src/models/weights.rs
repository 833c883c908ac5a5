//! Weights on disk: safetensors under the authors' `state_dict` names, sorted, so that
//! PyTorch loads them with `strict=True`.

pub use super::tensors::{METADATA, NamedTensors, Tensor, WeightsError, metadata};

use super::graph::Graph;
use super::state::{Running, State};
use super::tensors::{self, Values};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;

/// The `state_dict` of a network.
pub fn named(graph: &Graph, state: &State) -> NamedTensors {
    let mut named = NamedTensors::new();
    for (parameter, values) in graph.parameters.iter().zip(&state.parameters) {
        let tensor = Tensor::f32(parameter.shape.clone(), values.clone());
        named.insert(parameter.name.clone(), tensor);
    }
    for (norm, running) in graph.norms.iter().zip(&state.running) {
        let Running { mean, variance } = running;
        let [mean, variance] = [mean, variance].map(|v| Tensor::f32(vec![v.len()], v.clone()));
        let count = Tensor::i64(Vec::new(), vec![state.batches_tracked]);
        named.insert(format!("{}.running_mean", norm.name), mean);
        named.insert(format!("{}.running_var", norm.name), variance);
        named.insert(format!("{}.num_batches_tracked", norm.name), count);
    }
    named
}

/// The state of a network from its `state_dict`; every name must fit, as with `strict=True`.
///
/// # Errors
/// If a tensor is missing, left over, or of another shape.
pub fn state(graph: &Graph, named: &NamedTensors) -> Result<State, WeightsError> {
    let mut used = 0;
    let mut take = |name: &str| -> Result<&Tensor, WeightsError> {
        used += 1;
        named.get(name).ok_or_else(|| WeightsError::Missing(name.to_owned()))
    };
    let mut numbers = |name: &str, shape: &[usize]| {
        let found = take(name)?;
        match &found.values {
            Values::F32(values) if found.shape == shape => Ok(values.clone()),
            other => Err(WeightsError::Shape {
                name: name.to_owned(),
                found: found.shape.clone(),
                dtype: other.dtype(),
                expected: shape.to_vec(),
            }),
        }
    };
    let parameters = graph.parameters.iter().map(|p| numbers(&p.name, &p.shape));
    let parameters = parameters.collect::<Result<Vec<_>, _>>()?;
    let running = graph.norms.iter().map(|norm| {
        let mean = numbers(&format!("{}.running_mean", norm.name), &[norm.channels])?;
        let variance = numbers(&format!("{}.running_var", norm.name), &[norm.channels])?;
        Ok(Running { mean, variance })
    });
    let running = running.collect::<Result<Vec<_>, WeightsError>>()?;
    let mut batches_tracked = 0;
    for norm in &graph.norms {
        let name = format!("{}.num_batches_tracked", norm.name);
        batches_tracked = match &take(&name)?.values {
            Values::I64(values) if values.len() == 1 => values[0],
            _ => {
                return Err(WeightsError::Format(format!(
                    "tensor '{name}' is not a single integer"
                )));
            }
        };
    }
    let state = State { parameters, running, batches_tracked };
    if used == named.len() {
        return Ok(state);
    }
    let known = self::named(graph, &state);
    let stranger = named.keys().find(|name| !known.contains_key(*name)).cloned();
    Err(WeightsError::Unexpected(stranger.unwrap_or_default()))
}

/// Serializes tensors, sorted by name. A single metadata entry, since the crate keeps several
/// in a hash map, whose order would change the bytes.
pub fn to_bytes(tensors: &NamedTensors, metadata: Option<String>) -> Vec<u8> {
    let data: Vec<(&String, Dtype, &Tensor, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let (dtype, bytes) = match &tensor.values {
                Values::F32(values) => {
                    (Dtype::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
                }
                Values::I64(values) => {
                    (Dtype::I64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
                }
            };
            (name, dtype, tensor, bytes)
        })
        .collect();
    let views = data.iter().map(|(name, dtype, tensor, bytes)| {
        let view = TensorView::new(*dtype, tensor.shape.clone(), bytes);
        (name.as_str(), view.expect("the length of a tensor fits its shape"))
    });
    let metadata = metadata.map(|text| HashMap::from([(METADATA.to_owned(), text)]));
    safetensors::serialize(views, metadata).expect("names are distinct and shapes are right")
}

/// Reads tensors of `f32` or `i64`.
///
/// # Errors
/// If the bytes are no safetensors file or hold another type.
pub fn from_bytes(bytes: &[u8]) -> Result<NamedTensors, WeightsError> {
    tensors::parse(bytes)
}
