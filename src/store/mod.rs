//! Finished runs, each in a folder named by its key; written aside, synced, renamed, so that
//! a run is there whole or not at all. Every file is checked against a hash when it is read.

pub mod disk;
pub mod lock;
mod measured;
pub mod paths;

use crate::models::weights::{self, NamedTensors};
use crate::spec::{Key, RunSpec, TRAINING_SEMANTICS, hex};
use crate::torch::Platform;
use crate::train::metrics::Metrics;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
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
struct RunManifest {
    key: Key,
    /// SHA-256 over weights, snapshots and metrics: what two runs of one spec must share.
    result_hash: String,
    files: BTreeMap<String, String>,
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
}

impl StoredRun {
    /// Final weights, or those after a kept epoch.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn weights(&self, epoch: Option<u32>) -> Result<NamedTensors, StoreError> {
        let name = epoch.map_or_else(|| paths::WEIGHTS.to_owned(), paths::snapshot);
        let path = self.folder.join(name);
        let bytes = read(&path)?;
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

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    std::fs::read(path).map_err(io_error(path))
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain structs are valid JSON");
    text.push(b'\n');
    text
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

    /// Looks up a run whose spec must be `spec`.
    pub fn look_up(&self, key: &Key, spec: &RunSpec) -> Lookup {
        if !paths::run(&self.root, key).exists() {
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
        let manifest: RunManifest = parse(&path, &read(&path)?)?;
        if manifest.key != *key {
            return Err(damaged(&path, format!("belongs to run {}", manifest.key)));
        }
        let mut contents = BTreeMap::new();
        for (name, expected) in &manifest.files {
            let path = folder.join(name);
            if name.contains('/') {
                return Err(damaged(&path, "is not a file of a run's own folder"));
            }
            let bytes = read(&path)?;
            if sha256(&bytes) != *expected {
                return Err(damaged(&path, "differs from its hash in manifest.json"));
            }
            contents.insert(name.as_str(), bytes);
        }
        let part = |name: &str| {
            contents.get(name).ok_or_else(|| damaged(&folder.join(name), "is not in manifest.json"))
        };
        if manifest.result_hash != result_hash(&manifest.files) {
            return Err(damaged(&path, "result_hash does not fit the files"));
        }
        part(paths::WEIGHTS)?;
        Ok(StoredRun {
            key: key.clone(),
            spec: parse(&folder.join(paths::SPEC), part(paths::SPEC)?)?,
            metrics: parse(&folder.join(paths::METRICS), part(paths::METRICS)?)?,
            environment: parse(&folder.join(paths::ENVIRONMENT), part(paths::ENVIRONMENT)?)?,
            result_hash: manifest.result_hash,
            folder,
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
        let hashes: BTreeMap<String, String> =
            files.iter().map(|(name, bytes)| (name.clone(), sha256(bytes))).collect();
        let result_hash = result_hash(&hashes);
        let manifest =
            RunManifest { key: run.key.clone(), result_hash: result_hash.clone(), files: hashes };
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
        Ok(result_hash)
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
    /// If the disk refuses.
    pub fn begin(&self, key: &Key, spec: &RunSpec) -> Result<Option<Vec<u8>>, StoreError> {
        let folder = paths::partial(&self.root, key);
        let path = paths::partial_spec(&self.root, key);
        let make = || {
            disk::create_dir_all(&folder)?;
            disk::replace(&path, &json(spec))
        };
        make().map_err(io_error(&path))?;
        match std::fs::read(paths::checkpoint(&self.root, key)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(io_error(&folder)(e)),
        }
    }

    /// Saves the state of an unfinished run.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn checkpoint(&self, key: &Key, bytes: &[u8]) -> Result<(), StoreError> {
        // The trailing hash tells a checkpoint that was cut off or changed from a good one.
        let mut sealed = bytes.to_vec();
        sealed.extend_from_slice(&Sha256::digest(bytes));
        let path = paths::checkpoint(&self.root, key);
        disk::replace(&path, &sealed).map_err(io_error(&path))
    }

    /// The checkpoint inside what [`Store::begin`] gave, if it is intact.
    pub fn unseal(sealed: &[u8]) -> Option<&[u8]> {
        let (bytes, seal) = sealed.split_at_checked(sealed.len().checked_sub(32)?)?;
        (Sha256::digest(bytes).as_slice() == seal).then_some(bytes)
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

/// One hash for what must be the same whenever a spec is run again on the same platform.
fn result_hash(files: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("semantics {TRAINING_SEMANTICS}\n"));
    let same = |name: &str| name == paths::METRICS || name.ends_with(".safetensors");
    for (name, sha256) in files.iter().filter(|(name, _)| same(name)) {
        hash.update(format!("{name} {sha256}\n"));
    }
    hex(&hash.finalize())
}
