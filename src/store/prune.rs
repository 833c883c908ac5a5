//! Removes from a store what is of no use any more. What that is, the caller says; here it is
//! found, measured, and removed under its lock.

use super::lock::Silence;
use super::{Store, StoreError, io_error, names, paths, unfinished};
use crate::disk;
use crate::spec::{Key, RunSpec};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// Something in a store that can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
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
    /// A damaged run that was kept for a look at it.
    SetAside,
}

/// What became of what was to go.
#[derive(Debug, Default)]
pub struct Pruned {
    pub removed: usize,
    pub bytes: u64,
    /// Runs that a process works on, or may work on: nothing of theirs was touched.
    pub busy: BTreeSet<Key>,
}

impl Store {
    /// Spec of a run that was begun and not finished; `None` if it cannot be read.
    pub fn unfinished_spec(&self, key: &Key) -> Option<RunSpec> {
        let text = super::read(&paths::partial_spec(&self.root, key)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Everything of the store that belongs to a run, the parts of a run together.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn parts(&self) -> Result<Vec<Leftover>, StoreError> {
        let mut parts = Vec::new();
        let part = |kind, key: &Key, path: PathBuf| -> Result<Leftover, StoreError> {
            let bytes = size(&path).map_err(io_error(&path))?;
            Ok(Leftover { kind, key: key.clone(), path, bytes })
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
    /// left alone, and so are those that `spares` names for such a run: those that it starts from.
    ///
    /// # Errors
    /// If the disk refuses. Whatever was removed until then is gone, whole.
    pub fn prune(
        &self,
        leftovers: &[Leftover],
        spares: &dyn Fn(&Key) -> Vec<Key>,
    ) -> Result<Pruned, StoreError> {
        let mut pruned = Pruned::default();
        let mut guards = Vec::new();
        let keys: BTreeSet<&Key> = leftovers.iter().map(|leftover| &leftover.key).collect();
        for key in keys {
            match self.try_lock(key, &mut Silence::default())? {
                Some(guard) => guards.push(guard),
                None => {
                    pruned.busy.extend(spares(key));
                    pruned.busy.insert(key.clone());
                }
            }
        }
        for leftover in leftovers.iter().filter(|leftover| !pruned.busy.contains(&leftover.key)) {
            self.remove(leftover).map_err(io_error(&leftover.path))?;
            pruned.removed += 1;
            pruned.bytes += leftover.bytes;
        }
        Ok(pruned)
    }

    /// Removes a part whose run's lock is held.
    fn remove(&self, leftover: &Leftover) -> io::Result<()> {
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

/// Bytes of a file, or of all files below a folder. Links are not followed.
fn size(path: &Path) -> io::Result<u64> {
    let found = std::fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return Ok(found.len());
    }
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        bytes += size(&entry?.path())?;
    }
    Ok(bytes)
}
