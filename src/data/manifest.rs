//! SHA-256 manifests: every data file is checked against one when it is loaded.

use super::files::{hash_file, plain_path};
use super::{DataError, files};
use crate::digest::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Size and hash of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Path below the folder of the manifest, with `/`.
    pub path: String,
    pub bytes: u64,
    pub sha256: String,
}

/// The files of one data set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// How the files were made, for a reader.
    #[serde(default)]
    pub origin: String,
    pub file: Vec<FileEntry>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let hint = "the folder of the data set is incomplete";
        let text = files::read_text(path).map_err(|e| DataError::io(path, e, hint))?;
        Manifest::parse(&text).map_err(|problem| DataError::format(path, problem))
    }

    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// If it is malformed or names a file outside of its folder.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: Manifest = toml::from_str(text).map_err(|e| e.to_string())?;
        for entry in &manifest.file {
            plain_path(&entry.path)
                .map_err(|problem| format!("names {:?}, which {problem}", entry.path))?;
        }
        Ok(manifest)
    }

    /// Lists `names` below `folder` with their sizes and hashes.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn of(folder: &Path, names: &[String], origin: &str) -> Result<Self, DataError> {
        let entry = |name: &String| {
            let path = folder.join(name);
            let (bytes, sha256) = hash_file(&path)?;
            Ok(FileEntry { path: name.clone(), bytes, sha256 })
        };
        let file = names.iter().map(entry).collect::<Result<_, DataError>>()?;
        Ok(Manifest { origin: origin.to_owned(), file })
    }

    /// Compares every file below `folder` with its entry.
    ///
    /// # Errors
    /// The first file that is missing or differs.
    pub fn check(&self, folder: &Path) -> Result<(), DataError> {
        for entry in &self.file {
            let path = folder.join(&entry.path);
            let (_, found) = hash_file(&path)?;
            if found != entry.sha256 {
                let expected = entry.sha256.clone();
                return Err(DataError::Hash { path, expected, found });
            }
        }
        Ok(())
    }

    /// One hash for all files: what a run key depends on.
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        for entry in &self.file {
            hash.update(format!("{} {}\n", entry.sha256, entry.path));
        }
        hex(&hash.finalize())
    }
}
