//! Files that are compiled into the program, so that the binary alone is the artifact:
//! declarations, claims, references, records and the embedded images.
//!
//! They are used where a folder is not given and not there. Everything else reads folders, so
//! they are written to one, under the user's cache, once for each content.

use crate::digest::hex;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file of the repository.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedFile {
    /// Relative to the repository's root, with `/` between its parts.
    pub path: &'static str,
    pub bytes: &'static [u8],
}

/// The files of a program; none in a program of which this crate is a library.
#[derive(Clone, Copy, Debug, Default)]
pub struct Embedded(pub &'static [EmbeddedFile]);

impl Embedded {
    /// Whether there is a file below the folder `name`.
    pub fn has(&self, name: &str) -> bool {
        self.below(name).next().is_some()
    }

    /// Names of what lies directly below the folder `name`, once for each file in it.
    pub fn below(&self, name: &str) -> impl Iterator<Item = &'static str> {
        let prefix = format!("{name}/");
        self.0.iter().filter_map(move |file| file.path.strip_prefix(&prefix)?.split('/').next())
    }

    /// Writes all files to a folder below `cache`, named after their content, and returns it.
    /// Files that are there already are compared and only written again if they differ; several
    /// processes may do so at the same time.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn unpack(&self, cache: &Path) -> io::Result<PathBuf> {
        let mut hash = Sha256::new();
        for part in self.0.iter().flat_map(|file| [file.path.as_bytes(), file.bytes]) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let root = cache.join(&hex(&hash.finalize())[..16]);
        for file in self.0 {
            let path = root.join(file.path);
            if std::fs::read(&path).is_ok_and(|there| there == file.bytes) {
                continue;
            }
            let folder = path.parent().unwrap_or(&root);
            std::fs::create_dir_all(folder)?;
            let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
            temporary.write_all(file.bytes)?;
            temporary.persist(&path).map_err(|e| e.error)?;
        }
        Ok(root)
    }
}

/// The user's cache folder of this program: `$XDG_CACHE_HOME/bgm`, `~/.cache/bgm`, or, where
/// there is no home, a folder of this user's own among the temporary files.
pub fn cache(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map_or_else(|| std::env::temp_dir().join(own_name()), |cache| cache.join("bgm"))
}

fn own_name() -> String {
    format!("bgm-{}", rustix::process::getuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: Embedded = Embedded(&[
        EmbeddedFile { path: "tables/a.toml", bytes: b"a = 1" },
        EmbeddedFile { path: "data/set/b", bytes: b"b" },
    ]);

    #[test]
    fn what_was_unpacked_is_used_again_and_mended() {
        let cache = tempfile::tempdir().unwrap();
        let root = FILES.unpack(cache.path()).unwrap();
        let a = root.join("tables/a.toml");
        assert_eq!(std::fs::read(&a).unwrap(), b"a = 1");
        assert_eq!(std::fs::read(root.join("data/set/b")).unwrap(), b"b");
        let written = std::fs::metadata(&a).unwrap().modified().unwrap();
        assert_eq!(FILES.unpack(cache.path()).unwrap(), root);
        assert_eq!(std::fs::metadata(&a).unwrap().modified().unwrap(), written);
        std::fs::write(&a, "a = 2").unwrap();
        FILES.unpack(cache.path()).unwrap();
        assert_eq!(std::fs::read(&a).unwrap(), b"a = 1");
        assert!(FILES.has("tables") && FILES.has("data/set") && !FILES.has("tab"));
    }

    #[test]
    fn other_contents_lie_elsewhere() {
        let cache = tempfile::tempdir().unwrap();
        let others = Embedded(&[EmbeddedFile { path: "tables/a.toml", bytes: b"a = 3" }]);
        assert_ne!(FILES.unpack(cache.path()).unwrap(), others.unpack(cache.path()).unwrap());
    }

    #[test]
    fn the_cache_is_where_the_user_has_one() {
        let only = |name: &'static str, value: &'static str| {
            cache(move |asked| (asked == name).then(|| OsString::from(value)))
        };
        assert_eq!(only("XDG_CACHE_HOME", "/x"), Path::new("/x/bgm"));
        assert_eq!(only("XDG_CACHE_HOME", "x"), std::env::temp_dir().join(own_name()));
        assert_eq!(only("HOME", "/home/a"), Path::new("/home/a/.cache/bgm"));
        assert_eq!(only("NOTHING", ""), std::env::temp_dir().join(own_name()));
    }
}
