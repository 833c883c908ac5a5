//! Unpacks archives without trusting them.

use super::archive::{Archive, LIST};
use super::progress::{Report, Step, Ticker};
use super::{DataError, files};
use crate::digest::hex;
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use tar::EntryType;

impl Archive {
    /// Unpacks a verified archive to `<folder>/<self.folder>`, in one step as seen from
    /// outside, with a list of all files and their SHA-256.
    ///
    /// # Errors
    /// If an entry is anything but a plain file or folder inside the archive, or the bounds
    /// are exceeded, or the disk is full. Nothing is left behind then.
    pub fn unpack(
        &self,
        archive: &Path,
        folder: &Path,
        report: &mut Report,
    ) -> Result<(), DataError> {
        let scratch = folder.join(".unpacking");
        let bounds = Bounds { bytes: self.most_bytes, entries: self.most_entries };
        let unpacked = unpack_to(archive, &scratch, bounds, report).and_then(|files| {
            let top = only_top(&files);
            let mut list = format!("{}\n", self.list_head());
            for (path, sha256) in &files {
                let inner = path.strip_prefix(top).unwrap_or(path).trim_start_matches('/');
                list += &format!("{}  {inner}\n", hex(sha256));
            }
            let made = scratch.join(top);
            files::write_whole(&made.join(LIST), list.as_bytes())?;
            replace(&made, &folder.join(self.folder))
        });
        // On success only an empty shell is left of it, if anything.
        let _ = std::fs::remove_dir_all(&scratch);
        unpacked
    }
}

/// What unpacking never exceeds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub bytes: u64,
    pub entries: usize,
}

/// Takes the content of an archive, entry by entry.
pub(super) trait Sink {
    /// A folder of this name.
    fn folder(&mut self, name: &str) -> std::io::Result<()>;
    /// A file of this name, whose content [`Sink::write`] is given. No name comes twice.
    fn start_file(&mut self, name: &str) -> std::io::Result<()>;
    /// The next bytes of the file.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()>;
}

/// Makes folders and files below `root`.
struct Unpacking {
    root: PathBuf,
    /// Of the last file: most archives hold folder after folder.
    folder: PathBuf,
    file: Option<File>,
}

impl Sink for Unpacking {
    fn folder(&mut self, name: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(self.root.join(name))
    }

    fn start_file(&mut self, name: &str) -> std::io::Result<()> {
        let path = self.root.join(name);
        if let Some(parent) = path.parent()
            && parent != self.folder
        {
            std::fs::create_dir_all(parent)?;
            self.folder = parent.to_owned();
        }
        // A new file and nothing else: what is there already is never followed or overwritten.
        self.file = Some(File::create_new(path)?);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }
}

/// Unpacks into a fresh folder; returns the path of every file and its SHA-256.
fn unpack_to(
    archive: &Path,
    scratch: &Path,
    bounds: Bounds,
    report: &mut Report,
) -> Result<BTreeMap<String, [u8; 32]>, DataError> {
    let disk = |e| DataError::io(scratch, e, "is the disk full or read-only?");
    match std::fs::remove_dir_all(scratch) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(disk(e)),
        _ => std::fs::create_dir_all(scratch).map_err(disk)?,
    }
    let folder = PathBuf::new();
    let mut sink = Unpacking { root: scratch.to_owned(), folder, file: None };
    read_entries(archive, &mut sink, bounds, report)
}

/// Hands the content of a `.tar.gz` or `.tar` to `sink`; returns the path of every file and
/// its SHA-256.
///
/// # Errors
/// If an entry is anything but a plain file or folder inside the archive, or the bounds are
/// exceeded, or the sink fails.
pub(super) fn read_entries(
    archive: &Path,
    sink: &mut impl Sink,
    bounds: Bounds,
    report: &mut Report,
) -> Result<BTreeMap<String, [u8; 32]>, DataError> {
    let disk = |e| DataError::io(archive, e, "cannot be unpacked: is the disk full or read-only?");
    let damaged = |e: std::io::Error| DataError::format(archive, format!("cannot unpack: {e}"));
    let mut file = BufReader::new(files::open(archive).map_err(damaged)?);
    let zipped = file.fill_buf().map_err(damaged)?.starts_with(&[0x1f, 0x8b]);
    let inner: Box<dyn Read> =
        if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    // Headers and padding count too: what a bomb expands to is bounded before it is looked at.
    let most = bounds.bytes + 2048 * bounds.entries as u64;
    let mut tar = tar::Archive::new(Bounded { inner, left: most });
    let mut files = BTreeMap::new();
    let mut ticker = Ticker::new(report, Step::Unpack, None);
    for (index, entry) in tar.entries().map_err(damaged)?.enumerate() {
        let mut entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let refuse = |problem: &str| DataError::Unpack {
            archive: archive.to_owned(),
            entry: name.clone(),
            problem: problem.to_owned(),
        };
        if index >= bounds.entries {
            return Err(refuse(&format!("is one more than {} entries", bounds.entries)));
        }
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue; // Comments for the whole archive; git writes one.
        }
        let inner = files::plain_path(&name).map_err(refuse)?;
        match kind {
            EntryType::Directory => sink.folder(&inner).map_err(disk)?,
            EntryType::Regular | EntryType::Continuous => {
                if files.contains_key(&inner) {
                    return Err(refuse("occurs twice"));
                }
                sink.start_file(&inner).map_err(disk)?;
                let sha256 = copy(&mut entry, sink, &mut ticker).map_err(|e| match e {
                    CopyError::Read(e) => damaged(e),
                    CopyError::Write(e) => disk(e),
                    CopyError::Stopped(e) => e,
                })?;
                files.insert(inner, sha256);
            }
            other => return Err(refuse(&format!("is neither file nor folder ({other:?})"))),
        }
    }
    if files.is_empty() {
        return Err(DataError::format(archive, "holds no file"));
    }
    Ok(files)
}

/// The folder that holds all of these paths: some archives have one, some do not (`""`).
pub(super) fn only_top(files: &BTreeMap<String, [u8; 32]>) -> &str {
    let tops: BTreeSet<&str> =
        files.keys().map(|path| path.split_once('/').map_or("", |(top, _)| top)).collect();
    tops.first().copied().filter(|_| tops.len() == 1).unwrap_or_default()
}

enum CopyError {
    Read(std::io::Error),
    Write(std::io::Error),
    Stopped(DataError),
}

/// Copies the content of one file and takes its SHA-256.
fn copy(
    entry: &mut impl Read,
    sink: &mut impl Sink,
    ticker: &mut Ticker,
) -> Result<[u8; 32], CopyError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = entry.read(&mut buffer).map_err(CopyError::Read)?;
        if count == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&buffer[..count]);
        sink.write(&buffer[..count]).map_err(CopyError::Write)?;
        ticker.advance(count as u64).map_err(CopyError::Stopped)?;
    }
}

/// A reader that fails, instead of ending, once it has given `left` bytes.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| std::io::Error::other("it expands to more than it may"))?;
        Ok(count)
    }
}

/// Renames `made` to `target`; an older `target` is moved aside first and then removed.
fn replace(made: &Path, target: &Path) -> Result<(), DataError> {
    let old: PathBuf = target.with_extension("old");
    let swap = || {
        let _ = std::fs::remove_dir_all(&old);
        if target.exists() {
            std::fs::rename(target, &old)?;
        }
        std::fs::rename(made, target)?;
        let _ = std::fs::remove_dir_all(&old);
        Ok(())
    };
    swap().map_err(|e| DataError::io(target, e, "check that the folder is writable"))
}
