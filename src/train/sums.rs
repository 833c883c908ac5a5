//! Loss and accuracy over many batches, added up on the device.

use super::checkpoint::Position;
use super::feed::Feed;
use super::metrics::Evaluation;
use super::source::Split;
use super::{EVALUATION_BATCH, binary_cross_entropy, predictions};
use crate::models::{Mode, Network, distance, norm};
use tch::{Device, Kind, Reduction, Tensor};

/// Means over one epoch, or over a whole split.
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// Mean loss over examples.
    pub loss: f64,
    /// Examples whose label was predicted, in percent.
    pub accuracy: f64,
}

/// Work that was told to stop before its end. Nothing came of it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Stopped;

/// Sums that stay on the device.
pub(super) struct Totals {
    loss: Tensor,
    correct: Tensor,
}

impl Totals {
    pub(super) fn new(device: Device) -> Self {
        let loss = Tensor::zeros([], (Kind::Double, device));
        Totals { loss, correct: Tensor::zeros([], (Kind::Int64, device)) }
    }

    /// Goes on with the sums of a pass that was broken off.
    pub(super) fn resume(position: &Position, device: Device) -> Self {
        Totals {
            loss: Tensor::from(f64::from_bits(position.loss_bits)).to_device(device),
            correct: Tensor::from(position.correct).to_device(device),
        }
    }

    /// Where a pass is after `batches`, with all bits of its sums.
    pub(super) fn position(&self, batches: u64) -> Position {
        let loss_bits = self.loss.double_value(&[]).to_bits();
        Position { batches, loss_bits, correct: self.correct.int64_value(&[]) }
    }

    pub(super) fn add(&mut self, logits: &Tensor, labels: &Tensor) {
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

    pub(super) fn read(&self, count: usize) -> Sums {
        let correct = self.correct.int64_value(&[]) as f64;
        Sums {
            loss: self.loss.double_value(&[]) / count as f64,
            accuracy: 100.0 * correct / count as f64,
        }
    }
}

/// Mean loss and accuracy over a whole split in evaluation mode. `stop` is asked before every
/// batch.
///
/// # Errors
/// If `stop` says so.
pub fn measure_split(
    network: &Network,
    feed: &Feed<'_>,
    split: Split,
    stop: &dyn Fn() -> bool,
) -> Result<Sums, Stopped> {
    let pass = feed.pass(split, (0..feed.source().len(split) as u32).collect());
    let mut totals = Totals::new(feed.device());
    for range in pass.ranges(EVALUATION_BATCH) {
        if stop() {
            return Err(Stopped);
        }
        let (inputs, labels) = pass.batch(range);
        let logits = tch::no_grad(|| network.forward(&inputs, Mode::Eval));
        totals.add(&logits, &labels);
    }
    Ok(totals.read(pass.examples()))
}

pub(super) fn evaluation(
    network: &Network,
    feed: &Feed<'_>,
    origin: &[Tensor],
    (epoch, learning_rate): (u32, f64),
    stop: &dyn Fn() -> bool,
) -> Result<Evaluation, Stopped> {
    let train = measure_split(network, feed, Split::TrainPlain, stop)?;
    let test = measure_split(network, feed, Split::Test, stop)?;
    let moved = distance(&network.trainable(), origin);
    Ok(Evaluation {
        epoch,
        learning_rate,
        train_loss: train.loss,
        train_accuracy: train.accuracy,
        test_loss: test.loss,
        test_accuracy: test.accuracy,
        distance: moved,
        distance_relative: moved / norm(origin),
    })
}
