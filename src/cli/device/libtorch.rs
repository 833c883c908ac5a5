//! Devices of libtorch.

use super::ALL_GPUS;
use crate::backend::Device;
use crate::cli::Failure;
use crate::torch::{self, TorchDevice, TorchError};

impl From<TorchError> for Failure {
    fn from(problem: TorchError) -> Self {
        Failure::Environment(problem.to_string())
    }
}

/// Names of the devices that `device` stands for.
pub fn names(device: &str) -> Result<Vec<String>, Failure> {
    torch::initialize()?;
    let name = |device| match device {
        tch::Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    };
    if device == ALL_GPUS {
        return Ok(torch::all_gpus()?.into_iter().map(name).collect());
    }
    Ok(vec![name(torch::device(device)?)])
}

/// One device.
pub fn open(name: &str, graphs: bool) -> Result<Box<dyn Device>, Failure> {
    torch::initialize()?;
    Ok(Box::new(TorchDevice::new(torch::device(name)?, graphs)))
}

/// Bytes of a GPU's memory, where it is known.
pub fn memory(name: &str) -> Option<u64> {
    torch::device(name).ok().and_then(torch::gpu_memory)
}
