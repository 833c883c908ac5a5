//! `bgm run`: one run by key or spec file.

use super::args::{Global, Run};
use super::{CliError, device, session, signals};
use crate::cli::terminal::{note, output};
use crate::experiments::KeyMaker;
use crate::experiments::space::Space;
use crate::schedule::context::Context;
use crate::schedule::worker::{self, Made};
use crate::store::{Store, lock};
use crate::verify::exit;
use std::io::Write;
use std::time::Duration;

pub fn run(global: &Global, options: &Run) -> Result<u8, CliError> {
    // First of all: a signal may come at any time, and no thread may be there before.
    signals::stop_training(
        "interrupted in the middle of a long step; the next call goes on from the last checkpoint",
    )?;
    let job = super::child::read_job(global, &options.target)?;
    let device = device::place(global)?.open(global)?;
    let (store, catalog) = (Store::open(&global.store)?, global.catalog()?);
    let mut keys = KeyMaker::new(&catalog);
    let mut missing = Vec::new();
    for spec in std::iter::successors(Some(&job.spec), |spec| spec.parent()) {
        if !store.holds(&keys.key(spec)?) {
            missing.push(Space::of(spec));
        }
    }
    session::check_space(&store, Space::together(missing.into_iter(), 1))?;
    let progress = |epoch: u32, most: u32| {
        if options.progress_json {
            // Nobody listening is no reason to stop training.
            let mut out = std::io::stdout();
            drop(writeln!(out, "{{\"epoch\":{epoch},\"most\":{most}}}"));
            drop(out.flush());
        }
    };
    let context = Context {
        store: &store,
        catalog: &catalog,
        device: &*device,
        commit: &session::commit(),
        checkpoint_every: Duration::try_from_secs_f64(options.checkpoint_seconds)
            .map_err(|e| CliError::Usage(format!("--checkpoint-seconds: {e}")))?,
        lock_patience: lock::SILENCE,
        progress: &progress,
        notice: &|text| note!("bgm: {text}"),
    };
    let (key, made) = worker::run(&job.spec, &context)?;
    worker::measure(&key, &job.measures, &context)?;
    if !options.progress_json {
        let stored = store.read(&key)?;
        let how = if made == Made::Now { "trained" } else { "already stored" };
        let last = stored.metrics.last();
        note!(
            "{how}: {:?} after {} epochs, test accuracy {:.2}%",
            stored.metrics.status,
            stored.metrics.epochs,
            last.map_or(f64::NAN, |e| e.test_accuracy)
        );
        output!("{key} {}", stored.result_hash);
    }
    Ok(exit::SUCCESS)
}
