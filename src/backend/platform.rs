//! The kind of machine that a run was made on.

use crate::spec::Numerics;
use serde::{Deserialize, Serialize};

/// Where a run was made. Equal bits are promised where the numerics are the same; libtorch's
/// on a CPU need the same processor, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    pub numerics: Numerics,
    /// Processor (vendor, family, model, stepping and instruction set in use) or GPU.
    pub device: String,
}

impl Platform {
    /// Whether both give the same bits.
    pub fn agrees(&self, other: &Platform) -> bool {
        self.numerics == other.numerics
            && (self.numerics.is_portable() || self.device == other.device)
    }
}

/// Vendor, model and stepping of the processor, where Linux says them.
pub fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let get = |name: &str| field(&info, name).unwrap_or_else(|| "?".to_owned());
    if info.is_empty() {
        return format!("{} ({})", std::env::consts::ARCH, std::env::consts::OS);
    }
    format!(
        "{} ({}, family {}, model {}, stepping {})",
        get("model name"),
        get("vendor_id"),
        get("cpu family"),
        get("model\t"),
        get("stepping")
    )
}

/// Value of the first line of `text` that starts with `name`, after its colon.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
