//! What training and measuring need of a device, over plain slices. Two rooms implement it:
//! the CPU engine, and libtorch.

mod curvature;
mod platform;

pub use platform::{Platform, processor};

use crate::models::graph::{Graph, Shape};
use crate::models::state::State;
use crate::spec::{Optimizer, Precision};
use std::ops::Range;

/// Examples in the host's memory.
#[derive(Clone, Copy, Debug)]
pub struct Examples<'a> {
    /// Channels-last: `[batch, height, width, channels]`.
    pub inputs: &'a [f32],
    /// One class an example, `[batch]`.
    pub labels: &'a [i64],
}

/// Where a batch comes from.
#[derive(Clone, Debug)]
pub enum Batch<'a> {
    Host(Examples<'a>),
    /// Positions in the pass that [`Backend::open_pass`] prepared.
    Resident(Range<usize>),
}

/// The images of a split, for a device that keeps them in its own memory.
pub struct PixelSet<'a> {
    pub examples: usize,
    /// Channels, height and width of an image after cropping.
    pub crop: Shape,
    /// Rows and columns of zeros that are added on each side.
    pub padding: usize,
    /// The normalized value of each 8-bit value, row-major `[channels, 256]`.
    pub table: Vec<f32>,
    /// Writes example `index` into a zeroed buffer of 8-bit values, `[height + 2 padding, width + 2
    /// padding, channels]`, and returns its label.
    pub read: &'a dyn Fn(usize, &mut [u8]) -> i64,
}

impl PixelSet<'_> {
    /// Shape of an image before cropping.
    pub fn padded(&self) -> Shape {
        let Shape { channels, height, width } = self.crop;
        Shape::new(channels, height + 2 * self.padding, width + 2 * self.padding)
    }
}

/// Which crop of which image an example of a pass is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    pub example: u32,
    /// First row and column, counted in the padded image.
    pub top: u16,
    pub left: u16,
    /// Mirrored horizontally.
    pub flip: bool,
}

/// The two sets of images that a device can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Train,
    Test,
}

/// Sums over all batches since [`Backend::set_totals`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Sum of the examples' losses.
    pub loss: f64,
    /// Examples whose label was predicted.
    pub correct: i64,
}

/// State of the update rule: one vector per parameter, or none if the rule keeps none; in the order
/// and memory layout of PyTorch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimizerState {
    /// Momentum buffers, or Adam's first moments.
    pub first: Vec<Vec<f32>>,
    /// Adam's second moments.
    pub second: Vec<Vec<f32>>,
    /// Adam's steps so far.
    pub steps: i64,
}

/// Which statistics BatchNorm uses while a gradient is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// The running ones: evaluation mode.
    Evaluation,
    /// Those of the batch, which leave the running ones alone.
    Batch,
}

/// Why a device cannot do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);

/// Where networks are trained and measured: a CPU with the engine, or a device of libtorch.
pub trait Device {
    /// The numerics and the hardware that determine its bits.
    fn platform(&self) -> Platform;

    /// Brings a network to the device.
    ///
    /// # Errors
    /// If the device has not this precision, or not the memory.
    fn open(
        &self,
        graph: &Graph,
        state: &State,
        precision: Precision,
    ) -> Result<Box<dyn Backend>, BackendError>;
}

/// A network on a device, with its update rule.
///
/// # Panics
/// Libtorch's own failures (out of memory, a lost GPU) may panic in any call; the program then ends
/// with exit code 70.
pub trait Backend {
    /// The network's description.
    fn graph(&self) -> &Graph;

    /// Weights and running statistics.
    fn state(&self) -> State;

    /// Replaces weights and running statistics.
    fn set_state(&mut self, state: &State);

    /// Sets the update rule at its beginning: all its state is zero.
    fn set_optimizer(&mut self, rule: &Optimizer);

    /// State of the update rule.
    fn optimizer_state(&self) -> OptimizerState;

    /// Goes on from a state of the same rule.
    fn set_optimizer_state(&mut self, state: &OptimizerState);

    /// Keeps the images of one side in the device's memory. `false` if this device wants its
    /// batches from the host, or if the set is too large to keep.
    ///
    /// # Errors
    /// If the device fails.
    fn keep(&mut self, _side: Side, _images: &PixelSet<'_>) -> Result<bool, BackendError> {
        Ok(false)
    }

    /// Prepares a pass over these crops of images that the device keeps.
    ///
    /// # Errors
    /// If the device fails.
    fn open_pass(&mut self, _side: Side, _crops: &[Crop]) -> Result<(), BackendError> {
        Err(BackendError("this device keeps no images".to_owned()))
    }

    /// One step of training: adds loss and hits before the update to the totals.
    ///
    /// # Errors
    /// If the device fails.
    fn train(&mut self, batch: &Batch<'_>, learning_rate: f64) -> Result<(), BackendError>;

    /// Adds loss and hits of a batch in evaluation mode to the totals.
    ///
    /// # Errors
    /// If the device fails.
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<(), BackendError>;

    /// The totals so far; waits for the device.
    fn totals(&self) -> Totals;

    /// Starts the totals from here.
    fn set_totals(&mut self, totals: Totals);

    /// Logits `[batch, outputs]` in evaluation mode of inputs as in [`Examples::inputs`].
    ///
    /// # Errors
    /// If the device fails.
    fn logits(&mut self, inputs: &[f32]) -> Result<Vec<f32>, BackendError>;

    /// Makes the running statistics those of this batch (the unbiased variance, as PyTorch
    /// with momentum 1).
    ///
    /// # Errors
    /// If the device fails.
    fn calibrate(&mut self, inputs: &[f32]) -> Result<(), BackendError>;

    /// Gradient of the loss of [`Backend::train`] with respect to the inputs, in their layout;
    /// evaluation mode.
    ///
    /// # Errors
    /// If the device fails.
    fn input_gradient(&mut self, examples: Examples<'_>) -> Result<Vec<f32>, BackendError>;

    /// Gradient of the loss of [`Backend::train`] with respect to each parameter, in PyTorch's
    /// order and memory layout.
    ///
    /// # Errors
    /// If the device fails.
    fn gradient(
        &mut self,
        examples: Examples<'_>,
        with: With,
    ) -> Result<Vec<Vec<f32>>, BackendError>;

    /// Product of the Hessian of the loss of [`Backend::train`], in evaluation mode, with a
    /// direction: one number per parameter, all in a row in PyTorch's order and memory layout, which
    /// libtorch takes in single precision. The loss is a sum over the examples for networks with a
    /// single logit, otherwise a mean.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If the direction has too few numbers.
    fn hessian_times(
        &mut self,
        examples: Examples<'_>,
        direction: &[f64],
    ) -> Result<Vec<f64>, BackendError> {
        Ok(curvature::hessian_times(self.graph(), &self.state(), examples, direction))
    }
}
