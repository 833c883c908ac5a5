//! `bgm trace`: a run's first steps for another implementation to replay.

use super::args::{Global, Trace};
use super::{Failure, device, session};
use crate::cli::terminal::note;
use crate::experiments::KeyMaker;
use crate::schedule::context::{CHECKPOINT_EVERY, Context};
use crate::schedule::worker::{RunError, run_with_weights};
use crate::store::{Store, lock};
use crate::train::{Inputs, trace::trace as make};
use crate::verify::exit;

pub fn trace(global: &Global, options: &Trace) -> Result<u8, Failure> {
    if options.steps == 0 {
        return Err(Failure::Usage("--steps 0: there must be at least one".to_owned()));
    }
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
            let (key, _) = run_with_weights(parent, &context)?;
            Some(store.read(&key)?.weights(None)?)
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
    let bytes = make(&spec, &inputs, options.steps).map_err(RunError::from)?;
    std::fs::write(&options.out, bytes)
        .map_err(|e| Failure::Environment(format!("{}: {e}", options.out.display())))?;
    if !global.quiet {
        note!("{} steps of run {key} in {}", options.steps, options.out.display());
    }
    Ok(exit::AS_BLESSED)
}
