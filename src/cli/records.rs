//! Records of blessed runs that stand in for runs that the store lacks.

use super::CliError;
use super::args::{Global, STORE};
use super::session::Session;
use crate::store::{Store, Unpacked};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How the names of files of records end.
const ENDING: &str = ".tar.gz";

/// Where the repository's files of records lie.
pub fn folder(global: &Global) -> PathBuf {
    global.expected.join("records")
}

/// All records of the repository, if it has any. A profile's runs may be spread over several
/// files: a file holds what its profile adds to those that it inherits from.
pub fn all(global: &Global) -> Result<Vec<Unpacked>, CliError> {
    let folder = folder(global);
    if folder.is_dir() { unpack(&folder) } else { Ok(Vec::new()) }
}

/// A file of records, or all of a folder, sorted by name.
pub fn unpack(path: &Path) -> Result<Vec<Unpacked>, CliError> {
    if !path.is_dir() {
        return Ok(vec![Store::unpack(path)?]);
    }
    let unreadable = |e| CliError::Environment(format!("{}: {e}", path.display()));
    let entries = std::fs::read_dir(path).map_err(unreadable)?;
    let is_records =
        |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().ends_with(ENDING));
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_records).collect();
    files.sort();
    files.iter().map(|file| Ok(Store::unpack(file)?)).collect()
}

/// The records for a report: those that are asked for; the repository's if the store has no run
/// of the profile, so that there is something to show.
///
/// # Errors
/// If one of them is damaged, or the store that was named is not there or cannot be read: a
/// mistyped `--store` must not pass for an empty one.
pub fn of_report(
    global: &Global,
    wanted: Option<&Path>,
    session: &Session,
) -> Result<Vec<Unpacked>, CliError> {
    if let Some(path) = wanted {
        return unpack(path);
    }
    if global.store != Path::new(STORE) || global.store.exists() {
        Store::existing(&global.store)?.keys()?;
    }
    let is_empty = !session.plan.runs.keys().any(|key| session.store.holds(key));
    if is_empty { all(global) } else { Ok(Vec::new()) }
}

/// What a report says of records that its numbers come from; empty where there are none.
pub fn sentence(session: &Session) -> String {
    let evidence = session.evidence();
    let mut counts: BTreeMap<&Path, usize> = BTreeMap::new();
    for key in session.plan.runs.keys().filter(|key| evidence.is_record(key)) {
        *counts.entry(evidence.origin(key)).or_default() += 1;
    }
    if counts.is_empty() {
        return String::new();
    }
    let files: Vec<String> =
        counts.iter().map(|(file, count)| format!("{count} of {}", file.display())).collect();
    format!(
        "These are records: {} of the {} runs were made elsewhere and read from files ({}), not \
         trained here. \u{2018}bgm check\u{2019} trains any of them again and compares.",
        counts.values().sum::<usize>(),
        session.plan.runs.len(),
        files.join(", ")
    )
}
