//! Loss and accuracy over a split, added up on the device.

use super::feed::Feed;
use super::source::Split;
use crate::backend::{Backend, BackendError, Batch, Totals};
use crate::planted;

/// Examples in one forward pass of an evaluation. Only libtorch's bits depend on it.
pub const EVALUATION_BATCH: usize = 500;

/// Means over one epoch, or over a whole split.
#[derive(Clone, Copy, Debug)]
pub struct MeanMetrics {
    /// Mean loss over examples.
    pub loss: f64,
    /// Examples whose label was predicted, in percent.
    pub accuracy: f64,
}

impl MeanMetrics {
    pub(super) fn of(totals: Totals, examples: usize) -> MeanMetrics {
        let count = examples as f64;
        MeanMetrics { loss: totals.loss / count, accuracy: 100.0 * totals.correct as f64 / count }
    }
}

/// Why there is no evaluation.
#[derive(Debug, thiserror::Error)]
pub enum Incomplete {
    /// It was told to stop before its end; nothing came of it.
    #[error("interrupted")]
    Stopped,
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Mean loss and accuracy over a whole split in evaluation mode: see [`measure_first`].
///
/// # Errors
/// If `stop` says so, or the device fails.
pub fn measure_split(
    backend: &mut dyn Backend,
    feed: &mut Feed<'_>,
    split: Split,
    stop: &dyn Fn() -> bool,
) -> Result<MeanMetrics, Incomplete> {
    let all = feed.source().len(split);
    measure_first(backend, feed, (split, all), stop)
}

/// Mean loss and accuracy over the first so many examples of a split in evaluation mode.
/// `stop` is polled before every batch.
///
/// # Errors
/// If `stop` says so, or the device fails.
pub fn measure_first(
    backend: &mut dyn Backend,
    feed: &mut Feed<'_>,
    (split, count): (Split, usize),
    stop: &dyn Fn() -> bool,
) -> Result<MeanMetrics, Incomplete> {
    let mut pass = feed.pass(backend, split, (0..count as u32).collect())?;
    backend.set_totals(Totals::default());
    let statistics = planted::batch_norm_always_training().then(|| backend.state());
    for range in pass.ranges(EVALUATION_BATCH) {
        if stop() {
            return Err(Incomplete::Stopped);
        }
        if statistics.is_some() {
            let batch = pass.host_batch(range);
            backend.calibrate(&batch.inputs)?;
            backend.evaluate(&Batch::Host(batch.examples()))?;
        } else {
            backend.evaluate(&pass.batch(range))?;
        }
    }
    if let Some(state) = statistics {
        backend.set_state(&state);
    }
    Ok(MeanMetrics::of(backend.totals(), pass.examples()))
}
