//! Where the images of an import come from: a folder, or an archive of one.

use super::{BOUNDS, Problems};
use crate::data::decode::MAX_FILE_BYTES;
use crate::data::progress::Report;
use crate::data::unpack::{self, Sink};
use crate::data::{DataError, files, folders};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What an entry of a folder is, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// Neither, with its article.
    Other(&'static str),
}

/// A folder on the disk, or the content of an archive. Paths begin with [`Source::root`].
pub(super) enum Source {
    Folder(PathBuf),
    Archive(Packed),
}

impl Source {
    /// Looks at `from`; an archive is unpacked into one file in `scratch`, since 60,000 small
    /// files take a file system from seconds to minutes.
    ///
    /// # Errors
    /// If it is neither a folder nor an archive, or an archive that is not safe to unpack.
    pub(super) fn open(
        from: &Path,
        scratch: &Path,
        report: &mut Report,
    ) -> Result<Source, DataError> {
        if from.is_dir() {
            return Ok(Source::Folder(from.to_owned()));
        }
        Packed::new(from, &scratch.join(PACKED), report).map(Source::Archive)
    }

    /// What every path begins with: the folder, or the name of the archive.
    pub(super) fn root(&self) -> &Path {
        match self {
            Source::Folder(root) => root,
            Source::Archive(packed) => &packed.root,
        }
    }

    /// What a folder holds besides hidden entries, sorted by name. Entries that cannot be
    /// looked at go to `problems`.
    ///
    /// # Errors
    /// If it cannot be listed.
    pub(super) fn entries(
        &self,
        folder: &Path,
        problems: &mut Problems,
    ) -> Result<Vec<(OsString, Kind)>, DataError> {
        let mut found = match self {
            Source::Folder(_) => listed(folder, problems)?,
            Source::Archive(packed) => packed.entries(folder),
        };
        found.retain(|(name, _)| !name.as_encoded_bytes().starts_with(b"."));
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// If it cannot be read or is larger than any image should be.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<u8>, DataError> {
        match self {
            Source::Folder(_) => folders::read(path),
            Source::Archive(packed) => packed.read(path),
        }
    }
}

fn listed(folder: &Path, problems: &mut Problems) -> Result<Vec<(OsString, Kind)>, DataError> {
    let io = |e| DataError::io(folder, e, "give a folder of class folders or a .tar.gz of one");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        match std::fs::metadata(entry.path()).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_dir() => found.push((name, Kind::Folder)),
            Ok(kind) if kind.is_file() => found.push((name, Kind::File)),
            Ok(kind) => found.push((name, Kind::Other(files::describe(kind)))),
            Err(e) if entry.file_type().is_ok_and(|kind| kind.is_symlink()) => {
                problems.add(&entry.path(), format!("is a link that leads nowhere ({e})"));
            }
            Err(e) => problems.add(&entry.path(), e.to_string()),
        }
    }
    Ok(found)
}

/// Name of the file that an archive is unpacked into.
pub(super) const PACKED: &str = "unpacked";

/// The files of an archive, one behind the other in one file.
pub(super) struct Packed {
    /// The path of the archive.
    root: PathBuf,
    /// Folder of the archive that holds everything, or `""`.
    top: String,
    file: File,
    /// First byte and number of bytes of every file of the archive.
    places: BTreeMap<String, (u64, usize)>,
    /// Entries of every folder.
    folders: BTreeMap<String, BTreeMap<String, Kind>>,
}

impl Packed {
    fn new(archive: &Path, path: &Path, report: &mut Report) -> Result<Packed, DataError> {
        let io = |e| DataError::io(path, e, "is the disk full?");
        let mut packing = Packing {
            out: BufWriter::with_capacity(1 << 20, File::create(path).map_err(io)?),
            written: 0,
            last: None,
            places: BTreeMap::new(),
            folders: Vec::new(),
        };
        let files = unpack::read_entries(archive, &mut packing, BOUNDS, report)?;
        packing.end_file();
        packing.out.flush().map_err(io)?;
        let Packing { places, folders: explicit, .. } = packing;
        let mut folders: BTreeMap<String, BTreeMap<String, Kind>> = BTreeMap::new();
        let all = places.keys().map(|name| (name, Kind::File));
        for (name, kind) in all.chain(explicit.iter().map(|name| (name, Kind::Folder))) {
            let (mut name, mut kind) = (name.as_str(), kind);
            while !name.is_empty() {
                let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
                folders.entry(folder.to_owned()).or_default().insert(last.to_owned(), kind);
                (name, kind) = (folder, Kind::Folder);
            }
        }
        let top = unpack::only_top(&files).to_owned();
        let file = File::open(path).map_err(io)?;
        Ok(Packed { root: archive.to_owned(), top, file, places, folders })
    }

    /// The name inside of the archive of a path below the root.
    fn inner(&self, path: &Path) -> String {
        let inner = path.strip_prefix(&self.root).unwrap_or(path);
        let inner = Path::new(&self.top).join(inner).to_string_lossy().into_owned();
        inner.trim_end_matches('/').to_owned()
    }

    fn entries(&self, folder: &Path) -> Vec<(OsString, Kind)> {
        let entries = self.folders.get(&self.inner(folder)).into_iter().flatten();
        entries.map(|(name, &kind)| (name.into(), kind)).collect()
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, DataError> {
        let Some(&(first, length)) = self.places.get(&self.inner(path)) else {
            return Err(DataError::format(path, "is not in the archive"));
        };
        if length as u64 > MAX_FILE_BYTES {
            return Err(DataError::format(path, format!("is larger than {MAX_FILE_BYTES} bytes")));
        }
        let mut bytes = vec![0; length];
        let read = self.file.read_exact_at(&mut bytes, first);
        read.map_err(|e| DataError::io(path, e, "was the unpacked archive changed?"))?;
        Ok(bytes)
    }
}

/// Writes the files of an archive one behind the other.
struct Packing {
    out: BufWriter<File>,
    written: u64,
    /// Name and first byte of the file that is being written.
    last: Option<(String, u64)>,
    places: BTreeMap<String, (u64, usize)>,
    folders: Vec<String>,
}

impl Packing {
    fn end_file(&mut self) {
        if let Some((name, first)) = self.last.take() {
            self.places.insert(name, (first, (self.written - first) as usize));
        }
    }
}

impl Sink for Packing {
    fn folder(&mut self, name: &str) -> std::io::Result<()> {
        self.folders.push(name.to_owned());
        Ok(())
    }

    fn start_file(&mut self, name: &str) -> std::io::Result<()> {
        self.end_file();
        self.last = Some((name.to_owned(), self.written));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}
