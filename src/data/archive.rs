//! Published archives: what is pinned of them, and whether a file is one of them.

use super::progress::{Report, Step, Ticker};
use super::{DataError, files};
use crate::digest::hex;
use md5::Md5;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;

/// A digest that was published with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    Sha256(&'static str),
    /// Guards against damage, not against malice; all that CINIC-10 came with.
    Md5(&'static str),
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Digest::Sha256(digits) => write!(f, "sha256:{digits}"),
            Digest::Md5(digits) => write!(f, "md5:{digits}"),
        }
    }
}

/// A published `.tar.gz`.
#[derive(Clone, Copy, Debug)]
pub struct Archive {
    /// Its name, also below the folder of the data set.
    pub file: &'static str,
    pub url: &'static str,
    /// Exact size, where one is pinned.
    pub bytes: Option<u64>,
    pub digest: Digest,
    /// Folder that holds its files once unpacked.
    pub folder: &'static str,
    /// Bounds that unpacking never exceeds: bytes (downloaded, and unpacked) and entries.
    pub most_bytes: u64,
    pub most_entries: usize,
}

/// Name of the list of unpacked files, in the format of `sha256sum`.
pub const LIST: &str = "unpacked.sha256";

impl Archive {
    /// First line of the list of unpacked files: which archive they came from.
    pub(super) fn list_head(&self) -> String {
        format!("# unpacked from {} {}", self.file, self.digest)
    }

    /// Paths and SHA-256 of the files that were unpacked below `folder`.
    ///
    /// # Errors
    /// If the archive was not unpacked there, or another one was.
    pub fn list(&self, folder: &Path) -> Result<BTreeMap<String, [u8; 32]>, DataError> {
        let path = folder.join(self.folder).join(LIST);
        let hint = format!(
            "put {} into {} or let `bgm data fetch` download it, then run `bgm data fetch`: files \
             unpacked by hand are not taken, because nothing says which archive they came from",
            self.file,
            folder.display()
        );
        let text = files::read_text(&path).map_err(|e| DataError::io(&path, e, &hint))?;
        let mut lines = text.lines();
        if lines.next() != Some(self.list_head().as_str()) {
            let problem = format!("is not the list of the published {}; {hint}", self.file);
            return Err(DataError::format(&path, problem));
        }
        let entry = |(index, line): (usize, &str)| {
            let malformed = || DataError::format(&path, format!("line {} is malformed", index + 2));
            let (sha256, name) = line.split_once("  ").ok_or_else(malformed)?;
            Ok((name.to_owned(), unhex(sha256).ok_or_else(malformed)?))
        };
        lines.enumerate().map(entry).collect()
    }

    /// Checks size and digest of a downloaded archive.
    ///
    /// # Errors
    /// If it is missing or is not the published one.
    pub fn verify(&self, path: &Path, report: &mut Report) -> Result<(), DataError> {
        let io = |e| DataError::io(path, e, "download it first: `bgm data fetch`");
        let mut file = files::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        if let Some(expected) = self.bytes.filter(|&expected| expected != bytes) {
            return Err(DataError::Size { path: path.to_owned(), expected, found: bytes });
        }
        let mut ticker = Ticker::new(report, Step::Verify, Some(bytes));
        let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
        let mut buffer = vec![0; 1 << 18];
        while let count @ 1.. = file.read(&mut buffer).map_err(io)? {
            match self.digest {
                Digest::Sha256(_) => sha256.update(&buffer[..count]),
                Digest::Md5(_) => md5.update(&buffer[..count]),
            }
            ticker.advance(count as u64)?;
        }
        let (expected, found) = match self.digest {
            Digest::Sha256(digits) => (digits, hex(&sha256.finalize())),
            Digest::Md5(digits) => (digits, hex(&md5.finalize())),
        };
        if found != expected {
            let expected = self.digest.to_string();
            return Err(DataError::Archive { path: path.to_owned(), expected, found });
        }
        Ok(())
    }
}

/// The 32 bytes that 64 hexadecimal digits stand for.
fn unhex(digits: &str) -> Option<[u8; 32]> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect::<Option<Vec<u8>>>()?.try_into().ok()
}
