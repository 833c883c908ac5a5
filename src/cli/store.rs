//! `bgm store`: stores of finished runs.

use super::args::{Global, Store as Options, StoreCommand};
use super::session::Session;
use super::{CliError, merge, prune};
use crate::cli::terminal::note;
use crate::spec::Key;
use crate::store::{Store, Unpacked};
use crate::verify::exit;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub fn store(global: &Global, options: &Options) -> Result<u8, CliError> {
    match &options.command {
        StoreCommand::Export { out, needed, without } => {
            export(global, out, &chosen(global, *needed, without)?)
        }
        StoreCommand::Prune(options) => prune::prune(global, options),
        StoreCommand::Merge { from, into } => {
            merge::merge_all(global, from, into.as_deref().unwrap_or(&global.store))
        }
    }
}

/// Name of the file where a folder is given.
const RECORDS: &str = "records.tar.gz";

/// Which runs to export.
struct Chosen {
    /// All, if there is no such list.
    needed: Option<BTreeSet<Key>>,
    elsewhere: Vec<Unpacked>,
}

fn chosen(global: &Global, needed: bool, without: &[PathBuf]) -> Result<Chosen, CliError> {
    let needed = match needed {
        true => Some(Session::read(global)?.plan.runs.into_keys().collect()),
        false => None,
    };
    let elsewhere = without.iter().map(|file| Store::unpack(file));
    Ok(Chosen { needed, elsewhere: elsewhere.collect::<Result<_, _>>()? })
}

fn export(global: &Global, out: &Path, chosen: &Chosen) -> Result<u8, CliError> {
    let store = Store::existing(&global.store)?;
    let file = if out.is_dir() { out.join(RECORDS) } else { out.to_owned() };
    // A file that lacks a measurement of a run does not stand in for it.
    let has_all = |records: &Unpacked, key: &Key| {
        let measured = |store: &Store| store.measurements(key).unwrap_or_default();
        records.store.holds(key) && measured(&store).is_subset(&measured(&records.store))
    };
    let exported = store.export(&file, |key| {
        chosen.needed.as_ref().is_none_or(|needed| needed.contains(key))
            && !chosen.elsewhere.iter().any(|records| has_all(records, key))
    })?;
    for problem in &exported.damaged {
        note!("bgm: not exported: {problem}");
    }
    if exported.runs == 0 {
        let problem =
            format!("{}: no run is left to export, so nothing was written", store.root().display());
        return Err(if exported.damaged.is_empty() {
            CliError::Incomplete(problem)
        } else {
            CliError::Environment(problem)
        });
    }
    if !global.quiet {
        note!(
            "{}: records of {} runs and {} measurements, {} bytes",
            file.display(),
            exported.runs,
            exported.measurements,
            exported.bytes
        );
    }
    Ok(if exported.damaged.is_empty() { exit::SUCCESS } else { exit::ENVIRONMENT })
}
