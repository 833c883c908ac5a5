//! What is recorded of the machine.

#[path = "../../src/torch/platform.rs"]
mod platform;

pub use platform::{Platform, Precision};
