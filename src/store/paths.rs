//! The name of every file of a store.

use crate::spec::Key;
use std::path::{Path, PathBuf};

pub const SPEC: &str = "spec.json";
pub const METRICS: &str = "metrics.json";
pub const WEIGHTS: &str = "weights.safetensors";
pub const ENVIRONMENT: &str = "environment.json";
pub const MANIFEST: &str = "manifest.json";
const CHECKPOINT: &str = "checkpoint.safetensors";
/// How the names of folders of unfinished runs end.
pub const PARTIAL: &str = ".partial";
/// Folder of all measurements.
pub const MEASURED: &str = "measured";
/// Folder of damaged runs that were set aside.
pub const DAMAGED: &str = "damaged";
/// How the names of folders end in which runs are put together.
pub const STAGING: &str = ".staging";

/// Files that every finished run has, besides its manifest.
pub const OF_EVERY_RUN: [&str; 4] = [SPEC, METRICS, WEIGHTS, ENVIRONMENT];

/// Weights kept after an epoch.
pub fn snapshot(epoch: u32) -> String {
    format!("snapshot-{epoch:05}.safetensors")
}

/// Whether a file is called as [`snapshot`] calls one.
pub fn is_snapshot(name: &str) -> bool {
    let digits = name.strip_prefix("snapshot-").and_then(|n| n.strip_suffix(".safetensors"));
    digits.is_some_and(|d| d.parse().is_ok_and(|epoch| snapshot(epoch) == name))
}

/// Folder of a finished run.
pub fn run(root: &Path, key: &Key) -> PathBuf {
    root.join(key.as_str())
}

/// Folder of an unfinished run.
pub fn partial(root: &Path, key: &Key) -> PathBuf {
    root.join(format!("{key}{PARTIAL}"))
}

/// State of an unfinished run.
pub fn checkpoint(root: &Path, key: &Key) -> PathBuf {
    partial(root, key).join(CHECKPOINT)
}

/// Folder of what the processes of runs write to standard error.
pub fn logs(root: &Path) -> PathBuf {
    root.join("logs")
}

/// What a run's processes write to standard error; kept only if one fails. Not in the folder
/// of the unfinished run, which goes once it is finished: a measurement may fail after that.
/// `caller` tells apart those who ask for the same run at the same time.
pub fn log(root: &Path, key: &Key, caller: &str) -> PathBuf {
    logs(root).join(format!("{key}.{caller}.txt"))
}

/// Weights that an unfinished run has kept after an epoch.
pub fn partial_snapshot(root: &Path, key: &Key, epoch: u32) -> PathBuf {
    partial(root, key).join(snapshot(epoch))
}

/// Spec that an unfinished run was begun with.
pub fn partial_spec(root: &Path, key: &Key) -> PathBuf {
    partial(root, key).join(SPEC)
}

/// Lock of a run.
pub fn lock(root: &Path, key: &Key) -> PathBuf {
    root.join(format!("{key}.lock"))
}

/// Where a run is put together before it is renamed to its place: a folder for each process,
/// by its token.
pub fn staging(root: &Path, key: &Key, token: &str) -> PathBuf {
    partial(root, key).join(format!("{token}{STAGING}"))
}

/// Where damaged runs are kept for a look at them.
pub fn damaged(root: &Path, key: &Key, number: u32) -> PathBuf {
    root.join(DAMAGED).join(format!("{key}-{number}"))
}

/// Folder of the measurements of a run.
pub fn measured(root: &Path, key: &Key) -> PathBuf {
    root.join(MEASURED).join(key.as_str())
}

/// A measurement of a run's final weights.
pub fn measurement(root: &Path, key: &Key, measurement: &str) -> PathBuf {
    measured(root, key).join(format!("{measurement}.json"))
}

/// The measurement that a file of [`measured`] holds; `None` if no measurement has such a
/// name.
pub fn measurement_of(name: &str) -> Option<&str> {
    let id = name.strip_suffix(".json")?;
    let digits = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (id.len() == 16 && digits).then_some(id)
}
