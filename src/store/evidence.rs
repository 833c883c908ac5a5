//! Finished runs to show or to compare with: a store, and files of records for what it lacks.
//! A record never comes into the store by this, so it never counts as a run that was made here.

use super::{Lookup, Store, StoreError, StoredRun, Unpacked};
use crate::measure::Measured;
use crate::spec::{Key, RunSpec};
use std::path::Path;

/// A store with files of records behind it, the first of which that has a run counts.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    pub store: &'a Store,
    pub records: &'a [Unpacked],
}

impl<'a> Evidence<'a> {
    /// The records that stand in for a run that the store lacks, if any do.
    fn stand_in(&self, key: &Key) -> Option<&'a Unpacked> {
        if self.store.holds(key) {
            return None;
        }
        self.records.iter().find(|records| records.store.holds(key))
    }

    /// Asks whichever has a run; what is wrong with a record names its file.
    fn ask<T>(
        &self,
        key: &Key,
        question: impl FnOnce(&Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.stand_in(key) {
            Some(records) => question(&records.store).map_err(|e| records.named(e)),
            None => question(self.store),
        }
    }

    /// Whether there is a finished run, whole or damaged.
    pub fn holds(&self, key: &Key) -> bool {
        self.store.holds(key) || self.stand_in(key).is_some()
    }

    /// The folder of the store or the file of records that has a run.
    pub fn origin(&self, key: &Key) -> &'a Path {
        self.stand_in(key).map_or(self.store.root(), |records| &records.file)
    }

    /// Whether a run is a record, of one of the files or merged into the store.
    pub fn is_record(&self, key: &Key) -> bool {
        self.stand_in(key).is_some() || self.store.is_record(key)
    }

    /// As [`Store::look_up`].
    pub fn look_up(&self, key: &Key, spec: &RunSpec) -> Lookup {
        let Some(records) = self.stand_in(key) else { return self.store.look_up(key, spec) };
        match records.store.look_up(key, spec) {
            Lookup::Damaged(problem) => Lookup::Damaged(records.named(problem)),
            found => found,
        }
    }

    /// As [`Store::read`].
    ///
    /// # Errors
    /// If the run is not there or a file differs from its hash.
    pub fn read(&self, key: &Key) -> Result<StoredRun, StoreError> {
        self.ask(key, |store| store.read(key))
    }

    /// As [`Store::measured`].
    ///
    /// # Errors
    /// If the file is there and damaged.
    pub fn measured(
        &self,
        key: &Key,
        measurement: &str,
        result_hash: &str,
    ) -> Result<Option<Measured>, StoreError> {
        self.ask(key, |store| store.measured(key, measurement, result_hash))
    }

    /// The key of a finished run that begins with these digits; the store's first. There need
    /// be no store yet: records stand in for all of it.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn find(&self, digits: &str) -> Result<Option<Key>, StoreError> {
        let stores = self.records.iter().map(|records| &records.store);
        let there = |store: &&Store| store.root().is_dir();
        for store in std::iter::once(self.store).filter(there).chain(stores) {
            let mut keys = store.keys()?.into_iter();
            if let Some(key) = keys.find(|key| key.as_str().starts_with(digits)) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }
}
