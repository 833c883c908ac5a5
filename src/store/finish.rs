//! How a run comes to its place: all of it or nothing, whoever else tries the same.

use super::lock::Silence;
use super::record::{RunManifest, json};
use super::{Finished, Store, StoreError, StoredRun, io_error, paths};
use crate::disk;
use crate::models::weights;
use crate::spec::Key;
use std::io::{self, ErrorKind};
use std::path::Path;

impl Store {
    /// Stores a finished run: all of it, or nothing. If another process was faster with the
    /// same result, that stays.
    ///
    /// # Errors
    /// If the disk refuses; [`StoreError::Differs`] if another result is there.
    pub fn commit(&self, run: &Finished<'_>) -> Result<String, StoreError> {
        let mut files = vec![
            (paths::SPEC.to_owned(), json(run.spec)),
            (paths::METRICS.to_owned(), json(run.metrics)),
            (paths::WEIGHTS.to_owned(), weights::to_bytes(run.weights, None)),
            (paths::ENVIRONMENT.to_owned(), json(run.environment)),
        ];
        files.extend(run.snapshots.iter().map(|(&e, bytes)| (paths::snapshot(e), bytes.clone())));
        let manifest = RunManifest::of(run.key, &files);
        files.push((paths::MANIFEST.to_owned(), json(&manifest)));
        self.install(run.key, &manifest.result_hash, &|staging| {
            for (name, bytes) in &files {
                let path = staging.join(name);
                disk::write(&path, bytes).map_err(io_error(&path))?;
            }
            Ok(())
        })?;
        Ok(manifest.result_hash)
    }

    /// Lets `fill` put a run together aside, and moves it to its place. What was left of the
    /// run's making goes; after an error the unfinished run stays as it was.
    pub(super) fn install(
        &self,
        key: &Key,
        result_hash: &str,
        fill: &dyn Fn(&Path) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let staging = paths::staging(&self.root, key, &self.token());
        let prepare = || {
            disk::remove_dir_all(&staging)?;
            disk::create_dir_all(&staging)
        };
        let put = || -> Result<(), StoreError> {
            prepare().map_err(io_error(&staging))?;
            fill(&staging)?;
            disk::sync_folder(&staging).map_err(io_error(&staging))?;
            self.move_to_place(key, result_hash, &staging)
        };
        let outcome = match put() {
            Err(StoreError::Io { source, .. })
                if is_in_the_way(&source) && self.has_result(key, result_hash) =>
            {
                Ok(())
            }
            outcome => outcome,
        };
        let partial = paths::partial(&self.root, key);
        if outcome.is_ok() {
            // Should this fail, or another process still be at it, the next call does it.
            drop(disk::remove_dir_all(&partial));
        } else {
            // On a full disk, others need the room.
            drop(disk::remove_dir_all(&staging));
            drop(disk::remove_dir_if_empty(&partial));
        }
        outcome
    }

    fn has_result(&self, key: &Key, result_hash: &str) -> bool {
        self.read(key).is_ok_and(|run| run.result_hash == result_hash)
    }

    fn move_to_place(
        &self,
        key: &Key,
        result_hash: &str,
        staging: &Path,
    ) -> Result<(), StoreError> {
        let place = paths::run(&self.root, key);
        if place.exists() {
            match self.read(key) {
                Ok(run) if run.result_hash == result_hash => {
                    if !run.has_weights() {
                        self.complete(&run, staging).map_err(io_error(&place))?;
                    }
                    // Otherwise another process, which took this one for dead, was faster.
                    return Ok(());
                }
                Ok(run) => {
                    let (found, made) = (run.result_hash, result_hash.to_owned());
                    return Err(StoreError::Differs { path: place, found, made });
                }
                // It may be whole: a disk that answers with errors is no reason to move it.
                Err(StoreError::Io { path, source }) if source.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::Io { path, source });
                }
                Err(_) => self.set_aside(key).map_err(io_error(&place))?,
            }
        }
        disk::rename(staging, &place).map_err(io_error(&place))
    }

    /// Brings the weights of a run that was made again, with the same result, to its record.
    /// The manifest comes last: until then it is a record as before.
    fn complete(&self, record: &StoredRun, staging: &Path) -> io::Result<()> {
        if staging_is_record(staging, &record.manifest) {
            return Ok(());
        }
        for name in &record.manifest.absent {
            disk::rename(&staging.join(name), &record.folder.join(name))?;
        }
        let text = json(&record.manifest.with_weights());
        disk::replace(&record.folder.join(paths::MANIFEST), &text, &self.token())
    }

    /// Clears up what the making of a finished run left behind, if there is something: it was
    /// stopped in one of its last steps. That may fail, on a store that is read-only for one:
    /// the run is there.
    pub fn clear_up(&self, key: &Key) {
        let left = [paths::partial(&self.root, key), paths::lock(&self.root, key)];
        if left.iter().any(|path| path.exists())
            && let Ok(Some(_guard)) = self.try_lock(key, &mut Silence::default())
        {
            drop(self.tidy(key));
        }
    }

    /// Removes everything of an unfinished run. Its lock must be held.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn tidy(&self, key: &Key) -> Result<(), StoreError> {
        let folder = paths::partial(&self.root, key);
        disk::remove_dir_all(&folder).map_err(io_error(&folder))
    }

    /// Moves a damaged run out of the way, where it can be looked at.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn set_aside(&self, key: &Key) -> io::Result<()> {
        let free = (0..).map(|n| paths::damaged(&self.root, key, n)).find(|path| !path.exists());
        let aside = free.expect("there are enough numbers");
        disk::create_dir_all(aside.parent().expect("it lies below the root"))?;
        disk::rename(&paths::run(&self.root, key), &aside)
    }
}

/// Whether what was put together has no weights to bring either.
fn staging_is_record(staging: &Path, manifest: &RunManifest) -> bool {
    !manifest.absent.iter().all(|name| staging.join(name).exists())
}

/// Whether another process that finishes the same run may be the reason: its folder is in the
/// way, or it has cleared this one's away. Or the folder was moved, and the answer of a network
/// file system was lost and the request made again.
fn is_in_the_way(problem: &io::Error) -> bool {
    let kinds = [ErrorKind::DirectoryNotEmpty, ErrorKind::AlreadyExists, ErrorKind::NotFound];
    kinds.contains(&problem.kind())
}
