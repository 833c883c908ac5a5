//! Checks a downloaded archive against what was published with it.

use super::archive::{Archive, Digest};
use super::progress::{Report, Step, Ticker};
use super::{DataError, files};
use crate::spec::hex;
use md5::Md5;
use sha2::{Digest as _, Sha256};
use std::io::Read;
use std::path::Path;

impl Archive {
    /// Checks size and digest of a downloaded archive.
    ///
    /// # Errors
    /// If it is missing or is not the published one.
    pub fn verify(&self, path: &Path, report: &mut Report) -> Result<(), DataError> {
        let io = |e| DataError::io(path, e, "download it first: `bgm data fetch`");
        let mut file = files::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        if let Some(expected) = self.bytes
            && bytes != expected
        {
            return Err(DataError::Size { path: path.to_owned(), expected, found: bytes });
        }
        let mut ticker = Ticker::new(report, Step::Verify, Some(bytes));
        let (mut sha256, mut md5) = (Sha256::new(), Md5::new());
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = file.read(&mut buffer).map_err(io)?;
            if count == 0 {
                break;
            }
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
