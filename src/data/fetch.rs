//! A published archive: downloaded (with the feature `download`) or put there by hand, checked,
//! unpacked.

#[cfg(feature = "download")]
use super::download::download;
use super::progress::Report;
use super::published::DatasetInfo;
use super::{DataError, lock, prepare};
use std::path::Path;

pub use super::fetch_options::FetchOptions;

/// What [`fetch`] had to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It was unpacked before, or its splits are prepared.
    AlreadyThere,
    /// The archive was there (put there by hand, say): verified and unpacked.
    Unpacked,
    /// Downloaded, verified and unpacked.
    Downloaded,
}

/// Downloads the archive of a data set to `<root>/<name>/`, checks its size and digest, and
/// unpacks it beside. An archive that is there already is not downloaded again. After an
/// interruption or a failure the next call goes on where this one stopped.
///
/// # Errors
/// If the data set has no archive to download; if the archive is not there and this program cannot
/// download; if the server fails again and again, or serves something else; if the archive is unsafe
/// to unpack; if the disk is full.
pub fn fetch(
    info: &DatasetInfo,
    root: &Path,
    options: &FetchOptions,
    report: &mut Report,
) -> Result<Fetched, DataError> {
    let archive = info.archive.ok_or_else(|| DataError::NotPublished {
        name: info.name.to_string(),
        origin: info.origin.to_string(),
    })?;
    let folder = root.join(&*info.name);
    let _lock = lock(&folder)?;
    if archive.list(&folder).is_ok() || prepare::existing(info, &folder).is_ok() {
        return Ok(Fetched::AlreadyThere);
    }
    let path = folder.join(archive.file);
    let there = path.exists();
    if there {
        archive.verify(&path, report)?;
    } else {
        download(&archive, &path, options, report)?;
    }
    archive.unpack(&path, &folder, report)?;
    Ok(if there { Fetched::Unpacked } else { Fetched::Downloaded })
}

/// What a program without the feature `download` does instead.
#[cfg(not(feature = "download"))]
fn download(
    archive: &super::archive::Archive,
    path: &Path,
    options: &FetchOptions,
    _: &mut Report,
) -> Result<(), DataError> {
    let url = options.url.clone().unwrap_or_else(|| archive.url.to_owned());
    Err(DataError::NoDownloads { path: path.to_owned(), url })
}
