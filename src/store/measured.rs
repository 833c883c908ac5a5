//! Measurements of stored weights, kept beside the runs: each with the hash of the run it
//! was made of, so that it is never taken for another's.

use super::{Store, StoreError, damaged, disk, io_error, json, parse, paths, read, sha256};
use crate::experiments::results::Measured;
use crate::spec::Key;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    result_hash: String,
    measured: Measured,
    /// SHA-256 of the measurement's own text.
    sha256: String,
}

impl Store {
    /// A measurement, if it is there, intact, and of the run with this result.
    ///
    /// # Errors
    /// If the file is there and damaged.
    pub fn measured(
        &self,
        key: &Key,
        measurement: &str,
        result_hash: &str,
    ) -> Result<Option<Measured>, StoreError> {
        let path = paths::measurement(self.root(), key, measurement);
        if !path.exists() {
            return Ok(None);
        }
        let record: Record = parse(&path, &read(&path)?)?;
        if sha256(&json(&record.measured)) != record.sha256 {
            return Err(damaged(&path, "differs from its hash; it will be measured again"));
        }
        Ok((record.result_hash == result_hash).then_some(record.measured))
    }

    /// Keeps a measurement.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn keep_measured(
        &self,
        key: &Key,
        measurement: &str,
        result_hash: &str,
        measured: &Measured,
    ) -> Result<(), StoreError> {
        let path = paths::measurement(self.root(), key, measurement);
        let record = Record {
            result_hash: result_hash.to_owned(),
            measured: measured.clone(),
            sha256: sha256(&json(measured)),
        };
        let folder = path.parent().expect("a measurement lies in a folder");
        let write = || {
            disk::create_dir_all(folder)?;
            disk::replace(&path, &json(&record))
        };
        write().map_err(io_error(&path))
    }
}
