//! The one call of this room that the compiler cannot check: mapping a file into memory.
#![allow(unsafe_code)]

use memmap2::Mmap;
use std::fs::File;

/// Maps a prepared file, read-only.
///
/// # Errors
/// If the system refuses.
pub(super) fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: a mapping is sound as long as nobody shortens or rewrites the file under it.
    // `prepare` never opens a finished file for writing: it writes another one and renames it
    // into place, which leaves the mapped file as it was until the last mapping is gone.
    unsafe { Mmap::map(file) }
}
