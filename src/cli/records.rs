//! Records of blessed runs that stand in for runs that the store lacks.

use super::CliError;
use super::args::Global;
use super::session::Session;
use crate::store::{Store, Unpacked};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How the names of files of records end.
const ENDING: &str = ".tar.gz";

/// The file of records that comes with the profile; it need not be there.
pub fn of_profile(global: &Global) -> PathBuf {
    folder(global).join(format!("{}{ENDING}", global.profile))
}

/// Where the repository's files of records lie.
pub fn folder(global: &Global) -> PathBuf {
    global.expected.join("records")
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

/// The records for a report: those that are asked for; the profile's if the store has no run of
/// it, so that there is something to show.
pub fn of_report(
    global: &Global,
    wanted: Option<&Path>,
    session: &Session,
) -> Result<Vec<Unpacked>, CliError> {
    if let Some(path) = wanted {
        return unpack(path);
    }
    let (file, store) = (of_profile(global), &session.store);
    let is_empty = !session.plan.runs.keys().any(|key| store.holds(key));
    if is_empty && file.exists() { unpack(&file) } else { Ok(Vec::new()) }
}

/// What a report says of records that its numbers come from; empty where there are none.
pub fn sentence(session: &Session) -> String {
    let evidence = session.evidence();
    let mut counts: BTreeMap<&Path, usize> = BTreeMap::new();
    for key in session.plan.runs.keys().filter(|key| evidence.is_from_records(key)) {
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
