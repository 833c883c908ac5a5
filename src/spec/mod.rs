//! The typed description of one run. Its canonical text, hashed, is the run's name.
//!
//! A run is one training phase from a start. The start is either random weights or the
//! final weights of another run: the adversarial initialization is itself a run, so one
//! pretraining serves every table that starts from it.

mod check;
#[cfg(test)]
pub mod example;
mod key;
mod numerics;

pub use check::SpecError;
pub use key::{Key, TRAINING_SEMANTICS, canonical_text};
pub use numerics::{Numerics, Precision};

use crate::augment::AugmentSpec;
use crate::corrupt::CorruptionSpec;
use serde::{Deserialize, Serialize};

/// One run: everything that decides its bits on a given kind of machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// Master seed of every random stream of this run.
    pub seed: u64,
    pub data: DataSpec,
    pub network: NetworkSpec,
    pub start: Start,
    pub train: TrainSpec,
    /// How products are rounded on a GPU; a CPU has `strict` alone.
    #[serde(default)]
    pub precision: Precision,
    /// Which arithmetic computes the run.
    #[serde(default)]
    pub numerics: Numerics,
}

impl RunSpec {
    /// The same run, and those before it, with another seed.
    pub fn with_seed(&self, seed: u64) -> RunSpec {
        let start = match &self.start {
            Start::Run(parent) => Start::Run(Box::new(parent.with_seed(seed))),
            random => random.clone(),
        };
        RunSpec { seed, start, ..self.clone() }
    }

    /// The same run, and those before it, with other numerics.
    pub fn with_numerics(&self, numerics: &Numerics) -> RunSpec {
        let start = match &self.start {
            Start::Run(parent) => Start::Run(Box::new(parent.with_numerics(numerics))),
            random => random.clone(),
        };
        RunSpec { numerics: numerics.clone(), start, ..self.clone() }
    }

    /// The run whose final weights this one starts from.
    pub fn parent(&self) -> Option<&RunSpec> {
        match &self.start {
            Start::Run(parent) => Some(parent),
            Start::Random { .. } => None,
        }
    }
}

/// Where the weights come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Start {
    /// The architecture's default random weights, each parameter tensor multiplied by
    /// `scale` (1 in the paper; Review 4 asks for others).
    Random { scale: f64 },
    /// The final weights of another run (running statistics included).
    Run(Box<RunSpec>),
}

/// What is learned from and tested on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DataSpec {
    Images(ImageDataSpec),
    Toy(ToySpec),
}

impl DataSpec {
    /// Name of the data set.
    pub fn name(&self) -> &str {
        match self {
            DataSpec::Images(images) => &images.dataset,
            DataSpec::Toy(_) => "toy",
        }
    }
}

/// A labelled image data set and what is taken of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageDataSpec {
    /// Name in `bgm data list`.
    pub dataset: String,
    /// Number of training images: the first ones in the order of `draw`. 0 means all.
    pub train: u32,
    /// Which training images come first.
    #[serde(default)]
    pub draw: Draw,
    /// Number of images to evaluate on: the first ones. 0 means all.
    pub test: u32,
    /// Number of those that are evaluated on before the end of training, the first ones; the
    /// last evaluation is on all of them, and so is every one where this is absent. A curve
    /// needs fewer images than a final accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_along: Option<u32>,
    /// Which images `test` counts.
    pub evaluate_on: EvaluateOn,
    /// Side of the squares that are averaged to one pixel before anything else (1: none).
    pub pool: u32,
}

/// In which order the training images of a data set are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Draw {
    /// As they are stored: every run takes the same ones.
    #[default]
    First,
    /// Shuffled by the run's seed, class-balanced: another sample of the data set for each
    /// seed, so that the spread over seeds is that over samples too.
    Seed,
}

/// Images that accuracy is measured on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvaluateOn {
    /// The data set's test images.
    Test,
    /// Training images right after the `train` first ones: a validation split that
    /// the choice of hyper-parameters may look at.
    Validation,
}

/// The paper's two-dimensional toy: two isotropic normal classes side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToySpec {
    /// Training points per class, and test points per class.
    pub points_per_class: u32,
    /// Mean of both coordinates before the shift.
    pub center: f64,
    /// Standard deviation of both coordinates.
    pub std: f64,
    /// Class 1 is shifted by `+shift` along x, class 0 by `-shift`. Above 0.
    pub shift: f64,
}

/// Which network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    pub arch: Arch,
    /// Channels of the first stage of a ResNet or VGG (64 in the paper), growth rate of a
    /// DenseNet (12), units of each hidden layer of an MLP (100).
    pub width: u32,
    /// Whether convolutions are followed by BatchNorm, as in the paper. Without it they
    /// carry a bias instead.
    pub batch_norm: bool,
}

/// Architectures of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    Mlp,
    Resnet18,
    Resnet50,
    Vgg16,
    Densenet40,
}

/// How the run is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// Train on the corrupted set of Algorithm 1 instead of the images as they are.
    pub corruption: Option<CorruptionSpec>,
    pub augmentation: Option<AugmentSpec>,
    /// Copies of each toy point with Gaussian noise, the toy's augmentation.
    pub noise_copies: Option<NoiseCopies>,
    pub batch_size: u32,
    pub optimizer: Optimizer,
    pub learning_rate: f64,
    pub schedule: Schedule,
    pub stop: Stop,
    /// Evaluate on the training and test sets after every this many epochs (and the last).
    pub evaluate_every: u32,
    /// Keep the weights after these epochs, for measurements along training.
    pub snapshots: Vec<u32>,
}

/// The toy's augmentation: each training point is joined by noisy copies of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseCopies {
    pub copies: u32,
    /// Standard deviation of the noise of each coordinate.
    pub std: f64,
}

/// The update rule, with PyTorch's semantics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// `torch.optim.SGD`: weight decay is added to the gradient of every parameter
    /// (BatchNorm and biases too), no dampening, no Nesterov.
    Sgd { momentum: f64, weight_decay: f64 },
    /// `torch.optim.Adam` with its default betas (0.9, 0.999) and epsilon (1e-8);
    /// weight decay is added to the gradient.
    Adam { weight_decay: f64 },
}

/// Learning rate over epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    Constant,
    /// Multiplied by `gamma` once each of these epochs has been trained.
    MultiStep {
        milestones: Vec<u32>,
        gamma: f64,
    },
    /// Multiplied by `factor` after `patience` epochs without a lower training loss
    /// (the toy's random-label fit).
    Plateau {
        patience: u32,
        factor: f64,
    },
}

/// When training ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Stop {
    /// After this many epochs.
    Epochs(u32),
    /// As soon as every training example (corrupted copies included) is classified as
    /// labelled in evaluation mode, or after `max_epochs`: then the run counts as *not
    /// memorized*. The exact check, a pass over the training set, is made after epochs
    /// whose accuracy while training was at least `check_from` percent.
    Memorized { max_epochs: u32, check_from: f64 },
}

impl Stop {
    /// The most epochs that training can take.
    pub fn max_epochs(&self) -> u32 {
        match *self {
            Stop::Epochs(epochs) => epochs,
            Stop::Memorized { max_epochs, .. } => max_epochs,
        }
    }
}
