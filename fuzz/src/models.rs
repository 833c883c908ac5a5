//! Weights files.

#[path = "../../src/models/tensors.rs"]
pub mod tensors;
