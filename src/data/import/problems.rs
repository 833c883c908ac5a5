//! Everything that is wrong with a folder, told at once.

use crate::data::{DataError, files};
use std::path::{Path, PathBuf};

/// Problems that are told; of more, only the number.
const MAX_SHOWN: usize = 10;

/// Files that cannot be imported, and why.
pub(super) struct Problems {
    root: PathBuf,
    found: Vec<String>,
    count: u64,
}

impl Problems {
    /// None yet; paths are told relative to `root`.
    pub(super) fn below(root: &Path) -> Self {
        Problems { root: root.to_owned(), found: Vec::new(), count: 0 }
    }

    /// Number of problems so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Notes that `path` cannot be imported.
    pub(super) fn add(&mut self, path: &Path, problem: String) {
        self.count += 1;
        if self.found.len() < MAX_SHOWN {
            let inner = path.strip_prefix(&self.root).unwrap_or(path);
            self.found.push(format!("\n  {}: {problem}", files::shown(inner)));
        }
    }

    /// Ok if there is none.
    ///
    /// # Errors
    /// All of them, the first ones by name.
    pub(super) fn none(&self) -> Result<(), DataError> {
        if self.count == 0 {
            return Ok(());
        }
        let more = match self.count - self.found.len() as u64 {
            0 => String::new(),
            more => format!("\n  and {more} more"),
        };
        let problem = format!(
            "{} entries cannot be imported; mend, move or remove them:{}{more}",
            self.count,
            self.found.concat()
        );
        Err(DataError::format(&self.root, problem))
    }
}
