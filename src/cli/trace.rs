//! `bgm trace`: writes the first steps of a run to a file that another implementation can replay
//! (`examples/replay_trace.py`). For its format see [`crate::train::trace`].

use super::args::{Global, Trace};
use super::{CliError, device, session, signals};
use crate::cli::terminal::note;
use crate::disk;
use crate::experiments::KeyMaker;
use crate::schedule::context::{CHECKPOINT_EVERY, Context, INTERRUPTED};
use crate::schedule::worker::{RunError, run_with_weights};
use crate::store::{Store, lock};
use crate::train::{Inputs, TrainError, trace::trace as trace_steps};
use crate::verify::exit;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::Ordering;

/// Traces the run and replaces `--out` atomically; if that is a pipe or a device, writes to it. A
/// parent run whose weights are not in the store is trained first and stored.
pub fn trace(global: &Global, options: &Trace) -> Result<u8, CliError> {
    if options.steps == 0 {
        return Err(CliError::Usage("--steps 0: there must be at least one".to_owned()));
    }
    signals::stop_training(
        "interrupted in the middle of a long step; nothing of this run was written, a parent goes \
         on from its last checkpoint",
    )?;
    let spec = session::find_spec(global, &options.target)?;
    let device = device::place(global)?.open(global)?;
    let (store, catalog) = (Store::open(&global.store)?, global.catalog()?);
    let context = Context {
        store: &store,
        catalog: &catalog,
        device: &*device,
        commit: &session::commit(),
        checkpoint_every: CHECKPOINT_EVERY,
        lock_patience: lock::SILENCE,
        progress: &|_, _| {},
        notice: &|text| note!("bgm: {text}"),
    };
    let parent = match spec.parent() {
        Some(parent) => {
            let (parent_key, _) = run_with_weights(parent, &context)?;
            // `None`: the final weights.
            Some(store.read(&parent_key)?.weights(None)?)
        }
        None => None,
    };
    let key = KeyMaker::new(&catalog).key(&spec)?;
    let inputs = Inputs {
        catalog: &catalog,
        device: &*device,
        parent: parent.as_ref(),
        resume: None,
        key: key.as_str(),
    };
    let stop = || INTERRUPTED.load(Ordering::SeqCst);
    let traced = match trace_steps(&spec, &inputs, options.steps, options.states_every, &stop) {
        Err(TrainError::Interrupted(at)) => {
            note!("bgm: interrupted {at}; {} was not written", options.out.display());
            return Ok(exit::INTERRUPTED);
        }
        traced => traced.map_err(RunError::from)?,
    };
    write(&options.out, &traced.file)
        .map_err(|e| CliError::Environment(format!("{}: {e}", options.out.display())))?;
    if !global.quiet {
        note!("wrote {} steps of run {key} to {}", traced.steps, options.out.display());
    }
    Ok(exit::SUCCESS)
}

fn write(out: &Path, bytes: &[u8]) -> io::Result<()> {
    // A pipe or a device cannot be replaced, and a link (`/dev/stdout` is one) must not be.
    let is_plain = |there: Metadata| there.is_file();
    if !out.symlink_metadata().map_or(true, is_plain) {
        let mut out = OpenOptions::new().write(true).create(true).truncate(true).open(out)?;
        return out.write_all(bytes);
    }
    disk::replace(out, bytes, &std::process::id().to_string())
}
