//! Files of data sets: opened, hashed, named and written.
//!
//! Only regular files are opened. Opening a FIFO blocks until somebody writes to it and a device
//! may never end: neither may hang this program, deaf to every signal.

use super::DataError;
use crate::{digest, disk};
use rustix::fs::OFlags;
use std::fs::{File, FileType, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path};

/// Largest text file (a manifest, a list of files) that is read.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// Opens a regular file, or a link to one, for reading.
///
/// # Errors
/// If it is missing, cannot be read, or is anything else: a directory, FIFO, socket or device.
pub fn open(path: &Path) -> Result<File> {
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

/// Reads a text file as [`open`] opens it.
///
/// # Errors
/// As [`open`]; if it is not UTF-8 or longer than 256 MiB.
pub fn read_text(path: &Path) -> Result<String> {
    let mut text = String::new();
    if open(path)?.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text)? as u64 > MAX_TEXT_BYTES {
        let problem = format!("is longer than {MAX_TEXT_BYTES} bytes");
        return Err(Error::new(ErrorKind::InvalidData, problem));
    }
    Ok(text)
}

/// Reads a whole file of at most `max_bytes` bytes.
///
/// # Errors
/// If it is no regular file, cannot be read, or is larger.
pub fn read(path: &Path, max_bytes: u64, hint: &str) -> std::result::Result<Vec<u8>, DataError> {
    let io = |e| DataError::io(path, e, hint);
    let mut bytes = Vec::new();
    open(path).map_err(io)?.take(max_bytes + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > max_bytes {
        let problem = format!("is larger than {max_bytes} bytes: not an image of a data set");
        return Err(DataError::format(path, problem));
    }
    Ok(bytes)
}

/// Size and SHA-256 of a file.
///
/// # Errors
/// If it cannot be read.
pub(super) fn hash_file(path: &Path) -> std::result::Result<(u64, String), DataError> {
    let hint = "a file that the manifest names is missing";
    open(path).and_then(digest::of_reader).map_err(|e| DataError::io(path, e, hint))
}

/// Writes a small file so that it is there whole or not at all. One process at a time does so
/// in the folder of a data set.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> std::result::Result<(), DataError> {
    let hint = "check that the folder is writable and not full";
    disk::replace(path, bytes, "new").map_err(|e| DataError::io(path, e, hint))
}

/// The path of an entry if it stays inside: no root, no drive, no `..`, nothing that is not UTF-8.
pub(super) fn plain_path(name: &str) -> std::result::Result<String, &'static str> {
    if name.contains(['\\', '\0', '\n', char::REPLACEMENT_CHARACTER]) || name.len() > 512 {
        return Err("has characters that no published file has in its name");
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

/// What a file is, with its article.
pub fn describe(kind: FileType) -> &'static str {
    if kind.is_file() {
        "a regular file"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO (named pipe)"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else {
        "a device"
    }
}

/// A path for messages: control characters, which could drive a terminal, are escaped.
pub fn shown(path: &Path) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    path.to_string_lossy().chars().map(escape).collect()
}
