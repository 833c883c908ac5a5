//! Collects the problems of an import, so that one error reports all of them.

use crate::data::{DataError, files};
use std::path::{Path, PathBuf};

/// Number of problems listed in the error; any others are only counted.
const MAX_SHOWN: usize = 10;

/// Files that cannot be imported, and why.
pub(super) struct Problems {
    root: PathBuf,
    /// Lines for the first [`MAX_SHOWN`] problems.
    shown: Vec<String>,
    /// Number of all problems.
    count: u64,
}

impl Problems {
    /// An empty list. Paths below `root` are reported relative to it.
    pub(super) fn new(root: &Path) -> Self {
        Problems { root: root.to_owned(), shown: Vec::new(), count: 0 }
    }

    /// Number of problems so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Records that `path` cannot be imported. `problem` follows the path in the message.
    pub(super) fn add(&mut self, path: &Path, problem: String) {
        self.count += 1;
        if self.shown.len() < MAX_SHOWN {
            let inner = path.strip_prefix(&self.root).unwrap_or(path);
            self.shown.push(format!("\n  {}: {problem}", files::shown(inner)));
        }
    }

    /// Succeeds if there are no problems.
    ///
    /// # Errors
    /// One error that counts all problems and lists the first [`MAX_SHOWN`].
    pub(super) fn check(&self) -> Result<(), DataError> {
        if self.count == 0 {
            return Ok(());
        }
        let more = match self.count - self.shown.len() as u64 {
            0 => String::new(),
            more => format!("\n  and {more} more"),
        };
        let problem = format!(
            "{} entries cannot be imported; fix, move or remove them:{}{more}",
            self.count,
            self.shown.concat()
        );
        Err(DataError::format(&self.root, problem))
    }
}
