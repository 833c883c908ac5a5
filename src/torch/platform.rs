//! The kind of machine that a run was made on.

use serde::{Deserialize, Serialize};

/// What bits depend on at determinism level D1: the same on two machines means that they
/// give the same bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    /// Version of libtorch that tch was built against.
    pub libtorch: String,
    /// Processor (vendor, family, model, stepping and widest vector unit) or GPU.
    pub device: String,
}
