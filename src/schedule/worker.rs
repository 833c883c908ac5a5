//! One run, from lock to store: what `bgm run` does, by hand or for a scheduler.

use super::context::{Context, INTERRUPTED};
use super::watch::{Watch, saving};
use crate::experiments::{KeyMaker, PlanError};
use crate::measure::Measured;
use crate::measure::{MeasureError, MeasureSpec, Subject};
use crate::models::graph::Graph;
use crate::models::weights::{self, NamedTensors};
use crate::spec::{Key, RunSpec, TRAINING_SEMANTICS};
use crate::store::lock::{LockGuard, Silence};
use crate::store::{Environment, Finished, Lookup, Store, StoreError, StoredRun};
use crate::train::checkpoint::Progress;
use crate::train::metrics::Status;
use crate::train::{self, Conflict, Incomplete, Inputs, TrainError, source::Source};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long to wait before asking again for a run that another process works on.
const LOCK_POLL: Duration = Duration::from_millis(500);

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
    Measure(MeasureError),
    #[error(
        "run {key} is a record without weights, made on {made}, and its weights are needed: here \
         ({here}) they would come out with other last bits; train it there, or in a store of its \
         own (--store)"
    )]
    OtherPlatform { key: Key, made: String, here: String },
    /// While it waited or measured.
    #[error("interrupted; the next call goes on from there")]
    Interrupted,
}

impl From<MeasureError> for RunError {
    fn from(problem: MeasureError) -> Self {
        match problem {
            MeasureError::Incomplete(Incomplete::Stopped) => RunError::Interrupted,
            problem => RunError::Measure(problem),
        }
    }
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
    obtain(spec, Wanted::Result, context)
}

/// The same with its weights: a run of which there is a record alone is trained again.
///
/// # Errors
/// As [`run`]; if the record was made on another kind of machine, where the last bits differ.
pub fn run_with_weights(spec: &RunSpec, context: &Context<'_>) -> Result<(Key, Made), RunError> {
    obtain(spec, Wanted::Weights, context)
}

/// What a run is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Its metrics.
    Result,
    /// Its weights: to start another run from, or to measure.
    Weights,
}

fn obtain(spec: &RunSpec, wanted: Wanted, context: &Context<'_>) -> Result<(Key, Made), RunError> {
    if let Some(parent) = spec.parent() {
        run(parent, context)?;
    }
    let key = KeyMaker::new(context.catalog).key(spec).map_err(PlanError::from)?;
    let suffices = |run: &StoredRun| wanted == Wanted::Result || run.has_weights();
    let look_up = || context.store.look_up(&key, spec);
    match look_up() {
        Lookup::Stored(run) if suffices(&run) => {
            context.store.clear_up(&key);
            return Ok((key, Made::Already));
        }
        Lookup::Stored(record) => refuse_other_platform(&record, context)?,
        _ => {}
    }
    let parent = match spec.parent() {
        Some(parent) => Some(run_with_weights(parent, context)?.0),
        None => None,
    };
    // A damaged run that was there before anybody is waited for is not what is waited for.
    let damaged = context.store.holds(&key);
    let finished = || {
        !damaged
            && context.store.holds(&key)
            && matches!(look_up(), Lookup::Stored(run) if suffices(&run))
    };
    loop {
        let Some(guard) = lock(&key, context, &finished)? else {
            return Ok((key, Made::Already));
        };
        // Somebody may have finished it between the look and the lock.
        match look_up() {
            Lookup::Stored(run) if suffices(&run) => return Ok((key, Made::Already)),
            Lookup::Stored(_) => (context.notice)(&format!(
                "run {}: its weights are needed, and there is a record without them: it is \
                 trained again",
                key.short()
            )),
            Lookup::Damaged(problem) => {
                let kept = context.store.root().join("damaged");
                (context.notice)(&format!(
                    "{problem}; the run is made again, the damaged one is kept in {}",
                    kept.display()
                ));
            }
            Lookup::Partial | Lookup::Missing => {}
        }
        match make(spec, &key, parent.as_ref(), &guard, context) {
            Err(RunError::Train(TrainError::TakenOver)) => {
                let short = key.short();
                (context.notice)(&format!(
                    "run {short}: this process was silent for so long that another one works on \
                     it now; waiting for that one"
                ));
            }
            made => return made.map(|()| (key, Made::Now)),
        }
    }
}

/// A record's weights can be made again only where their bits come out the same.
fn refuse_other_platform(record: &StoredRun, context: &Context<'_>) -> Result<(), RunError> {
    let here = context.device.platform();
    let made = &record.environment.platform;
    if made.agrees(&here) {
        return Ok(());
    }
    Err(RunError::OtherPlatform {
        key: record.key.clone(),
        made: format!("{}, {}", made.device, made.numerics),
        here: format!("{}, {}", here.device, here.numerics),
    })
}

/// Waits until this process is the only one who works on a run; `None` once `finished` says
/// that there is nothing to wait for any more.
fn lock(
    key: &Key,
    context: &Context<'_>,
    finished: &dyn Fn() -> bool,
) -> Result<Option<LockGuard>, RunError> {
    let mut silence = Silence::of(context.lock_patience);
    loop {
        if let Some(guard) = context.store.try_lock(key, &mut silence)? {
            return Ok(Some(guard));
        }
        if finished() {
            return Ok(None);
        }
        if INTERRUPTED.load(Ordering::SeqCst) {
            return Err(RunError::Interrupted);
        }
        std::thread::sleep(LOCK_POLL);
    }
}

/// Those of `measures` that are not kept for the stored run with this result; what is damaged
/// counts as not kept.
pub fn unmeasured<'a>(
    store: &Store,
    key: &Key,
    result_hash: &str,
    measures: &'a [MeasureSpec],
) -> Vec<&'a MeasureSpec> {
    let kept = |m: &MeasureSpec| store.measured(key, &m.id(), result_hash);
    measures.iter().filter(|m| !matches!(kept(m), Ok(Some(_)))).collect()
}

/// Makes the measurements of a stored run that are not kept yet.
///
/// # Errors
/// If the run is not there, or a measurement does not fit it.
pub fn measure(key: &Key, measures: &[MeasureSpec], context: &Context<'_>) -> Result<(), RunError> {
    let stored = context.store.read(key)?;
    let missing = || unmeasured(context.store, key, &stored.result_hash, measures);
    if missing().is_empty() {
        return Ok(());
    }
    if !stored.has_weights() {
        run_with_weights(&stored.spec, context)?;
        // Read again: with its weights, the run has another manifest.
        return measure(key, measures, context);
    }
    let Some(_guard) = lock(key, context, &|| missing().is_empty())? else { return Ok(()) };
    for measurement in measures {
        // What is damaged is measured again.
        let kept = context.store.measured(key, &measurement.id(), &stored.result_hash);
        if let Err(problem) = kept {
            (context.notice)(&problem.to_string());
        }
    }
    let spec = &stored.spec;
    if stored.metrics.status == Status::Diverged {
        // Its weights are not numbers; there is nothing to measure.
        for measurement in missing() {
            let (id, nothing) = (measurement.id(), Measured::default());
            context.store.keep_measured(key, &id, &stored.result_hash, &nothing)?;
        }
        return Ok(());
    }
    let source = Source::open(spec, context.catalog).map_err(TrainError::from)?;
    let graph = Graph::new(&spec.network, source.signature());
    let state = weights::state(&graph, &stored.weights(None)?).map_err(TrainError::Start)?;
    let mut backend = train::open(spec, &graph, &state, context.device)?;
    // A run that fitted its data early never came to the later ones.
    let passed = spec.train.snapshots.iter().filter(|&&epoch| epoch <= stored.metrics.epochs);
    let kept = passed.map(|&epoch| Ok((epoch, stored.weights(Some(epoch))?)));
    let snapshots = kept.collect::<Result<BTreeMap<u32, NamedTensors>, StoreError>>()?;
    for measurement in missing() {
        let counterpart = match measurement.counterpart(spec) {
            Some(other) => {
                let (key, _) = run_with_weights(&other, context)?;
                Some(context.store.read(&key)?.weights(None)?)
            }
            None => None,
        };
        let mut subject = Subject {
            spec,
            source: &source,
            graph: &graph,
            state: &state,
            backend: &mut *backend,
            snapshots: &snapshots,
            counterpart: counterpart.as_ref(),
            stop: &|| INTERRUPTED.load(Ordering::SeqCst),
        };
        let measured = measurement.measure(&mut subject)?;
        context.store.keep_measured(key, &measurement.id(), &stored.result_hash, &measured)?;
    }
    Ok(())
}

/// Trains and stores a run whose lock is held.
fn make(
    spec: &RunSpec,
    key: &Key,
    parent: Option<&Key>,
    guard: &LockGuard,
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
    let mut watch = Watch::new(key, context, guard);
    let checkpoint = match context.store.begin(key, spec) {
        Err(problem @ StoreError::Damaged { .. }) => {
            anew(&problem);
            None
        }
        begun => begun?,
    };
    let checkpoint = checkpoint.filter(|bytes| match kept(spec, key, bytes, context) {
        Ok(snapshots) => {
            watch.snapshots = snapshots;
            true
        }
        Err(problem) => {
            anew(&problem);
            false
        }
    });
    let inputs = |resume| Inputs {
        catalog: context.catalog,
        device: context.device,
        parent: parent.as_ref(),
        resume,
        key: key.as_str(),
    };
    let resumed = checkpoint.as_deref().map(|bytes| (key.as_str(), bytes));
    let trained = match train::train(spec, &inputs(resumed), &mut watch) {
        // It is whole, and yet nothing to go on from.
        Err(problem @ TrainError::Checkpoint(_)) => {
            anew(&problem);
            watch.snapshots.clear();
            train::train(spec, &inputs(None), &mut watch)
        }
        outcome => outcome,
    }?;
    if trained.metrics.status == Status::NotMemorized {
        explain(spec, key, context);
    }
    let environment = Environment {
        platform: context.device.platform(),
        commit: context.commit.to_owned(),
        semantics: TRAINING_SEMANTICS,
        seconds: started.elapsed().as_secs_f64(),
    };
    let run = Finished {
        key,
        spec,
        metrics: &trained.metrics,
        weights: &trained.weights(),
        snapshots: &watch.snapshots,
        environment: &environment,
    };
    match saving(|| context.store.commit(&run)) {
        // Whoever works on it now may have cleared this process's folder away.
        Err(_) if guard.is_lost_now() => Err(TrainError::TakenOver.into()),
        outcome => Ok(outcome.map(drop)?),
    }
}

/// Says which two examples may be why the labels of a run were not fitted. That the data can no
/// longer be read must not lose the run.
fn explain(spec: &RunSpec, key: &Key, context: &Context<'_>) {
    let Ok(source) = Source::open(spec, context.catalog) else { return };
    let Some(Conflict { examples, distance }) = source.conflict() else { return };
    let [a, b] = examples.map(|example| {
        let (image, copy) = (example / source.copies(), example % source.copies());
        format!("copy {copy} of image {image}")
    });
    let key = key.short();
    (context.notice)(&if distance == 0.0 {
        format!(
            "run {key}: its labels were not fitted, and no network can fit them: {a} and {b} are \
             the same picture with different labels. Another seed, fewer copies or larger images \
             avoid it"
        )
    } else {
        format!(
            "run {key}: its labels were not fitted. Of its examples with different labels {a} and \
             {b} are nearest to each other, {:.1}% as far apart as two at random: the nearer, the \
             longer a fit takes",
            100.0 * distance
        )
    });
}

/// Weights that a run kept up to its checkpoint: without them it cannot go on.
fn kept(
    spec: &RunSpec,
    key: &Key,
    checkpoint: &[u8],
    context: &Context<'_>,
) -> Result<BTreeMap<u32, Vec<u8>>, RunError> {
    let malformed = |e: weights::WeightsError| TrainError::Checkpoint(e.to_string());
    let epoch = Progress::read(checkpoint).map_err(malformed)?.epoch;
    let passed = spec.train.snapshots.iter().filter(|&&kept| kept <= epoch);
    passed.map(|&e| Ok((e, context.store.kept_snapshot(key, e)?))).collect()
}
