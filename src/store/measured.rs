//! Measurements of stored weights, kept beside the runs: each with the hash of the run it
//! was made of, so that it is never taken for another's.

use super::record::{MeasuredRecord, json};
use super::unfinished::sweep;
use super::{Store, StoreError, damaged, io_error, names, paths, read};
use crate::disk;
use crate::measure::Measured;
use crate::spec::Key;
use std::collections::BTreeSet;

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
        if !path.try_exists().map_err(io_error(&path))? {
            return Ok(None);
        }
        let record = MeasuredRecord::parse(&read(&path)?).map_err(|e| damaged(&path, e))?;
        Ok((record.result_hash == result_hash).then_some(record.measured))
    }

    /// Names of a run's measurements, sorted.
    ///
    /// # Errors
    /// If their folder is there and cannot be read.
    pub fn measurements(&self, key: &Key) -> Result<BTreeSet<String>, StoreError> {
        let names = names(&paths::measured(self.root(), key))?;
        let names = names.iter().filter_map(|name| paths::measurement_of(name));
        Ok(names.map(str::to_owned).collect())
    }

    /// Keeps a measurement. The run's lock must be held.
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
        let record = MeasuredRecord::of(result_hash, measured);
        let folder = path.parent().expect("a measurement lies in a folder");
        let write = || {
            disk::create_dir_all(folder)?;
            sweep(folder)?;
            disk::replace(&path, &json(&record), &self.token())
        };
        write().map_err(io_error(&path))
    }
}
