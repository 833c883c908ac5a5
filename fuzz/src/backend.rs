//! What is recorded of the machine.

#[path = "../../src/backend/platform.rs"]
mod platform;

pub use platform::Platform;
