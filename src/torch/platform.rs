//! The kind of machine that a run was made on, and what is asked of it.

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

/// How 32-bit matrix products and convolutions are computed on a GPU. Part of a run's spec:
/// nothing chooses the fast kind silently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// All bits of `f32`.
    #[default]
    Strict,
    /// TensorFloat-32: 10 bits of mantissa in products, on Ampere and later.
    Tf32,
}
