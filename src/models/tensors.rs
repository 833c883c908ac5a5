//! Safetensors files as plain numbers, read without trust: a file may come from anywhere.

use safetensors::tensor::{Dtype, SafeTensors};
use std::collections::BTreeMap;

/// Weights that do not fit the network they are for, or that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("not a readable safetensors file: {0}")]
    Format(String),
    #[error("tensor '{0}' is missing")]
    Missing(String),
    #[error("tensor '{name}' has shape {found:?} and type {dtype}, expected {expected:?} F32")]
    Shape { name: String, found: Vec<usize>, dtype: &'static str, expected: Vec<usize> },
    #[error("tensor '{0}' does not belong to this network")]
    Unexpected(String),
}

/// Values of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    F32(Vec<f32>),
    I64(Vec<i64>),
}

impl Values {
    /// Name of the type, as safetensors writes it.
    pub fn dtype(&self) -> &'static str {
        match self {
            Values::F32(_) => "F32",
            Values::I64(_) => "I64",
        }
    }
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Every size is at least 1.
    pub shape: Vec<usize>,
    /// As many as the shape says, in PyTorch's memory order.
    pub values: Values,
}

impl Tensor {
    /// Numbers of a shape.
    pub fn f32(shape: Vec<usize>, values: Vec<f32>) -> Tensor {
        Tensor { shape, values: Values::F32(values) }
    }

    /// Integers of a shape.
    pub fn i64(shape: Vec<usize>, values: Vec<i64>) -> Tensor {
        Tensor { shape, values: Values::I64(values) }
    }
}

/// Names and tensors, sorted by name.
pub type NamedTensors = BTreeMap<String, Tensor>;

/// Name of the one metadata entry that files of this program may have.
pub const METADATA: &str = "bgm";

/// Reads all tensors, of `f32` or `i64`.
///
/// # Errors
/// If the bytes are no safetensors file, hold another type, or a tensor without values.
pub fn parse(bytes: &[u8]) -> Result<NamedTensors, WeightsError> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| WeightsError::Format(e.to_string()))?;
    let mut tensors = NamedTensors::new();
    for (name, view) in file.tensors() {
        // No size may be 0, or the others could be anything.
        let shape = view.shape().to_vec();
        if shape.contains(&0) {
            return Err(WeightsError::Format(format!("tensor '{name}' has the shape {shape:?}")));
        }
        let values = match view.dtype() {
            Dtype::F32 => Values::F32(values(view.data(), f32::from_le_bytes)),
            Dtype::I64 => Values::I64(values(view.data(), i64::from_le_bytes)),
            other => {
                return Err(WeightsError::Format(format!("tensor '{name}' has type {other:?}")));
            }
        };
        tensors.insert(name, Tensor { shape, values });
    }
    Ok(tensors)
}

fn values<const N: usize, T>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    let array = |chunk: &[u8]| read(chunk.try_into().expect("chunks have N bytes"));
    bytes.chunks_exact(N).map(array).collect()
}

/// The metadata entry of a file.
///
/// # Errors
/// If the bytes are no safetensors file or carry no such entry.
pub fn metadata(bytes: &[u8]) -> Result<String, WeightsError> {
    let (_, header) =
        SafeTensors::read_metadata(bytes).map_err(|e| WeightsError::Format(e.to_string()))?;
    let entry = header.metadata().as_ref().and_then(|entries| entries.get(METADATA));
    entry.cloned().ok_or_else(|| WeightsError::Format(format!("no metadata entry '{METADATA}'")))
}
