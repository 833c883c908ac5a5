//! Training one run: what it needs, who watches it, and how it begins.

pub mod checkpoint;
mod conflict;
mod evaluate;
pub mod feed;
pub mod metrics;
pub mod schedule;
pub mod source;
pub mod trace;
mod trainer;

pub use conflict::Conflict;
pub use evaluate::{EVALUATION_BATCH, Incomplete, MeanMetrics, measure_split};

use crate::backend::{Backend, BackendError, Device};
use crate::data::{Catalog, DataError};
use crate::models::graph::Graph;
use crate::models::state::{InitialWeights, State};
use crate::models::weights::{self, NamedTensors, WeightsError};
use crate::spec::{Numerics, RunSpec, Start};
use metrics::Metrics;
use source::{Source, Split};
use trainer::Trainer;

/// Why a run could not be trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(
        "the run's numerics are '{wanted}', and this device computes '{found}': choose another \
         with --engine and --device"
    )]
    Numerics { wanted: Numerics, found: Numerics },
    #[error("weights to start from: {0}")]
    Start(WeightsError),
    #[error("interrupted {0}; the next call goes on from there")]
    Interrupted(EpochPosition),
    /// Another process took over this run's lock.
    #[error("another process has taken over this run")]
    TakenOver,
    /// A checkpoint that training cannot resume from.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// A checkpoint or snapshot that cannot be written.
    #[error("{0}")]
    Save(String),
}

/// How far training has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochPosition {
    /// The current epoch; they count from 1.
    pub epoch: u32,
    /// Batches of it that were trained on.
    pub batches: u64,
    /// Batches in an epoch.
    pub total_batches: u64,
}

impl std::fmt::Display for EpochPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let EpochPosition { epoch, batches, total_batches } = self;
        match batches {
            0 => write!(f, "after epoch {}", epoch.saturating_sub(1)),
            all if all == total_batches => write!(f, "after epoch {epoch}"),
            _ => write!(f, "in epoch {epoch}, after {batches} of its {total_batches} batches"),
        }
    }
}

/// A step that was just made.
pub struct Step<'a> {
    /// The step included.
    pub at: EpochPosition,
    pub rate: f64,
    pub backend: &'a dyn Backend,
    source: &'a Source,
    examples: &'a [u32],
}

impl Step<'_> {
    /// The examples that it was made on, put together anew.
    pub fn batch(&self) -> source::Batch {
        let split = Split::Train { epoch: u64::from(self.at.epoch) };
        self.source.batch(split, self.examples.iter().map(|&example| example as usize))
    }
}

/// Called along training; what it does never changes a result.
pub trait Observer {
    /// Before anything else, with the weights at the start of training.
    fn begins(&mut self, _graph: &Graph, _state: &State) {}

    /// After each epoch of at most `most` epochs. `state` serializes a checkpoint, if one is
    /// wanted now.
    ///
    /// # Errors
    /// If training must not go on.
    fn epoch(
        &mut self,
        epoch: u32,
        most: u32,
        state: &dyn Fn() -> Vec<u8>,
    ) -> Result<(), TrainError>;

    /// Weights that the spec asks to keep, after `epoch`.
    ///
    /// # Errors
    /// If they cannot be kept.
    fn snapshot(&mut self, epoch: u32, weights: NamedTensors) -> Result<(), TrainError>;

    /// Before every step, and before the evaluation after the last one of an epoch. `state`
    /// serializes a checkpoint of this very place, if one is wanted now.
    ///
    /// # Errors
    /// If training must not go on.
    fn step(&mut self, _at: EpochPosition, _state: &dyn Fn() -> Vec<u8>) -> Result<(), TrainError> {
        Ok(())
    }

    /// After every step.
    ///
    /// # Errors
    /// If training must not go on.
    fn trained(&mut self, _step: &Step<'_>) -> Result<(), TrainError> {
        Ok(())
    }

    /// Polled between batches; `true` aborts the evaluation. Then [`Observer::step`] is called
    /// again, and the next call makes the evaluation anew.
    fn interrupted(&self) -> bool {
        false
    }

    /// After the last epoch.
    fn ends(&mut self, _backend: &dyn Backend) {}
}

/// Watches nothing.
pub struct Unobserved;

impl Observer for Unobserved {
    fn epoch(&mut self, _: u32, _: u32, _: &dyn Fn() -> Vec<u8>) -> Result<(), TrainError> {
        Ok(())
    }

    fn snapshot(&mut self, _: u32, _: NamedTensors) -> Result<(), TrainError> {
        Ok(())
    }
}

/// What a run needs besides its spec.
pub struct Inputs<'a> {
    pub catalog: &'a Catalog,
    pub device: &'a dyn Device,
    /// Final weights of the parent; must be given exactly if the spec names one.
    pub parent: Option<&'a NamedTensors>,
    /// Checkpoint to go on from, with the key that it must carry.
    pub resume: Option<(&'a str, &'a [u8])>,
    /// Key of this run, written to checkpoints.
    pub key: &'a str,
}

/// A finished run.
pub struct Trained {
    pub metrics: Metrics,
    pub graph: Graph,
    /// At the end; all of it is not a number if the run diverged.
    pub state: State,
}

impl Trained {
    /// The `state_dict` at the end.
    pub fn weights(&self) -> NamedTensors {
        weights::named(&self.graph, &self.state)
    }
}

/// The weights of `spec` at the start of training.
///
/// # Errors
/// If the parent's weights do not fit.
pub fn start(
    spec: &RunSpec,
    graph: &Graph,
    seed: u64,
    parent: Option<&NamedTensors>,
) -> Result<State, TrainError> {
    match spec.start {
        Start::Random { scale } => Ok(State::random(graph, InitialWeights { seed, scale })),
        Start::Run(_) => {
            let parent = parent.ok_or_else(|| {
                TrainError::Start(WeightsError::Missing("the weights of the parent run".into()))
            })?;
            weights::state(graph, parent).map_err(TrainError::Start)
        }
    }
}

/// Brings a network of `spec` to a device, which must compute the spec's numerics.
///
/// # Errors
/// If it does not, or has not the precision or the memory.
pub fn open(
    spec: &RunSpec,
    graph: &Graph,
    state: &State,
    device: &dyn Device,
) -> Result<Box<dyn Backend>, TrainError> {
    let (wanted, found) = (&spec.numerics, device.platform().numerics);
    if *wanted != found {
        return Err(TrainError::Numerics { wanted: wanted.clone(), found });
    }
    Ok(device.open(graph, state, spec.precision)?)
}

/// Trains one run from its start, or from a checkpoint, to its end.
///
/// # Errors
/// If data or weights cannot be read, the device fails, or the observer stops it.
pub fn train(
    spec: &RunSpec,
    inputs: &Inputs<'_>,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    let source = Source::open(spec, inputs.catalog)?;
    refuse_single_example(spec, &source)?;
    let graph = Graph::new(&spec.network, source.signature());
    let origin = start(spec, &graph, source.seed(), inputs.parent)?;
    let backend = open(spec, &graph, &origin, inputs.device)?;
    observer.begins(&graph, &origin);
    Trainer::new(spec, &source, &origin, backend, inputs)?.run(observer)
}

/// BatchNorm has no variance over a single value: PyTorch refuses such a batch, libtorch's
/// kernel gives NaN.
fn refuse_single_example(spec: &RunSpec, source: &Source) -> Result<(), TrainError> {
    let (examples, batch) = (source.len(Split::TrainPlain), spec.train.batch_size as usize);
    if !spec.network.batch_norm || examples % batch != 1 % batch {
        return Ok(());
    }
    Err(TrainError::Data(DataError::Spec {
        field: "train.batch_size".to_owned(),
        value: batch.to_string(),
        problem: format!(
            "leaves a last batch of one of the {examples} examples, over which BatchNorm has no \
             variance; choose another"
        ),
    }))
}
