//! `bgm store`: stores of finished runs.

use super::args::{Global, Store as Options, StoreCommand};
use super::{CliError, merge, prune};
use crate::cli::terminal::note;
use crate::store::Store;
use crate::verify::exit;
use std::path::Path;

pub fn store(global: &Global, options: &Options) -> Result<u8, CliError> {
    match &options.command {
        StoreCommand::Export { out } => export(global, out),
        StoreCommand::Prune(options) => prune::prune(global, options),
        StoreCommand::Merge { from, into } => {
            merge::merge_all(global, from, into.as_deref().unwrap_or(&global.store))
        }
    }
}

/// Name of the file where a folder is given.
const RECORDS: &str = "records.tar.gz";

fn export(global: &Global, out: &Path) -> Result<u8, CliError> {
    let store = Store::existing(&global.store)?;
    let file = if out.is_dir() { out.join(RECORDS) } else { out.to_owned() };
    let exported = store.export(&file)?;
    for problem in &exported.damaged {
        note!("bgm: not exported: {problem}");
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
