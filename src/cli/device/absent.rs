//! What a program that was built without libtorch says of its devices.

use crate::backend::Device;
use crate::cli::CliError;

fn refuse(device: &str) -> CliError {
    CliError::Environment(format!(
        "device '{device}': this program was built without libtorch, which GPUs and --engine \
         libtorch need: build it with `make TORCH=yes`, or use --engine portable --device cpu"
    ))
}

pub fn names(device: &str) -> Result<Vec<String>, CliError> {
    Err(refuse(device))
}

pub fn open(name: &str, _graphs: bool) -> Result<Box<dyn Device>, CliError> {
    Err(refuse(name))
}

pub fn graphs_refused() -> bool {
    false
}

pub fn memory(_name: &str) -> Option<u64> {
    None
}

/// There is nothing here that would heed such settings.
pub fn clear_settings() -> Result<(), CliError> {
    Ok(())
}
