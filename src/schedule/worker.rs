//! One run, from lock to store: what `bgm run` does, by hand or for a scheduler.

use crate::data::Catalog;
use crate::experiments::{KeyMaker, PlanError};
use crate::measure::{MeasureError, MeasureSpec, Subject};
use crate::models::weights::{self, NamedTensors};
use crate::spec::{Key, RunSpec, TRAINING_SEMANTICS};
use crate::store::lock::{LockGuard, Silence};
use crate::store::{Environment, Finished, Lookup, Store, StoreError};
use crate::torch;
use crate::train::{self, Inputs, Observer, TrainError, source::Source};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tch::Device;

/// How long unsaved work may grow, unless told otherwise, before a checkpoint is written at
/// the end of an epoch.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// How long to wait before asking again for a run that another process works on.
const LOCK_POLL: Duration = Duration::from_millis(500);

/// Set when the process is asked to end; training stops at the next step.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Why a run was not made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Measure(#[from] MeasureError),
}

/// What a run needs from its surroundings.
pub struct Context<'a> {
    pub store: &'a Store,
    pub catalog: &'a Catalog,
    pub device: Device,
    /// Commit of the program, for the record.
    pub commit: &'a str,
    /// How long unsaved work may grow before a checkpoint is written at the end of an epoch.
    pub checkpoint_every: Duration,
    /// Silence after which a process of another machine that holds a run counts as dead.
    pub lock_patience: Duration,
    /// Called after each epoch with (epoch, most epochs).
    pub progress: &'a dyn Fn(u32, u32),
    /// Told in words of what was found damaged and is made again.
    pub notice: &'a dyn Fn(&str),
}

/// How a run came to be in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Already,
    Now,
}

/// Makes sure that a run, and those before it, are in the store.
///
/// # Errors
/// If training fails or is interrupted, or the store cannot be used.
pub fn run(spec: &RunSpec, context: &Context<'_>) -> Result<(Key, Made), RunError> {
    let parent = match spec.parent() {
        Some(parent) => Some(run(parent, context)?.0),
        None => None,
    };
    let key = KeyMaker::new(context.catalog).key(spec).map_err(PlanError::from)?;
    if let Lookup::Stored(_) = context.store.look_up(&key, spec) {
        // Clearing up may fail, on a store that is read-only for one: the run is there.
        if context.store.left_over(&key)
            && let Ok(Some(_guard)) = context.store.try_lock(&key, &mut Silence::default())
        {
            drop(context.store.tidy(&key));
        }
        return Ok((key, Made::Already));
    }
    let _guard = lock(&key, context)?;
    // Somebody may have finished it between the look and the lock.
    match context.store.look_up(&key, spec) {
        Lookup::Stored(_) => return Ok((key, Made::Already)),
        Lookup::Damaged(problem) => {
            let kept = context.store.root().join("damaged");
            (context.notice)(&format!(
                "{problem}; the run is made again, the damaged one is kept in {}",
                kept.display()
            ));
        }
        Lookup::Partial | Lookup::Missing => {}
    }
    make(spec, &key, parent.as_ref(), context)?;
    Ok((key, Made::Now))
}

/// Waits until this process is the only one who works on a run.
fn lock(key: &Key, context: &Context<'_>) -> Result<LockGuard, RunError> {
    let mut silence = Silence::of(context.lock_patience);
    loop {
        if let Some(guard) = context.store.try_lock(key, &mut silence)? {
            return Ok(guard);
        }
        if INTERRUPTED.load(Ordering::SeqCst) {
            return Err(TrainError::Interrupted(0).into());
        }
        std::thread::sleep(LOCK_POLL);
    }
}

/// Makes the measurements of a stored run that are not kept yet.
///
/// # Errors
/// If the run is not there, or a measurement does not fit it.
pub fn measure(key: &Key, measures: &[MeasureSpec], context: &Context<'_>) -> Result<(), RunError> {
    let stored = context.store.read(key)?;
    let missing = || -> Vec<&MeasureSpec> {
        let kept = |m: &MeasureSpec| context.store.measured(key, &m.id(), &stored.result_hash);
        measures.iter().filter(|m| !matches!(kept(m), Ok(Some(_)))).collect()
    };
    if missing().is_empty() {
        return Ok(());
    }
    let _guard = lock(key, context)?;
    for measurement in measures {
        // What is damaged is measured again.
        let kept = context.store.measured(key, &measurement.id(), &stored.result_hash);
        if let Err(problem) = kept {
            (context.notice)(&problem.to_string());
        }
    }
    torch::use_precision(stored.spec.precision, context.device).map_err(TrainError::from)?;
    let source = Source::open(&stored.spec, context.catalog).map_err(TrainError::from)?;
    let mut network = train::build(&stored.spec, &source, context.device);
    weights::load_state(&mut network, &stored.weights(None)?).map_err(TrainError::Start)?;
    let (spec, device) = (&stored.spec, context.device);
    let kept = spec.train.snapshots.iter().map(|&epoch| Ok((epoch, stored.weights(Some(epoch))?)));
    let snapshots = kept.collect::<Result<BTreeMap<u32, NamedTensors>, StoreError>>()?;
    for measurement in missing() {
        let counterpart = match measurement.counterpart(spec) {
            Some(other) => {
                let (key, _) = run(&other, context)?;
                Some(context.store.read(&key)?.weights(None)?)
            }
            None => None,
        };
        let subject = Subject {
            spec,
            source: &source,
            network: &network,
            device,
            snapshots: &snapshots,
            counterpart: counterpart.as_ref(),
        };
        let measured = measurement.measure(&subject)?;
        context.store.keep_measured(key, &measurement.id(), &stored.result_hash, &measured)?;
    }
    Ok(())
}

/// Trains and stores a run whose lock is held.
fn make(
    spec: &RunSpec,
    key: &Key,
    parent: Option<&Key>,
    context: &Context<'_>,
) -> Result<(), RunError> {
    let started = Instant::now();
    let parent = match parent {
        Some(parent) => Some(context.store.read(parent)?.weights(None)?),
        None => None,
    };
    let anew = |problem: &dyn std::fmt::Display| {
        (context.notice)(&format!("{problem}; the run is trained from its start"));
    };
    let checkpoint = match context.store.begin(key, spec) {
        Err(problem @ StoreError::Damaged { .. }) => {
            anew(&problem);
            None
        }
        begun => begun?,
    };
    let mut watch = Watch { key, context, saved: Instant::now(), snapshots: BTreeMap::new() };
    let inputs = |resume| Inputs {
        catalog: context.catalog,
        device: context.device,
        parent: parent.as_ref(),
        resume,
        key: key.as_str(),
    };
    let resumed = checkpoint.as_deref().map(|bytes| (key.as_str(), bytes));
    // A run that keeps weights along the way starts over: a checkpoint does not hold them.
    let resumed = resumed.filter(|_| spec.train.snapshots.is_empty());
    let trained = match train::train(spec, &inputs(resumed), &mut watch) {
        // A checkpoint of another version is of no use.
        Err(problem @ TrainError::Checkpoint(_)) => {
            anew(&problem);
            train::train(spec, &inputs(None), &mut watch)
        }
        outcome => outcome,
    }?;
    let environment = Environment {
        platform: torch::platform(context.device),
        commit: context.commit.to_owned(),
        semantics: TRAINING_SEMANTICS,
        seconds: started.elapsed().as_secs_f64(),
    };
    context.store.commit(&Finished {
        key,
        spec,
        metrics: &trained.metrics,
        weights: &weights::state(&trained.network),
        snapshots: &watch.snapshots,
        environment: &environment,
    })?;
    Ok(())
}

/// Saves checkpoints and reports progress.
struct Watch<'a> {
    key: &'a Key,
    context: &'a Context<'a>,
    saved: Instant,
    snapshots: BTreeMap<u32, Vec<u8>>,
}

impl Observer for Watch<'_> {
    fn epoch(
        &mut self,
        epoch: u32,
        most: u32,
        state: &dyn Fn() -> Vec<u8>,
    ) -> Result<(), TrainError> {
        let interrupted = self.interrupted();
        if interrupted || self.saved.elapsed() >= self.context.checkpoint_every {
            let saved = self.context.store.checkpoint(self.key, &state());
            saved.map_err(|e| TrainError::Save(e.to_string()))?;
            self.saved = Instant::now();
        }
        (self.context.progress)(epoch, most);
        if interrupted { Err(TrainError::Interrupted(epoch)) } else { Ok(()) }
    }

    fn snapshot(&mut self, epoch: u32, state: NamedTensors) -> Result<(), TrainError> {
        self.snapshots.insert(epoch, weights::to_bytes(&state, None));
        Ok(())
    }

    fn interrupted(&self) -> bool {
        INTERRUPTED.load(Ordering::SeqCst)
    }
}
