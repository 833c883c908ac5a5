//! Which arithmetic computes a run.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Name of an arithmetic. Two runs of one spec with the same numerics have the same bits,
/// whatever the machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Numerics(String);

impl Numerics {
    /// The CPU engine's: `docs/numerics.md`.
    pub fn portable() -> Numerics {
        Numerics("portable-1".to_owned())
    }

    /// Libtorch's on a processor. Its bits also depend on the processor's instruction set.
    pub fn libtorch_cpu(version: &str) -> Numerics {
        Numerics(format!("libtorch {version} cpu"))
    }

    /// Libtorch's on a model of GPU.
    pub fn libtorch_cuda(version: &str, model: &str) -> Numerics {
        Numerics(format!("libtorch {version} cuda {model}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether equal bits are promised on every machine.
    pub fn is_portable(&self) -> bool {
        *self == Numerics::portable()
    }
}

impl Default for Numerics {
    fn default() -> Self {
        Numerics::portable()
    }
}

impl FromStr for Numerics {
    type Err = String;

    fn from_str(name: &str) -> Result<Numerics, String> {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err("numerics are a name, such as 'portable-1'".to_owned());
        }
        Ok(Numerics(name.to_owned()))
    }
}

impl fmt::Display for Numerics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
