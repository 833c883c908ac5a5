//! Libtorch, on GPUs and as a second implementation on CPUs. The one room that knows it.

mod backend;
mod ffi;
mod layers;
pub mod network;
pub mod optim;
pub mod replay;
mod resident;

pub use backend::{TorchBackend, TorchDevice};
pub use ffi::{AdamMoments, Graph, adam_step, sgd_step};
pub use layers::Mode;
pub use optim::step;

use crate::backend::Platform;
use crate::spec::{Numerics, Precision};
use std::path::Path;
use std::sync::OnceLock;
use tch::Device;

/// What libtorch refused to do.
#[derive(Debug, thiserror::Error)]
pub enum TorchError {
    #[error("libtorch: {0}")]
    Call(String),
    #[error(transparent)]
    Tch(#[from] tch::TchError),
    #[error("device '{0}' is not to be had here: {1}; use --device cpu, or see `bgm doctor`")]
    Device(String, String),
    #[error(
        "--device cuda:all spreads runs over all GPUs, and this is about one: use cuda:0, or `bgm reproduce`"
    )]
    Several,
    #[error(
        "the spec asks for precision 'tf32', which only a GPU has: use --device cuda:0, or precision 'strict'"
    )]
    Precision,
}

/// Prepares libtorch for deterministic work in this process: one thread, no algorithm
/// search, deterministic kernels only, all bits of `f32`.
///
/// # Errors
/// If libtorch refuses one of the switches.
pub fn initialize() -> Result<(), TorchError> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| {
        tch::set_num_threads(1);
        tch::set_num_interop_threads(1);
        ffi::set_numerics(false)
    })
    .clone()
    .map_err(TorchError::Call)
}

/// Switches this process to the precision that a run declares.
///
/// # Errors
/// If `device` has no such precision, or libtorch refuses the switch.
pub fn use_precision(precision: Precision, device: Device) -> Result<(), TorchError> {
    if precision == Precision::Tf32 && device == Device::Cpu {
        return Err(TorchError::Precision);
    }
    initialize()?;
    ffi::set_numerics(precision == Precision::Tf32).map_err(TorchError::Call)
}

/// What stands for every GPU of the machine.
pub const ALL_GPUS: &str = "cuda:all";

/// Resolves [`ALL_GPUS`], or whatever [`device`] takes, to at least one device.
///
/// # Errors
/// If the device is unknown or absent.
pub fn devices(name: &str) -> Result<Vec<Device>, TorchError> {
    if name != ALL_GPUS {
        return Ok(vec![device(name)?]);
    }
    let refuse = |why: &str| TorchError::Device(name.to_owned(), why.to_owned());
    if !driver_present() {
        return Err(refuse("there is no NVIDIA driver"));
    }
    load_cuda().map_err(|e| refuse(&e))?;
    match usize::try_from(tch::Cuda::device_count()) {
        Ok(count) if count > 0 => Ok((0..count).map(Device::Cuda).collect()),
        _ => Err(refuse("libtorch sees no GPU")),
    }
}

/// Resolves `auto`, `cpu` or `cuda:N`. On a machine with an NVIDIA driver, libtorch's CUDA
/// half is loaded first: the linker drops it, since nothing here refers to it by name.
///
/// # Errors
/// If the device is unknown or absent.
pub fn device(name: &str) -> Result<Device, TorchError> {
    let refuse = |why: &str| TorchError::Device(name.to_owned(), why.to_owned());
    match name {
        "cpu" => Ok(Device::Cpu),
        ALL_GPUS => Err(TorchError::Several),
        "auto" => Ok(if driver_present() && cuda_failure().is_none() {
            Device::Cuda(0)
        } else {
            Device::Cpu
        }),
        _ => {
            let index = name.strip_prefix("cuda:").and_then(|n| n.parse::<usize>().ok());
            let index = index.ok_or_else(|| {
                refuse("the choices are auto, cpu, cuda:0, cuda:1, ... and cuda:all")
            })?;
            if !driver_present() {
                return Err(refuse("there is no NVIDIA driver"));
            }
            load_cuda().map_err(|e| refuse(&e))?;
            if (index as i64) < tch::Cuda::device_count() {
                Ok(Device::Cuda(index))
            } else {
                Err(refuse("libtorch sees no such GPU"))
            }
        }
    }
}

/// Why the GPUs of a machine that has an NVIDIA driver cannot be used; `None` if they can be, or
/// if there is no driver. What `auto` falls back to the CPU for, to be told to the user.
pub fn cuda_failure() -> Option<String> {
    if !driver_present() {
        return None;
    }
    match load_cuda() {
        Err(problem) => Some(problem),
        Ok(()) if !tch::Cuda::is_available() => Some(
            "libtorch sees no GPU (CUDA_VISIBLE_DEVICES, or a driver older than CUDA 13?)".into(),
        ),
        Ok(()) => ffi::gpu_name(0).err(),
    }
}

fn driver_present() -> bool {
    Path::new("/dev/nvidiactl").exists() || Path::new("/dev/nvidia0").exists()
}

fn load_cuda() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED.get_or_init(|| ffi::load_library("libtorch_cuda.so")).clone()
}

/// The platform that `device` gives runs on.
pub fn platform(device: Device) -> Platform {
    let model = match device {
        Device::Cuda(index) => ffi::gpu_name(index)
            .unwrap_or_else(|problem| format!("GPU {index}, whose model is unknown: {problem}")),
        _ => cpu_model(),
    };
    let numerics = match device {
        Device::Cuda(_) => Numerics::libtorch_cuda(LIBTORCH_VERSION, &model),
        _ => Numerics::libtorch_cpu(LIBTORCH_VERSION),
    };
    Platform { numerics, device: model }
}

/// Bytes of memory of a GPU; `None` for a CPU, or if the driver does not say.
pub fn gpu_memory(device: Device) -> Option<u64> {
    match device {
        Device::Cuda(index) => ffi::gpu_memory(index).ok(),
        _ => None,
    }
}

/// The libtorch release that tch 0.24.0 is written for.
pub const LIBTORCH_VERSION: &str = "2.11.0";

fn cpu_model() -> String {
    format!("{}, {}", crate::backend::processor(), ffi::cpu_capability())
}
