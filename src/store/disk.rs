//! The few file-system operations that the store is built on, each durable before it
//! returns. Tests make any of them fail or stop the process.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a whole file and waits until it is on the disk.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    faults::before("create", path)?;
    let mut file = File::create(path)?;
    faults::before("write", path)?;
    faults::write_all(&mut file, bytes, path)?;
    faults::before("fsync", path)?;
    file.sync_all()
}

/// Writes a file under another name first, so that readers see the old or the new one.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = with_suffix(path, &format!(".tmp-{}", std::process::id()));
    write(&temporary, bytes)?;
    rename(&temporary, path)
}

/// Renames a file or folder and waits until its parent folder knows.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    faults::before("rename", to)?;
    fs::rename(from, to)?;
    sync_parent(to)
}

/// Makes a folder and those above it.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    faults::before("mkdir", path)?;
    fs::create_dir_all(path)
}

/// Removes a folder with everything in it, if it is there.
pub fn remove_dir_all(path: &Path) -> io::Result<()> {
    faults::before("remove", path)?;
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Makes a file that must not exist yet.
pub fn create_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    faults::before("create", path)?;
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Waits until the entries of a folder are on the disk.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    faults::before("fsync", path)?;
    File::open(path)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => Ok(()),
    }
}

/// `path` with more letters at the end of its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(not(feature = "planted-faults"))]
mod faults {
    use std::io::{self, Write};
    use std::path::Path;

    #[inline(always)]
    pub fn before(_operation: &str, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    #[inline(always)]
    pub fn write_all(file: &mut impl Write, bytes: &[u8], _path: &Path) -> io::Result<()> {
        file.write_all(bytes)
    }
}

/// In a build with planted faults, the environment variable `BGM_DISK_FAULT=<kind>:<n>` makes
/// the n-th operation (from 0) go wrong: `crash` ends the process before it, `torn` ends it
/// in the middle of a write, `full` and `readonly` fail it and all later ones.
#[cfg(feature = "planted-faults")]
mod faults {
    use std::io::{self, Write};
    use std::path::Path;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static COUNT: AtomicU64 = AtomicU64::new(0);

    fn plan() -> Option<&'static (String, u64)> {
        static PLAN: OnceLock<Option<(String, u64)>> = OnceLock::new();
        PLAN.get_or_init(|| {
            let text = std::env::var("BGM_DISK_FAULT").ok()?;
            let (kind, at) = text.split_once(':')?;
            Some((kind.to_owned(), at.parse().ok()?))
        })
        .as_ref()
    }

    pub fn before(_operation: &str, _path: &Path) -> io::Result<()> {
        let now = COUNT.fetch_add(1, Ordering::SeqCst);
        match plan() {
            Some((kind, at)) if kind == "crash" && now == *at => std::process::abort(),
            Some((kind, at)) if kind == "full" && now >= *at => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            Some((kind, at)) if kind == "readonly" && now >= *at => {
                Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem))
            }
            _ => Ok(()),
        }
    }

    pub fn write_all(file: &mut impl Write, bytes: &[u8], _path: &Path) -> io::Result<()> {
        let now = COUNT.fetch_add(1, Ordering::SeqCst);
        if let Some((kind, at)) = plan() {
            if kind == "torn" && now >= *at {
                file.write_all(&bytes[..bytes.len() / 2])?;
                std::process::abort();
            }
        }
        file.write_all(bytes)
    }
}
