//! Finished runs, each in a folder named by its key; written aside, synced, renamed, so that
//! a run is there whole or not at all. Every file is checked against a hash when it is read.

pub mod compare;
mod evidence;
mod export;
mod finish;
pub mod lock;
mod measured;
pub mod merge;
pub mod paths;
pub mod prune;
pub mod record;
mod unfinished;

pub use evidence::Evidence;
pub use export::{Exported, Unpacked};
pub use record::Environment;

use crate::digest::{self, sha256};
use crate::disk;
use crate::models::weights::{self, NamedTensors};
use crate::spec::{Key, RunSpec};
use crate::train::metrics::Metrics;
use lock::Holder;
use record::RunManifest;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A store that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{}: {source}; the store needs a folder that can be read and written, see --store", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {problem}", path.display())]
    Damaged { path: PathBuf, problem: String },
    #[error("run {0} is not in the store")]
    Absent(Key),
    #[error("run {0} is a record: its weights are not in the store")]
    Record(Key),
    #[error(
        "{}: another process stored the result {found} while this one made {made}; what is there \
         stays. On one kind of machine (determinism level D1) one of them is wrong: `bgm doctor`",
        path.display()
    )]
    Differs { path: PathBuf, found: String, made: String },
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
    /// Hashes and names of its files.
    manifest: RunManifest,
}

impl StoredRun {
    /// Whether its weights are there. They are not in a record ([`Store::export`]).
    pub fn has_weights(&self) -> bool {
        self.manifest.absent.is_empty()
    }

    /// SHA-256 of each file that runs of one spec must share, by its name: metrics and all
    /// weights, those that a record lacks too.
    pub fn result_hashes(&self) -> BTreeMap<&str, &str> {
        let all = self.manifest.files.iter().map(|(name, hash)| (name.as_str(), hash.as_str()));
        all.filter(|(name, _)| record::is_result(name)).collect()
    }

    /// Final weights, or those after a kept epoch.
    ///
    /// # Errors
    /// If the run is a record, if the file cannot be read, or if it is no longer what it was
    /// when the run was looked up.
    pub fn weights(&self, epoch: Option<u32>) -> Result<NamedTensors, StoreError> {
        if !self.has_weights() {
            return Err(StoreError::Record(self.key.clone()));
        }
        let name = epoch.map_or_else(|| paths::WEIGHTS.to_owned(), paths::snapshot);
        let path = self.folder.join(&name);
        let bytes = read_up_to(&path, MAX_WEIGHTS_BYTES)?;
        if self.manifest.files.get(&name) != Some(&sha256(&bytes)) {
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
    /// Who this process is to the others that use the store.
    me: Holder,
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { path, source }
}

fn damaged(path: &Path, problem: impl Into<String>) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), problem: problem.into() }
}

/// Maximum size of a text file of a store: bounds the memory that reading one takes.
const MAX_TEXT_BYTES: u64 = 256 << 20;
/// Maximum size of a weights file: 16 GiB (4 billion f32).
const MAX_WEIGHTS_BYTES: u64 = 16 << 30;
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
    read_up_to(path, MAX_TEXT_BYTES)
}

/// Names in a folder, sorted; none if there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error(folder)(e)),
    };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// SHA-256 of a file, which is not held in memory.
fn hash_file(path: &Path) -> Result<String, StoreError> {
    let (_, sha256) = digest::of_reader(open(path)?).map_err(io_error(path))?;
    Ok(sha256)
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
        Ok(Store::at(root))
    }

    /// The store in a folder that need not be there: then it holds nothing.
    pub fn at(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into(), me: Holder::me() }
    }

    /// A store that must be there, to read from.
    ///
    /// # Errors
    /// If there is no such folder.
    pub fn existing(root: impl Into<PathBuf>) -> Result<Store, StoreError> {
        let root = root.into();
        let found = std::fs::metadata(&root).map_err(io_error(&root))?;
        if !found.is_dir() {
            return Err(damaged(&root, "is no folder"));
        }
        Ok(Store::at(root))
    }

    /// The same store as a machine of another name sees it: tests let one machine be several.
    #[must_use]
    pub fn on(self, host: &str) -> Store {
        Store { me: self.me.on(host), ..self }
    }

    /// Letters for the names of files that only this process writes.
    fn token(&self) -> String {
        self.me.token()
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a finished run is a record: its weights are not there. False of what cannot be read.
    pub fn is_record(&self, key: &Key) -> bool {
        let path = paths::run(&self.root, key).join(paths::MANIFEST);
        let manifest = read(&path).ok().and_then(|text| RunManifest::parse(&text, key).ok());
        manifest.is_some_and(|manifest| !manifest.absent.is_empty())
    }

    /// Whether there is a finished run, whole or damaged.
    pub fn holds(&self, key: &Key) -> bool {
        paths::run(&self.root, key).exists()
    }

    /// Looks up a run whose spec must be `spec`.
    pub fn look_up(&self, key: &Key, spec: &RunSpec) -> Lookup {
        let folder = paths::run(&self.root, key);
        if let Err(problem) = folder.try_exists() {
            return Lookup::Damaged(io_error(&folder)(problem));
        }
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
            if manifest.absent.contains(name) {
                continue;
            }
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
            result_hash: manifest.result_hash.clone(),
            folder,
            manifest,
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
}
