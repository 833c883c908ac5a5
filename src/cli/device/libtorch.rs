//! Devices of libtorch.

use crate::backend::Device;
use crate::cli::CliError;
use crate::cli::program::program;
use crate::cli::terminal::note;
use crate::torch::{self, TorchDevice, TorchError};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

impl From<TorchError> for CliError {
    fn from(problem: TorchError) -> Self {
        CliError::Environment(problem.to_string())
    }
}

/// Settings under which oneDNN and MKL, which libtorch calls on a processor, compute other bits,
/// although the recorded platform stays the same. ATen's own, ATEN_CPU_CAPABILITY, is part of
/// the platform.
const SETTINGS: [&str; 7] = [
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_DEBUG_CPU_TYPE",
];

/// Begins the program anew without such settings, if there are any: libtorch reads them when it
/// is loaded, so that it is too late to clear them here.
///
/// # Errors
/// If the program cannot be started again.
pub fn clear_settings() -> Result<(), CliError> {
    if SETTINGS.iter().all(|name| std::env::var_os(name).is_none()) {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut program = program()
        .map(Command::new)
        .map_err(|e| CliError::Environment(format!("this program: {e}")))?;
    program.arg0(arguments.next().unwrap_or_default()).args(arguments);
    for name in SETTINGS {
        program.env_remove(name);
    }
    // Comes back only if it fails.
    Err(CliError::Environment(format!("this program, without {}: {}", SETTINGS[0], program.exec())))
}

/// Names of the devices that `device` stands for.
pub fn names(device: &str) -> Result<Vec<String>, CliError> {
    torch::initialize()?;
    let name = |device| match device {
        tch::Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    };
    let devices = torch::devices(device)?;
    if device == "auto"
        && !devices.iter().any(|device| device.is_cuda())
        && let Some(problem) = torch::cuda_failure()
    {
        warn_of_unused_gpu(&problem);
    }
    Ok(devices.into_iter().map(name).collect())
}

/// `auto` takes the CPU where CUDA does not load: that must not go unnoticed.
fn warn_of_unused_gpu(problem: &str) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        note!(
            "bgm: this machine has an NVIDIA driver, but its GPU cannot be used: {problem}; the \
             CPU is used instead (--device cpu says that this is meant)"
        );
    });
}

static GRAPHS_REFUSED: AtomicBool = AtomicBool::new(false);

/// Whether steps were to be recorded as CUDA graphs in this process and could not be.
pub fn graphs_refused() -> bool {
    GRAPHS_REFUSED.load(Ordering::SeqCst)
}

/// One device, on which steps are recorded as CUDA graphs if told to and possible.
pub fn open(name: &str, graphs: bool) -> Result<Box<dyn Device>, CliError> {
    torch::initialize()?;
    let warn = |problem: &str| {
        // Once for a process, whatever number of networks it opens.
        if !GRAPHS_REFUSED.swap(true, Ordering::SeqCst) {
            note!("bgm: {problem}");
        }
    };
    Ok(Box::new(TorchDevice::new(torch::device(name)?, graphs, warn)))
}

/// Bytes of a GPU's memory, where it is known.
pub fn memory(name: &str) -> Option<u64> {
    torch::device(name).ok().and_then(torch::gpu_memory)
}
