//! What the files of a store say. All of them are read without trust: whoever hands over a
//! store may have changed any of them.

use super::paths;
use crate::backend::Platform;
use crate::digest::{hex, sha256};
use crate::measure::Measured;
use crate::spec::{Key, TRAINING_SEMANTICS};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Where and by what a run was made. Recorded, never hashed into the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    pub platform: Platform,
    /// Commit of the program, with `+` if files were changed; empty if unknown.
    pub commit: String,
    pub semantics: u32,
    /// Seconds that the last process worked on it.
    pub seconds: f64,
}

/// Hashes of a run's files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunManifest {
    pub key: Key,
    /// SHA-256 over weights, snapshots and metrics: what two runs of one spec must share.
    pub result_hash: String,
    /// SHA-256 of each file, by its name.
    pub files: BTreeMap<String, String>,
    /// Those of them that were left behind: the run is a *record*, its weights are not there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub absent: BTreeSet<String>,
}

impl RunManifest {
    /// The manifest of a run with these files.
    pub fn of(key: &Key, files: &[(String, Vec<u8>)]) -> RunManifest {
        let files = files.iter().map(|(name, bytes)| (name.clone(), sha256(bytes))).collect();
        RunManifest {
            key: key.clone(),
            result_hash: result_hash(&files),
            files,
            absent: BTreeSet::new(),
        }
    }

    /// The manifest of the same run without its weights.
    #[must_use]
    pub fn without_weights(&self) -> RunManifest {
        let weights = self.files.keys().filter(|name| is_weights(name));
        RunManifest { absent: weights.cloned().collect(), ..self.clone() }
    }

    /// Whether a file of a run is in its record, too.
    pub fn is_text(name: &str) -> bool {
        paths::OF_EVERY_RUN.contains(&name) && !is_weights(name)
    }

    /// The manifest of the same run with its weights.
    #[must_use]
    pub fn with_weights(&self) -> RunManifest {
        RunManifest { absent: BTreeSet::new(), ..self.clone() }
    }

    /// Reads the manifest of the run `key`.
    ///
    /// # Errors
    /// If it belongs to another run, names a file that no run has, lacks one that each has, or
    /// differs from the text that [`json`] writes.
    pub fn parse(bytes: &[u8], key: &Key) -> Result<RunManifest, String> {
        let manifest: RunManifest = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if manifest.key != *key {
            return Err(format!("belongs to run {}", manifest.key));
        }
        let known = |name: &str| paths::OF_EVERY_RUN.contains(&name) || paths::is_snapshot(name);
        if let Some(name) = manifest.files.keys().find(|name| !known(name)) {
            return Err(format!("names {name:?}, which is no file of a run"));
        }
        let there = |name: &&&str| !manifest.files.contains_key(**name);
        if let Some(name) = paths::OF_EVERY_RUN.iter().find(there) {
            return Err(format!("does not name {name}"));
        }
        if manifest.result_hash != result_hash(&manifest.files) {
            return Err("has a result_hash that does not fit its files".to_owned());
        }
        // All weights or none: a run without its snapshots would be neither.
        if !manifest.absent.is_empty() && manifest != manifest.without_weights() {
            return Err("marks other files as absent than its weights".to_owned());
        }
        // No hash covers the manifest itself: a byte more or less shows here.
        if json(&manifest) != bytes {
            return Err("is not the text that was written".to_owned());
        }
        Ok(manifest)
    }
}

fn is_weights(name: &str) -> bool {
    name == paths::WEIGHTS || paths::is_snapshot(name)
}

/// Whether a file must be the same whenever a spec is run again on the same platform.
pub(super) fn is_result(name: &str) -> bool {
    name == paths::METRICS || is_weights(name)
}

/// One hash for all files of which [`is_result`] says so.
fn result_hash(files: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("semantics {TRAINING_SEMANTICS}\n"));
    for (name, sha256) in files.iter().filter(|(name, _)| is_result(name)) {
        hash.update(format!("{name} {sha256}\n"));
    }
    hex(&hash.finalize())
}

/// A measurement of a run's final weights.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredRecord {
    /// Of the run that was measured.
    pub result_hash: String,
    pub measured: Measured,
    /// SHA-256 of the measurement's own text.
    sha256: String,
}

impl MeasuredRecord {
    /// The record of a measurement of the run with this result.
    pub fn of(result_hash: &str, measured: &Measured) -> MeasuredRecord {
        let (result_hash, sha256) = (result_hash.to_owned(), sha256(&json(measured)));
        MeasuredRecord { result_hash, measured: measured.clone(), sha256 }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// If it is malformed or differs from its hash.
    pub fn parse(bytes: &[u8]) -> Result<MeasuredRecord, String> {
        let record: MeasuredRecord = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if sha256(&json(&record.measured)) != record.sha256 {
            return Err("differs from its hash; it will be measured again".to_owned());
        }
        Ok(record)
    }
}

/// A checkpoint with its hash at the end: one that was cut off or changed is told from a
/// good one.
pub fn seal(checkpoint: &[u8]) -> Vec<u8> {
    let mut sealed = checkpoint.to_vec();
    sealed.extend_from_slice(&Sha256::digest(checkpoint));
    sealed
}

/// What [`seal`] closed, if it is intact.
pub fn unseal(sealed: &[u8]) -> Option<&[u8]> {
    let (bytes, seal) = sealed.split_at_checked(sealed.len().checked_sub(32)?)?;
    (Sha256::digest(bytes).as_slice() == seal).then_some(bytes)
}

/// The text that is written for a value.
pub fn json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain structs are valid JSON");
    text.push(b'\n');
    text
}
