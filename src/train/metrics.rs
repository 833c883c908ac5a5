//! What a run reports of itself.

use serde::{Deserialize, Serialize};

/// Loss and accuracy on the training set and test set in evaluation mode, and how far the
/// weights have come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Epochs trained so far; 0 is the start.
    pub epoch: u32,
    /// Learning rate of the epoch before this evaluation (of the first one at epoch 0).
    pub learning_rate: f64,
    /// Mean loss over the training examples, not augmented.
    pub train_loss: f64,
    /// In percent.
    pub train_accuracy: f64,
    /// Mean loss over the test examples: all of them in the last evaluation, before that as
    /// many as the spec says (`data.images.test_along`).
    pub test_loss: f64,
    /// In percent.
    pub test_accuracy: f64,
    /// `||w - w_0||_2` over all trainable parameters; `w_0` is the start of this run.
    pub distance: f64,
    /// `||w - w_0||_2 / ||w_0||_2`.
    pub distance_relative: f64,
}

impl Evaluation {
    /// Whether every figure is a number: a run with one that is not has diverged.
    pub fn is_finite(&self) -> bool {
        [self.train_loss, self.test_loss, self.distance].iter().all(|value| value.is_finite())
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As planned.
    Finished,
    /// It was to fit every training example and did not within its epochs: no verdict may
    /// rest on it.
    NotMemorized,
    /// The loss became infinite or not a number.
    Diverged,
}

/// The course and the end of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    pub status: Status,
    /// Epochs trained.
    pub epochs: u32,
    /// In the order of epochs; the last one is the end of the run.
    pub evaluations: Vec<Evaluation>,
}

impl Metrics {
    /// The evaluation at the end.
    pub fn last(&self) -> Option<&Evaluation> {
        self.evaluations.last()
    }
}
