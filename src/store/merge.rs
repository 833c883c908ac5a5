//! The runs of one store brought into another: what two clusters made becomes one result.
//! Everything is checked on the way; of two different results for one run, both stay where
//! they are and are named.

use super::lock::Silence;
use super::record::{MeasuredRecord, RunManifest};
use super::{Store, StoreError, StoredRun, damaged, io_error, open, paths, read};
use crate::digest::{HashingReader, hex};
use crate::disk;
use crate::spec::Key;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What ends a merge before its end. What was merged until then is there, whole.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("{}: a store cannot be merged into itself", .0.display())]
    Itself(PathBuf),
    #[error("interrupted; nothing is left half-done, the same command goes on from here")]
    Stopped,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a store's runs and measurements.
#[derive(Debug, Default)]
pub struct Merged {
    /// Runs, and measurements, that are here now and were not.
    pub runs: usize,
    pub measurements: usize,
    /// That were here already, the same.
    pub same: usize,
    /// What is in both stores and differs, in words.
    pub conflicts: Vec<String>,
    /// What is damaged in the other store, in words.
    pub damaged: Vec<String>,
    /// Runs that another process works on here.
    pub busy: BTreeSet<Key>,
}

/// What a merge needs besides the two stores.
pub struct Options<'a> {
    /// How long to wait for a process that holds a run and shows no sign of life.
    pub lock_patience: Duration,
    /// Asked all the time: whether to break off.
    pub stop: &'a dyn Fn() -> bool,
    /// Told of each run that is looked at: its number, and of how many.
    pub progress: &'a dyn Fn(usize, usize),
}

/// How often a lock is asked for again.
const LOCK_POLL: Duration = Duration::from_millis(200);

impl Store {
    /// Bytes of the finished runs of `from` that are not here.
    ///
    /// # Errors
    /// If one of the stores cannot be read.
    pub fn bytes_to_merge(&self, from: &Store) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for key in from.keys()?.iter().filter(|key| !self.holds(key)) {
            let folder = paths::run(from.root(), key);
            let entries = std::fs::read_dir(&folder).map_err(io_error(&folder))?;
            let sizes = entries.flatten().filter_map(|entry| Some(entry.metadata().ok()?.len()));
            bytes += sizes.sum::<u64>();
        }
        Ok(bytes)
    }

    /// Brings every finished run of `from`, and every measurement, into this store. Nothing of
    /// `from` is changed, and nothing that is whole here.
    ///
    /// # Errors
    /// If this store's disk refuses, or `options.stop` says so. Differences and damages are no
    /// errors: they are in what is returned.
    pub fn merge(&self, from: &Store, options: &Options<'_>) -> Result<Merged, MergeError> {
        let place =
            |store: &Store| std::fs::canonicalize(store.root()).map_err(io_error(store.root()));
        if place(self)? == place(from)? {
            return Err(MergeError::Itself(from.root().to_owned()));
        }
        let (mut merged, mut busy) = (Merged::default(), Vec::new());
        let keys = from.keys()?;
        for (number, key) in keys.iter().enumerate() {
            (options.progress)(number, keys.len());
            match from.read(key) {
                Ok(run) => {
                    let mut silence = Silence::of(options.lock_patience);
                    if !self.merge_run(from, &run, &mut silence, options, &mut merged)? {
                        busy.push((run, silence));
                    }
                }
                Err(problem) => merged.damaged.push(problem.to_string()),
            }
        }
        // Whoever is alive may work on a run for hours; who is dead shows no sign of life for
        // as long as that takes to be sure of.
        let begun = Instant::now();
        while !busy.is_empty() && begun.elapsed() <= options.lock_patience + LOCK_POLL {
            std::thread::sleep(LOCK_POLL);
            for (run, mut silence) in std::mem::take(&mut busy) {
                if !self.merge_run(from, &run, &mut silence, options, &mut merged)? {
                    busy.push((run, silence));
                }
            }
        }
        merged.busy.extend(busy.into_iter().map(|(run, _)| run.key));
        Ok(merged)
    }

    /// Brings one run here, if nobody else works on it.
    fn merge_run(
        &self,
        from: &Store,
        run: &StoredRun,
        silence: &mut Silence,
        options: &Options<'_>,
        merged: &mut Merged,
    ) -> Result<bool, MergeError> {
        let key = &run.key;
        if (options.stop)() {
            return Err(MergeError::Stopped);
        }
        if self.merge_is_done(from, run) {
            self.clear_up(key);
            merged.same += 1;
            return Ok(true);
        }
        let Some(_guard) = self.try_lock(key, silence)? else { return Ok(false) };
        match self.read(key) {
            Ok(here) if has_all(&here, run) => {
                self.tidy(key)?;
                merged.same += 1;
            }
            Ok(here) if here.result_hash != run.result_hash => {
                merged.conflicts.push(conflict(&here, run));
                return Ok(true);
            }
            // A record here that gets its weights. Or not here, or damaged: that is set aside.
            Ok(_)
            | Err(StoreError::Absent(_) | StoreError::Damaged { .. } | StoreError::Io { .. }) => {
                match self.install(key, &run.result_hash, &|staging| {
                    copy_run(from, key, &run.result_hash, staging, options.stop)
                }) {
                    Ok(()) => merged.runs += 1,
                    Err(_) if (options.stop)() => return Err(MergeError::Stopped),
                    // Changed while it was copied.
                    Err(StoreError::Damaged { path, problem }) if path.starts_with(from.root()) => {
                        merged.damaged.push(damaged(&path, problem).to_string());
                        return Ok(true);
                    }
                    Err(problem) => return Err(problem.into()),
                }
            }
            Err(problem) => return Err(problem.into()),
        }
        self.merge_measurements(from, run, merged)?;
        Ok(true)
    }

    /// Whether a look without a lock shows that there is nothing to do.
    fn merge_is_done(&self, from: &Store, run: &StoredRun) -> bool {
        let same = self.read(&run.key).is_ok_and(|here| has_all(&here, run));
        let kept = |id: &str| {
            let (here, there) = (
                self.measured(&run.key, id, &run.result_hash),
                from.measured(&run.key, id, &run.result_hash),
            );
            matches!((here, there), (Ok(Some(here)), Ok(Some(there))) if here == there)
        };
        same && from.measurements(&run.key).is_ok_and(|ids| ids.iter().all(|id| kept(id)))
    }

    fn merge_measurements(
        &self,
        from: &Store,
        run: &StoredRun,
        merged: &mut Merged,
    ) -> Result<(), MergeError> {
        let (key, hash) = (&run.key, &run.result_hash);
        for id in from.measurements(key)? {
            let path = paths::measurement(from.root(), key, &id);
            let there = match read(&path).map(|text| MeasuredRecord::parse(&text)) {
                Ok(Ok(record)) => record,
                Ok(Err(problem)) => {
                    merged.damaged.push(damaged(&path, problem).to_string());
                    continue;
                }
                Err(problem) => {
                    merged.damaged.push(problem.to_string());
                    continue;
                }
            };
            if there.result_hash != *hash {
                // Of weights that were there once.
                continue;
            }
            // One that is damaged here, or of another result, is of no use.
            match self.measured(key, &id, hash) {
                Ok(Some(here)) if here == there.measured => {}
                Ok(Some(_)) => merged.conflicts.push(format!(
                    "measurement {id} of run {key} differs, and neither was changed:\n  {}\n  {}\n  \
                     (made on different kinds of machines, perhaps: a measurement does not say \
                     where)",
                    paths::measurement(self.root(), key, &id).display(),
                    path.display()
                )),
                Ok(None) | Err(_) => {
                    self.keep_measured(key, &id, hash, &there.measured)?;
                    merged.measurements += 1;
                }
            }
        }
        Ok(())
    }
}

/// Copies the files of a run of `from`. What is copied, not what was there a moment before,
/// is held against the hashes.
fn copy_run(
    from: &Store,
    key: &Key,
    result_hash: &str,
    staging: &Path,
    stop: &dyn Fn() -> bool,
) -> Result<(), StoreError> {
    let folder = paths::run(from.root(), key);
    let path = folder.join(paths::MANIFEST);
    let text = read(&path)?;
    let manifest = RunManifest::parse(&text, key).map_err(|e| damaged(&path, e))?;
    if manifest.result_hash != result_hash {
        return Err(damaged(&path, "changed while it was read"));
    }
    for (name, expected) in manifest.files.iter().filter(|(n, _)| !manifest.absent.contains(*n)) {
        let (source, target) = (folder.join(name), staging.join(name));
        let mut reader = HashingReader::new(open(&source)?);
        disk::copy(&mut reader, &target, stop).map_err(io_error(&target))?;
        if hex(&reader.finish()) != *expected {
            return Err(damaged(&source, super::DIFFERS));
        }
    }
    let target = staging.join(paths::MANIFEST);
    disk::write(&target, &text).map_err(io_error(&target))
}

/// Whether a run that is here lacks nothing of the same run there: a record lacks weights.
fn has_all(here: &StoredRun, there: &StoredRun) -> bool {
    here.result_hash == there.result_hash && (here.has_weights() || !there.has_weights())
}

/// Two results for one run, in words.
fn conflict(here: &StoredRun, there: &StoredRun) -> String {
    let side = |run: &StoredRun| {
        let made = &run.environment;
        let commit = if made.commit.is_empty() { "unknown" } else { &made.commit };
        format!(
            "  {}\n    result {}\n    made on {}, {}, by commit {commit}",
            run.folder.display(),
            run.result_hash,
            made.platform.device,
            made.platform.numerics,
        )
    };
    let why = if here.environment.platform.agrees(&there.environment.platform) {
        "The platform is the same, so the results should be (determinism level D1): one of the \
         commits changed what a run computes, or one of the machines is at fault. `bgm run` into \
         a store of its own shows which."
    } else {
        "The platforms differ, so the last bits may (determinism level D2): that is no damage. \
         But a store has one result for a run: keep these stores apart, and compare them with \
         `bgm diff`."
    };
    format!(
        "run {} has two results, and neither was changed:\n{}\n{}\n  {why}",
        here.key,
        side(here),
        side(there)
    )
}
