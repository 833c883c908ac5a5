//! Opening, hashing, naming and writing the files of data sets.
//!
//! Only regular files are opened: opening a FIFO blocks until another process writes to it, and
//! reading a device may never end. A signal would not help, since it only sets a flag that is
//! checked between reads.

use super::DataError;
use crate::{digest, disk};
use rustix::fs::OFlags;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Error, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path};

/// Largest text file (a manifest, a list of files) that is read.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// Opens a regular file, or a link to one, for reading.
///
/// # Errors
/// If it is missing, cannot be read, or is anything else: a directory, FIFO, socket or device.
pub fn open(path: &Path) -> io::Result<File> {
    // Without NONBLOCK, opening a FIFO waits for a writer. Regular files ignore it.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    let problem = format!("is {}, not a regular file", describe(kind));
    Err(Error::new(ErrorKind::InvalidInput, problem))
}

/// Reads a whole text file.
///
/// # Errors
/// As [`open`], and if the file is not UTF-8 or is longer than 256 MiB.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    if open(path)?.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_TEXT_BYTES {
        let problem = format!("is longer than {MAX_TEXT_BYTES} bytes");
        return Err(Error::new(ErrorKind::InvalidData, problem));
    }
    Ok(text)
}

/// Reads a whole image file of at most `max_bytes` bytes. `hint` says what to try if it cannot be
/// read.
///
/// # Errors
/// If it is not a regular file, cannot be read, or is larger.
pub fn read(path: &Path, max_bytes: u64, hint: &str) -> Result<Vec<u8>, DataError> {
    let io = |e| DataError::io(path, e, hint);
    let mut bytes = Vec::new();
    open(path).map_err(io)?.take(max_bytes + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > max_bytes {
        let problem = format!("is larger than {max_bytes} bytes: not an image of a data set");
        return Err(DataError::format(path, problem));
    }
    Ok(bytes)
}

/// Size in bytes and SHA-256 (lowercase hexadecimal) of a file.
///
/// # Errors
/// As [`open`], and if the file cannot be read to its end.
pub(super) fn hash_file(path: &Path) -> Result<(u64, String), DataError> {
    let hint = "restore the file, or fetch or prepare the data set again";
    open(path).and_then(digest::of_reader).map_err(|e| DataError::io(path, e, hint))
}

/// Writes a small file atomically (temporary file, then rename). The name of the temporary file is
/// fixed, so only one process at a time may do this: callers hold the lock of the data set.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let hint = "check that the folder is writable and not full";
    disk::replace(path, bytes, "new").map_err(|e| DataError::io(path, e, hint))
}

/// Normalizes the name of an archive or manifest entry to a relative path with `/`.
///
/// # Errors
/// Why it is refused: it could lead out of its folder (absolute, `..`), is not plain UTF-8, has
/// more than 512 bytes or more than 8 components.
pub(super) fn plain_path(name: &str) -> Result<String, &'static str> {
    if name.contains(['\\', '\0', '\n', char::REPLACEMENT_CHARACTER]) || name.len() > 512 {
        return Err("has a name that is too long or has characters that no published file has");
    }
    let mut parts = Vec::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str().unwrap_or_default()),
            Component::CurDir => {}
            _ => return Err("points outside of its folder"),
        }
    }
    if parts.len() > 8 {
        return Err("is nested too deeply");
    }
    Ok(parts.join("/"))
}

/// What is no regular file, once links are followed, with an indefinite article: "a directory".
pub fn describe(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO (named pipe)"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// A path for messages, with control characters escaped: a terminal would interpret them.
pub fn shown(path: &Path) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    path.to_string_lossy().chars().map(escape).collect()
}
