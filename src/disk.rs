//! The few file-system operations that stores and data sets are built on, each durable before
//! it returns. Everything that a store changes goes through here, so that tests can make any
//! operation fail, stop the process in the middle of it, or cut the power after it.

#[cfg(feature = "planted-faults")]
pub mod faults;

use hooks::{before, bury, created, remembers, renaming, synced, synced_folder, write_all};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// How the names of files end that are written before they replace others.
pub const TEMPORARY: &str = ".tmp";

/// Writes a whole file and waits until it is on the disk.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    before("create", path)?;
    let mut file = File::create(path)?;
    created(path);
    fill(&mut file, path, bytes)
}

/// Writes a file under another name first, so that readers see the old or the new one.
/// `token` tells apart the processes that may do so at the same time.
pub fn replace(path: &Path, bytes: &[u8], token: &str) -> io::Result<()> {
    let temporary = with_suffix(path, &format!(".{token}{TEMPORARY}"));
    write(&temporary, bytes)?;
    rename(&temporary, path)
}

/// Copies what a reader gives to a file and waits until it is on the disk. `stop` is asked
/// now and then; the copy then ends with [`ErrorKind::Interrupted`](io::ErrorKind::Interrupted).
pub fn copy(from: &mut dyn Read, path: &Path, stop: &dyn Fn() -> bool) -> io::Result<()> {
    before("create", path)?;
    let mut file = File::create(path)?;
    created(path);
    let mut buffer = vec![0; 1 << 20];
    loop {
        if stop() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                before("write", path)?;
                write_all(&mut file, path, &buffer[..count])?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    before("fsync", path)?;
    file.sync_all()?;
    synced(path);
    Ok(())
}

/// Makes a file that must not exist yet.
pub fn create_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    before("create", path)?;
    let mut file = File::options().write(true).create_new(true).open(path)?;
    created(path);
    let filled = fill(&mut file, path, bytes);
    if filled.is_err() {
        // Half a file would keep others out. Should this fail too, they will see its age.
        drop(remove_file(path));
    }
    filled
}

/// Writes over the first bytes of a file that exists.
pub fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    before("overwrite", path)?;
    let mut file = File::options().write(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn fill(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    before("write", path)?;
    write_all(file, path, bytes)?;
    before("fsync", path)?;
    file.sync_all()?;
    synced(path);
    Ok(())
}

/// Renames a file or folder and waits until its parent folder knows. A file that is in the
/// way of a file is replaced; a folder with something in it is not, on network file systems
/// either.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    before("rename", to)?;
    renaming(from, to)?;
    fs::rename(from, to)?;
    sync_parent(to)
}

/// Makes a folder and those above it.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_dir_all(parent)?;
    }
    before("mkdir", path)?;
    match fs::create_dir(path) {
        Ok(()) => created(path),
        // Another process was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(e) => return Err(e),
    }
    sync_parent(path)
}

/// Removes a file, if it is there.
pub fn remove_file(path: &Path) -> io::Result<()> {
    before("remove", path)?;
    gone(if remembers() { bury(path) } else { fs::remove_file(path) })
}

/// Removes a folder with everything in it, if it is there.
pub fn remove_dir_all(path: &Path) -> io::Result<()> {
    before("remove", path)?;
    gone(if remembers() { bury(path) } else { fs::remove_dir_all(path) })
}

fn gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Removes a folder, if it is there and empty.
pub fn remove_dir_if_empty(path: &Path) -> io::Result<()> {
    match fs::read_dir(path) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Ok(());
            }
        }
        Err(e) => return gone(Err(e)),
    }
    before("remove", path)?;
    gone(if remembers() { bury(path) } else { fs::remove_dir(path) })
}

/// Waits until the entries of a folder are on the disk.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    before("fsync", path)?;
    match File::open(path)?.sync_all() {
        // Some network file systems know no such thing: their server sees to it.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {}
        outcome => outcome?,
    }
    synced_folder(path);
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// `path` with more letters at the end of its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// Bytes that may still be written where `path` is, or its nearest parent that exists;
/// `None` if the system does not say.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let place = path.ancestors().find(|place| place.exists()).unwrap_or(Path::new("."));
    let place = if place.as_os_str().is_empty() { Path::new(".") } else { place };
    let found = rustix::fs::statvfs(place).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

/// Which life of this process it is: tests let one process die and live again.
pub fn incarnation() -> u64 {
    hooks::incarnation()
}

#[cfg(feature = "planted-faults")]
use faults as hooks;

/// What a disk without planted faults does: nothing besides what it is asked for.
#[cfg(not(feature = "planted-faults"))]
mod hooks {
    use std::fs::File;
    use std::io::{self, Write};
    use std::path::Path;

    pub fn before(_operation: &str, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    pub fn write_all(file: &mut File, _path: &Path, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    pub fn renaming(_from: &Path, _to: &Path) -> io::Result<()> {
        Ok(())
    }

    pub fn created(_path: &Path) {}

    pub fn synced(_path: &Path) {}

    pub fn synced_folder(_path: &Path) {}

    pub fn remembers() -> bool {
        false
    }

    pub fn bury(_path: &Path) -> io::Result<()> {
        Ok(())
    }

    pub fn incarnation() -> u64 {
        0
    }
}
