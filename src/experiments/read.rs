//! Reading declarations: experiments, and what can be wrong with a file.

use super::declare::Experiment;
use super::{check, shared, text};
use crate::data::files;
use std::path::{Path, PathBuf};

/// A declaration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: {problem}", path.display())]
    Parse { path: PathBuf, problem: String },
    #[error("{}: there is no such folder; see --tables", folder.display())]
    NoFolder { folder: PathBuf },
    #[error("unknown profile '{name}' in {}; there are: {known}", folder.display())]
    UnknownProfile { name: String, folder: PathBuf, known: String },
    #[error("unknown experiment '{name}' in {wanted_by}; there are: {known}")]
    UnknownExperiment { name: String, wanted_by: String, known: String },
}

fn read(path: &Path) -> Result<String, ProfileError> {
    files::read_text(path).map_err(|source| ProfileError::Read { path: path.to_owned(), source })
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ProfileError> {
    text::parse(&read(path)?)
        .map_err(|problem| ProfileError::Parse { path: path.to_owned(), problem })
}

/// Names of the TOML files in a folder, sorted.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

impl Experiment {
    /// Reads `<tables>/<id>.toml` and checks its names.
    ///
    /// # Errors
    /// If the file is missing or malformed, or a name in it matches nothing.
    pub fn read(tables: &Path, id: &str) -> Result<Experiment, ProfileError> {
        let path = tables.join(format!("{id}.toml"));
        let mut experiment: Experiment = parse(&path)?;
        experiment.id = id.to_owned();
        let problem = |problem| ProfileError::Parse { path: path.clone(), problem };
        shared::take_axes(&mut experiment, tables).map_err(problem)?;
        check::experiment(&experiment).map_err(problem)?;
        Ok(experiment)
    }

    /// Ids of all experiments that are declared in a folder, sorted.
    pub fn ids(tables: &Path) -> Vec<String> {
        names(tables)
    }
}
