//! What is kept of a run while it is made: its lock, its spec, its checkpoint and the weights
//! that it keeps along the way.

use super::record::{self, json};
use super::{MAX_WEIGHTS_BYTES, Store, StoreError, damaged, io_error, lock, paths, read_up_to};
use crate::disk;
use crate::spec::{Key, RunSpec};
use std::io;
use std::path::Path;

const NOT_INTACT: &str = "was cut off or changed";

impl Store {
    /// Begins or goes on with a run, whose lock must be held: its folder, and the checkpoint if
    /// there is one.
    ///
    /// # Errors
    /// If the disk refuses; [`StoreError::Damaged`] if only the checkpoint is of no use.
    pub fn begin(&self, key: &Key, spec: &RunSpec) -> Result<Option<Vec<u8>>, StoreError> {
        let folder = paths::partial(&self.root, key);
        let path = paths::partial_spec(&self.root, key);
        let make = || {
            disk::create_dir_all(&folder)?;
            sweep(&folder)?;
            disk::replace(&path, &json(spec), &self.token())
        };
        make().map_err(io_error(&path))?;
        let path = paths::checkpoint(&self.root, key);
        if path.exists() { unsealed(&path).map(Some) } else { Ok(None) }
    }

    /// Saves the state of an unfinished run.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn checkpoint(&self, key: &Key, bytes: &[u8]) -> Result<(), StoreError> {
        let path = paths::checkpoint(&self.root, key);
        disk::replace(&path, &record::seal(bytes), &self.token()).map_err(io_error(&path))
    }

    /// Keeps weights of an unfinished run.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn keep_snapshot(&self, key: &Key, epoch: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let path = paths::partial_snapshot(&self.root, key, epoch);
        disk::replace(&path, &record::seal(bytes), &self.token()).map_err(io_error(&path))
    }

    /// Weights that [`Store::keep_snapshot`] kept.
    ///
    /// # Errors
    /// If they are not there or damaged.
    pub fn kept_snapshot(&self, key: &Key, epoch: u32) -> Result<Vec<u8>, StoreError> {
        unsealed(&paths::partial_snapshot(&self.root, key, epoch))
    }

    /// Tries once to become the only one who works on a run.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn try_lock(
        &self,
        key: &Key,
        silence: &mut lock::Silence,
    ) -> Result<Option<lock::LockGuard>, StoreError> {
        let path = paths::lock(&self.root, key);
        let guard = lock::try_lock(&path, silence, &self.me).map_err(io_error(&path))?;
        if guard.is_some() {
            lock::sweep_claims(&path).map_err(io_error(&path))?;
        }
        Ok(guard)
    }
}

fn unsealed(path: &Path) -> Result<Vec<u8>, StoreError> {
    let mut bytes = read_up_to(path, MAX_WEIGHTS_BYTES)?;
    let length = record::unseal(&bytes).map(<[u8]>::len);
    bytes.truncate(length.ok_or_else(|| damaged(path, NOT_INTACT))?);
    Ok(bytes)
}

/// Removes what processes that died left half-written in a folder. The run's lock must be
/// held.
pub(super) fn sweep(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)?.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.ends_with(paths::STAGING) {
            disk::remove_dir_all(&path)?;
        } else if name.ends_with(disk::TEMPORARY) {
            disk::remove_file(&path)?;
        }
    }
    Ok(())
}
