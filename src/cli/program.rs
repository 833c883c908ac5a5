//! Where the program itself is, to start it again.

use std::path::PathBuf;

/// This program, for another process of it. Not by its path: there may be another program by
/// now, or none, while this one is still running.
pub fn program() -> std::io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.symlink_metadata().is_ok() { Ok(running) } else { std::env::current_exe() }
}
