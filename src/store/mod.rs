//! Finished runs, each in a folder named by its key; written aside, synced, renamed, so that
//! a run is there whole or not at all. Every file is checked against a hash when it is read.

pub mod disk;
pub mod lock;
mod measured;
pub mod paths;
pub mod record;

pub use record::Environment;

use crate::models::weights::{self, NamedTensors};
use crate::spec::{Key, RunSpec, hex};
use crate::train::metrics::Metrics;
use record::{RunManifest, json, sha256};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A store that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{}: {source}; the store needs a folder that can be written, see --store", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {problem}", path.display())]
    Damaged { path: PathBuf, problem: String },
    #[error("run {0} is not in the store")]
    Absent(Key),
}

/// What the store knows of a key.
#[derive(Debug)]
pub enum Lookup {
    Stored(Box<StoredRun>),
    /// Begun, not finished.
    Partial,
    Missing,
    /// There, but not what was stored: which file, and what is wrong with it.
    Damaged(StoreError),
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct StoredRun {
    pub key: Key,
    pub spec: RunSpec,
    pub metrics: Metrics,
    pub environment: Environment,
    pub result_hash: String,
    folder: PathBuf,
    /// Hashes of its files.
    files: BTreeMap<String, String>,
}

impl StoredRun {
    /// Final weights, or those after a kept epoch.
    ///
    /// # Errors
    /// If the file cannot be read, or is no longer what it was when the run was looked up.
    pub fn weights(&self, epoch: Option<u32>) -> Result<NamedTensors, StoreError> {
        let name = epoch.map_or_else(|| paths::WEIGHTS.to_owned(), paths::snapshot);
        let path = self.folder.join(&name);
        let bytes = read_up_to(&path, MOST_WEIGHTS)?;
        if self.files.get(&name) != Some(&sha256(&bytes)) {
            return Err(damaged(&path, DIFFERS));
        }
        weights::from_bytes(&bytes).map_err(|e| damaged(&path, e.to_string()))
    }
}

/// What a finished run hands over.
pub struct Finished<'a> {
    pub key: &'a Key,
    pub spec: &'a RunSpec,
    pub metrics: &'a Metrics,
    pub weights: &'a NamedTensors,
    pub snapshots: &'a BTreeMap<u32, Vec<u8>>,
    pub environment: &'a Environment,
}

/// A folder of runs.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}

fn damaged(path: &Path, problem: impl Into<String>) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), problem: problem.into() }
}

/// No text file of a store is longer: a bound on memory.
const MOST_TEXT: u64 = 256 << 20;
/// No weights are: four thousand million values.
const MOST_WEIGHTS: u64 = 16 << 30;
const DIFFERS: &str = "differs from its hash in manifest.json";

/// Opens a plain file. A link may lead anywhere and a pipe may never end.
fn open(path: &Path) -> Result<File, StoreError> {
    let kind = std::fs::symlink_metadata(path).map_err(io_error(path))?.file_type();
    if !kind.is_file() {
        return Err(damaged(path, "is no plain file"));
    }
    File::open(path).map_err(io_error(path))
}

fn read_up_to(path: &Path, most: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let length = open(path)?.take(most + 1).read_to_end(&mut bytes).map_err(io_error(path))?;
    if length as u64 > most {
        return Err(damaged(path, format!("is longer than {most} bytes")));
    }
    Ok(bytes)
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    read_up_to(path, MOST_TEXT)
}

/// SHA-256 of a file, which is not held in memory.
fn hash_file(path: &Path) -> Result<String, StoreError> {
    let (mut file, mut hash, mut buffer) = (open(path)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).map_err(io_error(path))? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|e| damaged(path, e.to_string()))
}

impl Store {
    /// The store in a folder, which is made if need be.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Store, StoreError> {
        let root = root.into();
        disk::create_dir_all(&root).map_err(io_error(&root))?;
        Ok(Store { root })
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether there is a finished run, whole or damaged.
    pub fn holds(&self, key: &Key) -> bool {
        paths::run(&self.root, key).exists()
    }

    /// Looks up a run whose spec must be `spec`.
    pub fn look_up(&self, key: &Key, spec: &RunSpec) -> Lookup {
        if !self.holds(key) {
            let begun = paths::checkpoint(&self.root, key).exists();
            return if begun { Lookup::Partial } else { Lookup::Missing };
        }
        match self.read(key) {
            Ok(run) if run.spec == *spec => Lookup::Stored(Box::new(run)),
            Ok(_) => {
                let path = paths::run(&self.root, key).join(paths::SPEC);
                Lookup::Damaged(damaged(&path, "is not the spec that this key stands for"))
            }
            Err(problem) => Lookup::Damaged(problem),
        }
    }

    /// Reads a finished run and checks every file of it.
    ///
    /// # Errors
    /// If it is not there or a file differs from its hash.
    pub fn read(&self, key: &Key) -> Result<StoredRun, StoreError> {
        let folder = paths::run(&self.root, key);
        if !folder.exists() {
            return Err(StoreError::Absent(key.clone()));
        }
        let path = folder.join(paths::MANIFEST);
        let manifest = RunManifest::parse(&read(&path)?, key).map_err(|e| damaged(&path, e))?;
        let mut texts = BTreeMap::new();
        for (name, expected) in &manifest.files {
            let path = folder.join(name);
            let found = if name.ends_with(".json") {
                let text = read(&path)?;
                let found = sha256(&text);
                texts.insert(name.as_str(), text);
                found
            } else {
                hash_file(&path)?
            };
            if found != *expected {
                return Err(damaged(&path, DIFFERS));
            }
        }
        let text = |name: &str| texts.get(name).map(Vec::as_slice).unwrap_or_default();
        Ok(StoredRun {
            key: key.clone(),
            spec: parse(&folder.join(paths::SPEC), text(paths::SPEC))?,
            metrics: parse(&folder.join(paths::METRICS), text(paths::METRICS))?,
            environment: parse(&folder.join(paths::ENVIRONMENT), text(paths::ENVIRONMENT))?,
            result_hash: manifest.result_hash,
            folder,
            files: manifest.files,
        })
    }

    /// Keys of all finished runs, sorted.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn keys(&self) -> Result<Vec<Key>, StoreError> {
        let entries = std::fs::read_dir(&self.root).map_err(io_error(&self.root))?;
        let mut keys: Vec<Key> =
            entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
        keys.sort();
        Ok(keys)
    }

    /// Stores a finished run: all of it, or nothing.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn commit(&self, run: &Finished<'_>) -> Result<String, StoreError> {
        let staging = paths::staging(&self.root, run.key);
        let place = paths::run(&self.root, run.key);
        let mut files = vec![
            (paths::SPEC.to_owned(), json(run.spec)),
            (paths::METRICS.to_owned(), json(run.metrics)),
            (paths::WEIGHTS.to_owned(), weights::to_bytes(run.weights, None)),
            (paths::ENVIRONMENT.to_owned(), json(run.environment)),
        ];
        files.extend(run.snapshots.iter().map(|(&e, bytes)| (paths::snapshot(e), bytes.clone())));
        let manifest = RunManifest::of(run.key, &files);
        files.push((paths::MANIFEST.to_owned(), json(&manifest)));
        let write_all = || -> io::Result<()> {
            disk::remove_dir_all(&staging)?;
            disk::create_dir_all(&staging)?;
            for (name, bytes) in &files {
                disk::write(&staging.join(name), bytes)?;
            }
            disk::sync_folder(&staging)?;
            if place.exists() {
                self.set_aside(run.key)?;
            }
            disk::rename(&staging, &place)?;
            disk::remove_dir_all(&paths::partial(&self.root, run.key))
        };
        write_all().map_err(io_error(&staging))?;
        Ok(manifest.result_hash)
    }

    /// Whether a run that is finished left something of its making behind: it was stopped
    /// between the last two steps of [`Store::commit`].
    pub fn left_over(&self, key: &Key) -> bool {
        paths::partial(&self.root, key).exists() || paths::staging(&self.root, key).exists()
    }

    /// Removes that. The run's lock must be held.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn tidy(&self, key: &Key) -> Result<(), StoreError> {
        for folder in [paths::partial(&self.root, key), paths::staging(&self.root, key)] {
            disk::remove_dir_all(&folder).map_err(io_error(&folder))?;
        }
        Ok(())
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

    /// Begins or goes on with a run: its folder, and the checkpoint if there is one.
    ///
    /// # Errors
    /// If the disk refuses; [`StoreError::Damaged`] if only the checkpoint is of no use.
    pub fn begin(&self, key: &Key, spec: &RunSpec) -> Result<Option<Vec<u8>>, StoreError> {
        let folder = paths::partial(&self.root, key);
        let path = paths::partial_spec(&self.root, key);
        let make = || {
            disk::create_dir_all(&folder)?;
            disk::replace(&path, &json(spec))
        };
        make().map_err(io_error(&path))?;
        let path = paths::checkpoint(&self.root, key);
        if !path.exists() {
            return Ok(None);
        }
        let mut bytes = read_up_to(&path, MOST_WEIGHTS)?;
        let length = record::unseal(&bytes).map(<[u8]>::len);
        bytes.truncate(length.ok_or_else(|| damaged(&path, "was cut off or changed"))?);
        Ok(Some(bytes))
    }

    /// Saves the state of an unfinished run.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn checkpoint(&self, key: &Key, bytes: &[u8]) -> Result<(), StoreError> {
        let path = paths::checkpoint(&self.root, key);
        disk::replace(&path, &record::seal(bytes)).map_err(io_error(&path))
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
        lock::try_lock(&path, silence).map_err(io_error(&path))
    }
}
