//! SHA-256, as the whole program takes and writes it: of bytes, of files, of what is read.

use sha2::{Digest, Sha256};
use std::io::Read;

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of `bytes`, in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Number of bytes and SHA-256 of all that `reader` gives, which is not held in memory.
///
/// # Errors
/// If it cannot be read to its end.
pub(crate) fn of_reader(reader: impl Read) -> std::io::Result<(u64, String)> {
    let mut reader = HashingReader::new(reader);
    let bytes = std::io::copy(&mut reader, &mut std::io::sink())?;
    Ok((bytes, hex(&reader.finish())))
}

/// A reader that takes the SHA-256 of what passes through it.
pub(crate) struct HashingReader<R> {
    inner: R,
    hash: Sha256,
}

impl<R> HashingReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        HashingReader { inner, hash: Sha256::new() }
    }

    /// Hash of everything read so far.
    pub(crate) fn finish(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
