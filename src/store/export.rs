//! Records: runs without their weights, in one compressed file that travels light. Specs,
//! metrics, measurements, environments and all hashes are there, those of the weights too.
//!
//! The file is a gzip-compressed tar of `<key>/<file>` and `measured/<key>/<id>.json`, sorted,
//! without times or owners: the same store gives the same bytes.

use super::record::{RunManifest, json};
use super::{MAX_TEXT_BYTES, Store, StoreError, damaged, io_error, open, paths, read};
use crate::disk;
use crate::spec::Key;
use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use std::collections::BTreeSet;
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

/// What went into a file of records.
#[derive(Debug, Default)]
pub struct Exported {
    pub runs: usize,
    pub measurements: usize,
    /// Size of the file.
    pub bytes: usize,
    /// What is damaged and was left out, in words.
    pub damaged: Vec<String>,
}

/// A file of records, unpacked as a store of its own for as long as this lives.
pub struct Unpacked {
    pub store: Store,
    /// Where it came from.
    pub file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Unpacked {
    /// A problem with the file's name in the place of where it was unpacked.
    pub fn named(&self, problem: StoreError) -> StoreError {
        let named = |path: PathBuf| match path.strip_prefix(self.store.root()) {
            Ok(inner) => self.file.join(inner),
            Err(_) => path,
        };
        match problem {
            StoreError::Io { path, source } => StoreError::Io { path: named(path), source },
            StoreError::Damaged { path, problem } => {
                StoreError::Damaged { path: named(path), problem }
            }
            other => other,
        }
    }
}

/// Maximum size of everything in a file of records: 16 GiB.
const MAX_UNPACKED: u64 = 16 << 30;

impl Store {
    /// Writes records of the finished runs that `wanted` names to a file; no file where there is
    /// no such run, or none that is whole.
    ///
    /// # Errors
    /// If the store cannot be read or the file not be written. Damaged runs are no errors: they
    /// are in what is returned.
    pub fn export(
        &self,
        file: &Path,
        wanted: impl Fn(&Key) -> bool,
    ) -> Result<Exported, StoreError> {
        let mut exported = Exported::default();
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
        let mut measured = Vec::new();
        for key in self.keys()?.into_iter().filter(wanted) {
            let run = match self.read(&key) {
                Ok(run) => run,
                Err(problem) => {
                    exported.damaged.push(problem.to_string());
                    continue;
                }
            };
            let (manifest, folder) =
                (run.manifest.without_weights(), paths::run(self.root(), &key));
            for name in manifest.files.keys().filter(|name| !manifest.absent.contains(*name)) {
                append(&mut archive, &format!("{key}/{name}"), &read(&folder.join(name))?, file)?;
            }
            append(&mut archive, &format!("{key}/{}", paths::MANIFEST), &json(&manifest), file)?;
            exported.runs += 1;
            for id in self.measurements(&key)? {
                match self.measured(&key, &id, &run.result_hash) {
                    Ok(Some(_)) => measured.push((key.clone(), id)),
                    Ok(None) => {} // Of weights that were there once.
                    Err(problem) => exported.damaged.push(problem.to_string()),
                }
            }
        }
        if exported.runs == 0 {
            return Ok(exported);
        }
        for (key, id) in &measured {
            let text = read(&paths::measurement(self.root(), key, id))?;
            append(&mut archive, &format!("measured/{key}/{id}.json"), &text, file)?;
        }
        exported.measurements = measured.len();
        let finished = archive.into_inner().and_then(GzEncoder::finish);
        let bytes = finished.map_err(io_error(file))?;
        exported.bytes = bytes.len();
        disk::replace(file, &bytes, &self.token()).map_err(io_error(file))?;
        Ok(exported)
    }

    /// Unpacks a file that [`Store::export`] wrote. Nothing is trusted: entries that such a file
    /// cannot have are refused, and the runs are checked against their hashes when they are read.
    ///
    /// # Errors
    /// If the file cannot be read, or is no file of records.
    pub fn unpack(file: &Path) -> Result<Unpacked, StoreError> {
        let folder = tempfile::tempdir().map_err(io_error(&std::env::temp_dir()))?;
        let store = Store::open(folder.path())?;
        let problem = |e: io::Error| damaged(file, format!("is no whole file of records: {e}"));
        let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(open(file)?)));
        let (mut seen, mut left) = (BTreeSet::new(), MAX_UNPACKED);
        // Raw: a long name or an extended header is an entry like another, and refused as one,
        // where it would be read into memory whatever its size.
        for entry in archive.entries().map_err(problem)?.raw(true) {
            let mut entry = entry.map_err(problem)?;
            let path = entry.path().map_err(problem)?.into_owned();
            let refuse = |why: &str| damaged(file, format!("entry {}: {why}", path.display()));
            if !entry.header().entry_type().is_file() || !is_of_records(&path) {
                return Err(refuse("no file of records has such a one"));
            }
            if !seen.insert(path.clone()) {
                return Err(refuse("is there twice"));
            }
            let most = left.min(MAX_TEXT_BYTES);
            let mut text = Vec::new();
            let length = entry.by_ref().take(most + 1).read_to_end(&mut text).map_err(problem)?;
            if length as u64 > most {
                return Err(refuse("is too long"));
            }
            left -= length as u64;
            let place = folder.path().join(&path);
            let put = || {
                std::fs::create_dir_all(place.parent().unwrap_or(folder.path()))?;
                std::fs::write(&place, &text)
            };
            put().map_err(io_error(&place))?;
        }
        // What follows the last entry is part of the checksum, too.
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(problem)?;
        Ok(Unpacked { store, file: file.to_owned(), _folder: folder })
    }
}

/// Whether a file of records can have such an entry.
fn is_of_records(path: &Path) -> bool {
    let parts: Option<Vec<&str>> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let is_key = |name: &str| name.parse::<Key>().is_ok();
    match parts.as_deref() {
        Some(["measured", key, name]) => is_key(key) && paths::measurement_of(name).is_some(),
        Some([key, name]) => {
            is_key(key) && (*name == paths::MANIFEST || RunManifest::is_text(name))
        }
        _ => false,
    }
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    name: &str,
    content: &[u8],
    file: &Path,
) -> Result<(), StoreError> {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive.append_data(&mut header, name, content).map_err(io_error(file))
}
