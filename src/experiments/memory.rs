//! What a run will take of the memory, estimated before it is made.

use super::cost::pixels;
use super::space::Space;
use crate::measure::MeasureSpec;
use crate::spec::{Arch, DataSpec, RunSpec};

/// The program with libtorch loaded and a small network trained.
const PROGRAM: u64 = 250 << 20;
/// The same with a GPU in use: libtorch's CUDA libraries and the driver's own.
const PROGRAM_ON_GPU: u64 = 4 << 30;
/// Copies of an activation in a training step: its gradient, and the convolution's workspace.
const ACTIVATION_COPIES: f64 = 2.0;
/// Activations that live at a time where nothing is kept for a backward pass.
const PASSING: f64 = 4.0;
/// Bytes of a value.
const VALUE: f64 = 4.0;
/// Examples that are evaluated at a time.
const EVALUATION_BATCH: f64 = 500.0;

/// Estimated bytes of a process at work on a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of the machine, where the network is trained on its processor.
    pub on_cpu: u64,
    /// Of the machine, where the network is trained on a GPU.
    pub beside_gpu: u64,
    /// Of the GPU.
    pub on_gpu: u64,
}

impl Memory {
    /// What training and evaluating take.
    pub fn of_run(spec: &RunSpec) -> Memory {
        let kept = layer_values(spec) * f64::from(spec.train.batch_size) * ACTIVATION_COPIES;
        Memory::with(spec, kept.max(passing(spec, EVALUATION_BATCH)))
    }

    /// What a measurement of a finished run takes.
    pub fn of_measure(spec: &RunSpec, measure: &MeasureSpec) -> Memory {
        let kept = |examples: f64| layer_values(spec) * examples.min(EVALUATION_BATCH);
        let values = match measure {
            MeasureSpec::Norms | MeasureSpec::LayerDistance => passing(spec, EVALUATION_BATCH),
            MeasureSpec::Boundary { columns, .. } => passing(spec, f64::from(*columns).powi(2)),
            MeasureSpec::Attack { images, .. } => kept(f64::from(*images)) * ACTIVATION_COPIES,
            // The graph of the gradient is kept, too.
            MeasureSpec::Sharpness { images, .. } => {
                kept(f64::from(*images)) * 2.0 * ACTIVATION_COPIES
            }
            MeasureSpec::Coherence { .. } => kept(1.0) * ACTIVATION_COPIES,
            // BatchNorm's statistics are computed from the whole training set at once.
            MeasureSpec::Interpolation { .. } => {
                passing(spec, super::cost::training_examples(&spec.data))
            }
        };
        Memory::with(spec, values)
    }

    /// The larger of two, part by part: one process that does both, one after the other.
    pub fn or(self, other: Memory) -> Memory {
        Memory {
            on_cpu: self.on_cpu.max(other.on_cpu),
            beside_gpu: self.beside_gpu.max(other.beside_gpu),
            on_gpu: self.on_gpu.max(other.on_gpu),
        }
    }

    fn with(spec: &RunSpec, values: f64) -> Memory {
        // Weights, gradients and moments, and a checkpoint being written.
        let state = Space::of(spec).working.saturating_mul(3);
        let network = state.saturating_add((values * VALUE) as u64);
        let data = data_bytes(spec);
        Memory {
            on_cpu: PROGRAM.saturating_add(data).saturating_add(network),
            beside_gpu: PROGRAM_ON_GPU.saturating_add(data).saturating_add(state),
            on_gpu: network,
        }
    }
}

/// Bytes of the images: 8 bits a value, whole sets. Data sets other than IDX are mapped, not
/// read; what is in use of them comes and goes with the system's cache.
fn data_bytes(spec: &RunSpec) -> u64 {
    match &spec.data {
        DataSpec::Images(images) if images.dataset.starts_with("fashion-mnist") => 70_000 * 28 * 28,
        _ => 0,
    }
}

/// Values of all layers' outputs of one example: convolution, BatchNorm, ReLU and sum each
/// keep their own for the backward pass. Per pixel at width 1, summed over the stages, each
/// with half the values of the one before.
fn layer_values(spec: &RunSpec) -> f64 {
    let width = f64::from(spec.network.width);
    let pixels = pixels(&spec.data);
    let per_pixel = match spec.network.arch {
        Arch::Mlp => return 6.0 * width,
        Arch::Resnet18 => 32.0,
        Arch::Resnet50 => 166.0,
        Arch::Vgg16 => 13.0,
        Arch::Densenet40 => 250.0,
    };
    per_pixel * width * pixels
}

/// Values that live at a time while `examples` pass through without being kept.
fn passing(spec: &RunSpec, examples: f64) -> f64 {
    let width = f64::from(spec.network.width);
    let widest = match spec.network.arch {
        Arch::Mlp => return PASSING * width * examples,
        Arch::Resnet18 | Arch::Vgg16 => 1.0,
        // Four times as wide between blocks; eight channels of the first block of a DenseNet.
        Arch::Resnet50 => 4.0,
        Arch::Densenet40 => 8.0,
    };
    PASSING * widest * width * pixels(&spec.data) * examples
}
