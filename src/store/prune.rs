//! Removes from a store what is of no use any more. What that is, the caller says; here it is
//! found, measured, and removed under its lock.

use super::lock::Silence;
use super::{Store, StoreError, io_error, names, paths, unfinished};
use crate::disk;
use crate::spec::{Key, RunSpec};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// A part of a store that belongs to one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub kind: Kind,
    pub key: Key,
    /// Its file or folder.
    pub path: PathBuf,
    pub bytes: u64,
}

/// What a part of a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Run,
    /// Begun, not finished.
    Unfinished,
    Measurement,
    /// A damaged run that was set aside for inspection.
    SetAside,
}

/// What became of what was to go.
#[derive(Debug, Default)]
pub struct Pruned {
    pub removed: usize,
    /// Bytes of what was removed.
    pub bytes: u64,
    /// Runs whose parts stay because a process works on them, or on a run that starts from them.
    pub busy: BTreeSet<Key>,
}

impl Store {
    /// Spec of a run that was begun and not finished; `None` if it cannot be read.
    pub fn unfinished_spec(&self, key: &Key) -> Option<RunSpec> {
        let text = super::read(&paths::partial_spec(&self.root, key)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The parts of all runs, those of a run together. Locks and logs are not among them.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn parts(&self) -> Result<Vec<Part>, StoreError> {
        let mut parts = Vec::new();
        let part = |kind, key: &Key, path: PathBuf| -> Result<Part, StoreError> {
            let bytes = size(&path).map_err(io_error(&path))?;
            Ok(Part { kind, key: key.clone(), path, bytes })
        };
        for name in names(&self.root)? {
            if let Ok(key) = name.parse::<Key>() {
                parts.push(part(Kind::Run, &key, self.root.join(&name))?);
            } else if let Some(Ok(key)) = name.strip_suffix(paths::PARTIAL).map(str::parse::<Key>) {
                parts.push(part(Kind::Unfinished, &key, self.root.join(&name))?);
            }
        }
        let folder = self.root.join(paths::MEASURED);
        for name in names(&folder)? {
            let Ok(key) = name.parse::<Key>() else { continue };
            for file in names(&folder.join(&name))? {
                if paths::measurement_of(&file).is_some() {
                    parts.push(part(Kind::Measurement, &key, folder.join(&name).join(file))?);
                }
            }
        }
        let folder = self.root.join(paths::DAMAGED);
        for name in names(&folder)? {
            if let Some(Ok(key)) = name.split_once('-').map(|(key, _)| key.parse::<Key>()) {
                parts.push(part(Kind::SetAside, &key, folder.join(name))?);
            }
        }
        parts.sort_by(|a, b| (&a.key, a.kind, &a.path).cmp(&(&b.key, b.kind, &b.path)));
        Ok(parts)
    }

    /// Removes `leftovers`, each under its run's lock. Runs whose lock another process holds are
    /// left alone, and so are those that such a run starts from. `ancestors` names those of a
    /// run: its parent, the parent's parent, and so on.
    ///
    /// # Errors
    /// If the disk refuses. A finished run is then there whole or not at all; of another part,
    /// some files may be gone.
    pub fn prune(
        &self,
        leftovers: &[Part],
        ancestors: &dyn Fn(&Key) -> Vec<Key>,
    ) -> Result<Pruned, StoreError> {
        let mut parts: BTreeMap<&Key, Vec<&Part>> = BTreeMap::new();
        for leftover in leftovers {
            parts.entry(&leftover.key).or_default().push(leftover);
        }
        // Children before their parents: at a run's turn it is known whether one that starts from
        // it is worked on.
        let mut turns: Vec<(Vec<Key>, &Key)> =
            parts.keys().map(|key| (ancestors(key), *key)).collect();
        turns.sort_by_key(|(ancestors, key)| (Reverse(ancestors.len()), *key));
        let mut pruned = Pruned::default();
        for (ancestors, key) in turns {
            if pruned.busy.contains(key) {
                continue;
            }
            let Some(_guard) = self.try_lock(key, &mut Silence::default())? else {
                pruned.busy.extend(ancestors.into_iter().filter(|key| parts.contains_key(key)));
                pruned.busy.insert(key.clone());
                continue;
            };
            for leftover in &parts[key] {
                // Another process may have removed it since it was listed.
                if leftover.path.symlink_metadata().is_err() {
                    continue;
                }
                self.remove(leftover).map_err(io_error(&leftover.path))?;
                pruned.removed += 1;
                pruned.bytes += leftover.bytes;
            }
        }
        Ok(pruned)
    }

    /// Removes a part whose run's lock is held.
    fn remove(&self, leftover: &Part) -> io::Result<()> {
        match leftover.kind {
            Kind::Measurement => {
                disk::remove_file(&leftover.path)?;
                disk::remove_dir_if_empty(&paths::measured(&self.root, &leftover.key))
            }
            Kind::Unfinished | Kind::SetAside => disk::remove_dir_all(&leftover.path),
            // A run is there whole or not at all, if this is cut off too.
            Kind::Run => {
                let partial = paths::partial(&self.root, &leftover.key);
                disk::create_dir_all(&partial)?;
                unfinished::sweep(&partial)?;
                let aside = paths::staging(&self.root, &leftover.key, &self.token());
                disk::rename(&leftover.path, &aside)?;
                disk::remove_dir_all(&aside)?;
                disk::remove_dir_if_empty(&partial)
            }
        }
    }
}

/// Bytes of a file, or of all files below a folder. Links are not followed. Beside a process
/// that trains, files come and go: what is gone takes no bytes.
fn size(path: &Path) -> io::Result<u64> {
    let measure = || -> io::Result<u64> {
        let found = std::fs::symlink_metadata(path)?;
        if !found.is_dir() {
            return Ok(found.len());
        }
        let mut bytes = 0;
        for entry in std::fs::read_dir(path)? {
            bytes += size(&entry?.path())?;
        }
        Ok(bytes)
    };
    match measure() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        measured => measured,
    }
}
