//! Reads the TOML files of `expected/`: claims and references.

use crate::data::files;
use crate::experiments::text;
use std::path::{Path, PathBuf};

/// A reference or claims file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {problem}", path.display())]
    Format { path: PathBuf, problem: String },
}

/// Reads a TOML file of `expected/`.
///
/// # Errors
/// If it is missing or malformed.
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ReferenceError> {
    let io = |source| ReferenceError::Io { path: path.to_owned(), source };
    let text = files::read_text(path).map_err(io)?;
    text::parse(&text).map_err(|problem| ReferenceError::Format { path: path.to_owned(), problem })
}
