//! The training loop.

pub mod checkpoint;
pub mod feed;
pub mod metrics;
pub mod replay;
pub mod schedule;
pub mod source;
mod sums;
pub mod trace;

pub use sums::{Stopped, Sums, measure_split};

use crate::data::{Catalog, DataError};
use crate::models::weights::{self, NamedTensors, WeightsError};
use crate::models::{InitialWeights, Mode, Network};
use crate::optim::OptimizerState;
use crate::spec::{RunSpec, Start, Stop};
use crate::torch::TorchError;
use checkpoint::Progress;
use feed::Feed;
use metrics::{Metrics, Status};
use replay::Stepper;
use schedule::ScheduleState;
use source::{Source, Split};
use sums::{Totals, evaluation};
use tch::{Device, Kind, Reduction, Tensor};

/// Examples in one forward pass of an evaluation. Part of the training semantics: the last
/// bits of a logit can depend on it.
pub const EVALUATION_BATCH: usize = 500;

/// Why a run could not be trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Torch(#[from] TorchError),
    #[error("weights to start from: {0}")]
    Start(WeightsError),
    #[error("interrupted {0}; the next call goes on from there")]
    Interrupted(Place),
    /// Somebody took this process for dead and works on the run now.
    #[error("another process has taken over this run")]
    TakenOver,
    /// A checkpoint that cannot be gone on from.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// A checkpoint or snapshot that cannot be written.
    #[error("{0}")]
    Save(String),
}

/// How far training has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The epoch at hand; they count from 1.
    pub epoch: u32,
    /// Batches of it that were trained on.
    pub batches: u64,
    /// Batches that it has.
    pub of: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { epoch, batches, of } = self;
        match batches {
            0 => write!(f, "after epoch {}", epoch.saturating_sub(1)),
            all if all == of => write!(f, "after epoch {epoch}"),
            _ => write!(f, "in epoch {epoch}, after {batches} of its {of} batches"),
        }
    }
}

/// Called along training; what it does never changes a result.
pub trait Observer {
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
    fn step(&mut self, _at: Place, _state: &dyn Fn() -> Vec<u8>) -> Result<(), TrainError> {
        Ok(())
    }

    /// Asked between the batches of an evaluation: whether to break it off. If so,
    /// [`Observer::step`] is called again, and the evaluation is made anew by the next call.
    fn interrupted(&self) -> bool {
        false
    }
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
    pub device: Device,
    /// Record steps as CUDA graphs and replay them; `device` must be a GPU.
    pub graphs: bool,
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
    pub network: Network,
}

/// Builds the network of `spec` with its random initial weights.
pub fn build(spec: &RunSpec, source: &Source, device: Device) -> Network {
    let scale = match spec.start {
        Start::Random { scale } => scale,
        Start::Run(_) => 1.0,
    };
    let initial = InitialWeights { seed: source.seed(), scale };
    Network::new(&spec.network, source.signature(), initial, device)
}

/// Builds the network of `spec` with its weights at the start of training.
///
/// # Errors
/// If the parent's weights do not fit, or the device has not the spec's precision.
pub fn start(
    spec: &RunSpec,
    source: &Source,
    parent: Option<&NamedTensors>,
    device: Device,
) -> Result<Network, TrainError> {
    crate::torch::use_precision(spec.precision, device)?;
    let mut network = build(spec, source, device);
    if spec.parent().is_some() {
        let state = parent.ok_or_else(|| {
            TrainError::Start(WeightsError::Missing("the weights of the parent run".into()))
        })?;
        weights::load_state(&mut network, state).map_err(TrainError::Start)?;
    }
    Ok(network)
}

/// Trains one run from its start, or from a checkpoint, to its end.
///
/// # Errors
/// If data or weights cannot be read, libtorch fails, or the observer stops it.
pub fn train(
    spec: &RunSpec,
    inputs: &Inputs<'_>,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    let source = Source::open(spec, inputs.catalog)?;
    refuse_single_example(spec, &source)?;
    let mut network = start(spec, &source, inputs.parent, inputs.device)?;
    let origin = network.snapshot();
    let mut optimizer = OptimizerState::new(&spec.train.optimizer, &network);
    let mut progress = match inputs.resume {
        Some((key, bytes)) => resume(key, bytes, &mut network, &mut optimizer)?,
        None => Progress::new(inputs.key),
    };
    let feed = Feed::new(&source, inputs.device);
    let mut stepper =
        if inputs.graphs { Stepper::replaying(inputs.device) } else { Stepper::plain() };
    let train = &spec.train;
    let batches = source.len(Split::TrainPlain).div_ceil(train.batch_size as usize) as u64;
    if progress.position.is_some_and(|position| position.batches > batches) {
        let problem = format!("counts more batches than the {batches} of an epoch");
        return Err(TrainError::Checkpoint(problem));
    }
    let rate_of =
        |state: &ScheduleState, epoch| state.rate(&train.schedule, train.learning_rate, epoch);
    if progress.evaluations.is_empty() {
        let stop = || observer.interrupted();
        let rate = rate_of(&progress.schedule, 1);
        let Ok(first) = evaluation(&network, &feed, &origin, (0, rate), &stop) else {
            let state = || checkpoint::save(&network, &optimizer, &progress);
            return Err(stopped(observer, Place { epoch: 1, batches: 0, of: batches }, &state));
        };
        if !first.is_finite() {
            // Weights too large to compute with: there is nothing to train.
            let metrics = Metrics { status: Status::Diverged, epochs: 0, evaluations: Vec::new() };
            return Ok(Trained { metrics, network });
        }
        progress.evaluations.push(first);
    }
    let most = train.stop.max_epochs();
    let mut status = match train.stop {
        Stop::Epochs(_) => Status::Finished,
        Stop::Memorized { .. } => Status::NotMemorized,
    };
    while progress.epoch < most {
        let epoch = progress.epoch + 1;
        let rate = rate_of(&progress.schedule, epoch);
        let parts = (&mut network, &mut optimizer, &mut stepper, &mut progress);
        let sums = train_epoch(spec, &feed, parts, (batches, rate), observer)?;
        let mut diverged = !sums.loss.is_finite();
        let (mut memorized, mut evaluated) = (false, None);
        if !diverged {
            // A checkpoint of this place goes on with what follows, however often that is
            // broken off.
            let at = Place { epoch, batches, of: batches };
            let state = || checkpoint::save(&network, &optimizer, &progress);
            observer.step(at, &state)?;
            let stop = || observer.interrupted();
            let mut assess = || -> Result<(), Stopped> {
                memorized = is_memorized(&train.stop, &sums, &network, &feed, &stop)?;
                if memorized || epoch == most || epoch.is_multiple_of(train.evaluate_every) {
                    evaluated = Some(evaluation(&network, &feed, &origin, (epoch, rate), &stop)?);
                }
                Ok(())
            };
            if assess().is_err() {
                return Err(stopped(observer, at, &state));
            }
        }
        progress.epoch = epoch;
        progress.position = None;
        if let Some(evaluation) = evaluated {
            diverged = !evaluation.is_finite();
            if !diverged {
                progress.evaluations.push(evaluation);
            }
        }
        if train.snapshots.contains(&epoch) {
            observer.snapshot(epoch, weights::state(&network))?;
        }
        progress.schedule.observe(&train.schedule, sums.loss);
        if diverged {
            status = Status::Diverged;
            break;
        }
        if memorized {
            status = Status::Finished;
            break;
        }
        observer.epoch(epoch, most, &|| checkpoint::save(&network, &optimizer, &progress))?;
    }
    let metrics = Metrics { status, epochs: progress.epoch, evaluations: progress.evaluations };
    Ok(Trained { metrics, network })
}

/// Lets the observer keep the state of a place where something was broken off.
fn stopped(observer: &mut dyn Observer, at: Place, state: &dyn Fn() -> Vec<u8>) -> TrainError {
    match observer.step(at, state) {
        Err(problem) => problem,
        Ok(()) => TrainError::Interrupted(at),
    }
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

fn resume(
    key: &str,
    bytes: &[u8],
    network: &mut Network,
    optimizer: &mut OptimizerState,
) -> Result<Progress, TrainError> {
    let progress = checkpoint::restore(bytes, network, optimizer)
        .map_err(|e| TrainError::Checkpoint(e.to_string()))?;
    if progress.key == key {
        Ok(progress)
    } else {
        Err(TrainError::Checkpoint(format!("belongs to run {}", progress.key)))
    }
}

/// One pass over the shuffled training set, from where it was broken off if it was. Loss and
/// accuracy are those of the batches as they were trained on, added up on the device.
fn train_epoch(
    spec: &RunSpec,
    feed: &Feed<'_>,
    (network, optimizer, stepper, progress): (
        &mut Network,
        &mut OptimizerState,
        &mut Stepper,
        &mut Progress,
    ),
    (batches, rate): (u64, f64),
    observer: &mut dyn Observer,
) -> Result<Sums, TrainError> {
    let source = feed.source();
    let epoch = progress.epoch + 1;
    let split = Split::Train { epoch: u64::from(epoch) };
    let pass = feed.pass(split, source.order(u64::from(epoch)));
    let done = progress.position.map_or(0, |position| position.batches);
    let mut totals = match &progress.position {
        Some(position) => Totals::resume(position, feed.device()),
        None => Totals::new(feed.device()),
    };
    let ranges = pass.ranges(spec.train.batch_size as usize);
    for (range, batch) in ranges.zip(0..batches).skip(done as usize) {
        observer.step(Place { epoch, batches: batch, of: batches }, &|| {
            checkpoint::save(network, optimizer, &progress.within(totals.position(batch)))
        })?;
        let (inputs, labels) = pass.batch(range);
        let (logits, _) = stepper.step(network, optimizer, (&inputs, &labels), rate)?;
        totals.add(&logits, &labels);
    }
    progress.position = Some(totals.position(batches));
    Ok(totals.read(pass.examples()))
}

/// One step of training on a batch: logits and loss before the update.
///
/// # Errors
/// If libtorch fails.
pub fn step(
    network: &mut Network,
    optimizer: &mut OptimizerState,
    (inputs, labels): (&Tensor, &Tensor),
    rate: f64,
) -> Result<(Tensor, Tensor), TorchError> {
    let logits = network.forward(inputs, Mode::Train);
    let loss = training_loss(&logits, labels);
    let gradients = Tensor::f_run_backward(&[&loss], optimizer.parameters(), false, false)?;
    optimizer.step(&gradients, rate)?;
    network.batches_tracked += 1;
    Ok((logits, loss))
}

/// Whether training may end: every example as it is memorized is classified as labelled.
fn is_memorized(
    rule: &Stop,
    sums: &Sums,
    network: &Network,
    feed: &Feed<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<bool, Stopped> {
    match *rule {
        Stop::Epochs(_) => Ok(false),
        Stop::Memorized { check_from, .. } => Ok(sums.accuracy >= check_from
            && measure_split(network, feed, Split::TrainPlain, stop)?.accuracy == 100.0),
    }
}

/// The loss whose gradient is followed: mean cross-entropy over classes; for the toy's
/// single logit, binary cross-entropy summed over the batch (the authors' choice).
pub fn training_loss(logits: &Tensor, labels: &Tensor) -> Tensor {
    if logits.size()[1] > 1 {
        logits.cross_entropy_for_logits(labels)
    } else {
        binary_cross_entropy(logits, labels)
    }
}

/// Binary cross-entropy of logits `[batch, 1]`, summed.
fn binary_cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    let targets = labels.to_kind(Kind::Float).view([-1, 1]);
    logits.binary_cross_entropy_with_logits::<Tensor>(&targets, None, None, Reduction::Sum)
}

/// Predicted classes `[batch]` of logits `[batch, outputs]`.
pub fn predictions(logits: &Tensor) -> Tensor {
    if logits.size()[1] > 1 {
        logits.argmax(1, false)
    } else {
        logits.gt(0.0).to_kind(Kind::Int64).view([-1])
    }
}
