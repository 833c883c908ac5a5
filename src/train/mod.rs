//! The training loop.

pub mod checkpoint;
pub mod feed;
pub mod metrics;
pub mod schedule;
pub mod source;
pub mod trace;

use crate::data::{Catalog, DataError};
use crate::models::weights::{self, NamedTensors, WeightsError};
use crate::models::{InitialWeights, Mode, Network, distance, norm};
use crate::optim::OptimizerState;
use crate::spec::{RunSpec, Start, Stop};
use crate::torch::TorchError;
use checkpoint::Progress;
use feed::Feed;
use metrics::{Evaluation, Metrics, Status};
use schedule::ScheduleState;
use source::{Source, Split};
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
    #[error("interrupted after epoch {0}; the next call goes on from there")]
    Interrupted(u32),
    /// A checkpoint that cannot be gone on from.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// A checkpoint or snapshot that cannot be written.
    #[error("{0}")]
    Save(String),
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

    /// Asked before every step: whether to drop the epoch at hand and end.
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
        None => Progress {
            key: inputs.key.to_owned(),
            epoch: 0,
            schedule: ScheduleState::new(),
            evaluations: Vec::new(),
        },
    };
    let feed = Feed::new(&source, inputs.device);
    let evaluate = |network: &Network, epoch: u32, rate: f64| {
        evaluation(network, &feed, &origin, (epoch, rate))
    };
    let train = &spec.train;
    let rate_of =
        |state: &ScheduleState, epoch| state.rate(&train.schedule, train.learning_rate, epoch);
    if progress.evaluations.is_empty() {
        let first = evaluate(&network, 0, rate_of(&progress.schedule, 1));
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
        let sums =
            train_epoch(spec, &feed, (&mut network, &mut optimizer), (epoch, rate), observer)?;
        progress.epoch = epoch;
        let mut diverged = !sums.loss.is_finite();
        let memorized = !diverged && is_memorized(&train.stop, &sums, &network, &feed);
        let last = memorized || epoch == most;
        if !diverged && (last || epoch.is_multiple_of(train.evaluate_every)) {
            let evaluation = evaluate(&network, epoch, rate);
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

/// Means over one epoch, or over a whole split.
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// Mean loss over examples.
    pub loss: f64,
    /// Examples whose label was predicted, in percent.
    pub accuracy: f64,
}

/// One pass over the shuffled training set. Loss and accuracy are those of the batches as
/// they were trained on, added up on the device and read once.
fn train_epoch(
    spec: &RunSpec,
    feed: &Feed<'_>,
    (network, optimizer): (&mut Network, &mut OptimizerState),
    (epoch, rate): (u32, f64),
    observer: &dyn Observer,
) -> Result<Sums, TrainError> {
    let source = feed.source();
    let split = Split::Train { epoch: u64::from(epoch) };
    let pass = feed.pass(split, source.order(u64::from(epoch)));
    let mut totals = Totals::new(feed.device());
    for range in pass.ranges(spec.train.batch_size as usize) {
        if observer.interrupted() {
            return Err(TrainError::Interrupted(epoch - 1));
        }
        let (inputs, labels) = pass.batch(range);
        let (logits, _) = step(network, optimizer, (&inputs, &labels), rate)?;
        totals.add(&logits, &labels);
    }
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
fn is_memorized(stop: &Stop, sums: &Sums, network: &Network, feed: &Feed<'_>) -> bool {
    match *stop {
        Stop::Epochs(_) => false,
        Stop::Memorized { check_from, .. } => {
            sums.accuracy >= check_from
                && measure_split(network, feed, Split::TrainPlain).accuracy == 100.0
        }
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

/// Sums that stay on the device.
struct Totals {
    loss: Tensor,
    correct: Tensor,
}

impl Totals {
    fn new(device: Device) -> Self {
        let loss = Tensor::zeros([], (Kind::Double, device));
        Totals { loss, correct: Tensor::zeros([], (Kind::Int64, device)) }
    }

    fn add(&mut self, logits: &Tensor, labels: &Tensor) {
        tch::no_grad(|| {
            let logits = logits.detach();
            let loss = if logits.size()[1] > 1 {
                let log_likelihood = logits.log_softmax(1, Kind::Float);
                log_likelihood.g_nll_loss::<Tensor>(labels, None, Reduction::Sum, -100)
            } else {
                binary_cross_entropy(&logits, labels)
            };
            self.loss += loss.to_kind(Kind::Double);
            self.correct += predictions(&logits).eq_tensor(labels).sum(Kind::Int64);
        });
    }

    fn read(&self, count: usize) -> Sums {
        let correct = self.correct.int64_value(&[]) as f64;
        Sums {
            loss: self.loss.double_value(&[]) / count as f64,
            accuracy: 100.0 * correct / count as f64,
        }
    }
}

/// Mean loss and accuracy over a whole split in evaluation mode.
pub fn measure_split(network: &Network, feed: &Feed<'_>, split: Split) -> Sums {
    let pass = feed.pass(split, (0..feed.source().len(split) as u32).collect());
    let mut totals = Totals::new(feed.device());
    for range in pass.ranges(EVALUATION_BATCH) {
        let (inputs, labels) = pass.batch(range);
        let logits = tch::no_grad(|| network.forward(&inputs, Mode::Eval));
        totals.add(&logits, &labels);
    }
    totals.read(pass.examples())
}

fn evaluation(
    network: &Network,
    feed: &Feed<'_>,
    origin: &[Tensor],
    (epoch, learning_rate): (u32, f64),
) -> Evaluation {
    let train = measure_split(network, feed, Split::TrainPlain);
    let test = measure_split(network, feed, Split::Test);
    let moved = distance(&network.trainable(), origin);
    Evaluation {
        epoch,
        learning_rate,
        train_loss: train.loss,
        train_accuracy: train.accuracy,
        test_loss: test.loss,
        test_accuracy: test.accuracy,
        distance: moved,
        distance_relative: moved / norm(origin),
    }
}
