//! `bgm store merge`: runs of other stores, or of files of records, into one.

use super::args::Global;
use super::{CliError, session, signals, worse};
use crate::cli::terminal::note;
use crate::schedule::context::INTERRUPTED;
use crate::store::merge::{self, Merged};
use crate::store::{Store, StoreError, Unpacked, lock};
use crate::verify::exit;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often a line of progress is written.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A store to take from: a folder, or a file of records.
enum Source {
    Folder(Store),
    Records(PathBuf, Unpacked),
}

impl Source {
    fn open(path: &PathBuf) -> Result<Source, StoreError> {
        if path.is_file() {
            return Ok(Source::Records(path.clone(), Store::unpack(path)?));
        }
        Store::existing(path).map(Source::Folder)
    }

    fn store(&self) -> &Store {
        match self {
            Source::Folder(store) => store,
            Source::Records(_, unpacked) => &unpacked.store,
        }
    }

    /// A message with the file's name in the place of where it was unpacked.
    fn named(&self, text: &str) -> String {
        match self {
            Source::Folder(_) => text.to_owned(),
            Source::Records(file, unpacked) => text
                .replace(&unpacked.store.root().display().to_string(), &file.display().to_string()),
        }
    }
}

pub fn merge_all(global: &Global, from: &[PathBuf], into: &Path) -> Result<u8, CliError> {
    signals::set_flag()?;
    // All of them are looked at before anything is done.
    let sources = from.iter().map(Source::open).collect::<Result<Vec<_>, _>>()?;
    let store = Store::open(into)?;
    let mut needed = 0u64;
    for source in &sources {
        needed = needed.saturating_add(store.bytes_to_merge(source.store())?);
    }
    session::check_space(&store, needed)?;
    let mut code = exit::SUCCESS;
    for source in &sources {
        let said = Cell::new(Instant::now());
        let options = merge::Options {
            lock_patience: lock::SILENCE,
            stop: &|| INTERRUPTED.load(Ordering::SeqCst),
            progress: &|number, of| {
                if !global.quiet && said.get().elapsed() >= LINE_EVERY {
                    said.set(Instant::now());
                    let root = source.store().root().display().to_string();
                    note!("{}: {number} of {of} runs", source.named(&root));
                }
            },
        };
        let merged = store.merge(source.store(), &options)?;
        report(global, &store, source, &merged);
        code = worse(code, code_of(&merged));
    }
    Ok(code)
}

fn report(global: &Global, store: &Store, source: &Source, merged: &Merged) {
    for conflict in &merged.conflicts {
        note!("bgm: {}", source.named(conflict));
    }
    for problem in &merged.damaged {
        note!("bgm: not merged: {}", source.named(problem));
    }
    for key in &merged.busy {
        note!("bgm: run {key} is being worked on in {}: call again later", store.root().display());
    }
    if !global.quiet {
        note!(
            "{} into {}: {} runs and {} measurements merged, {} were there already, {} conflicts, \
             {} damaged, {} being worked on",
            source.named(&source.store().root().display().to_string()),
            store.root().display(),
            merged.runs,
            merged.measurements,
            merged.same,
            merged.conflicts.len(),
            merged.damaged.len(),
            merged.busy.len()
        );
    }
}

fn code_of(merged: &Merged) -> u8 {
    if !merged.conflicts.is_empty() {
        exit::DEPARTURE
    } else if !merged.damaged.is_empty() {
        exit::ENVIRONMENT
    } else if !merged.busy.is_empty() {
        exit::INCOMPLETE
    } else {
        exit::SUCCESS
    }
}
