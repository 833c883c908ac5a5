//! What a run will take of the memory, estimated before it is made.

use super::network::graph;
use super::space::Space;
use crate::measure::MeasureSpec;
use crate::spec::{DataSpec, RunSpec};

/// The program with a small network trained by the engine.
const PROGRAM: u64 = 40 << 20;
/// The same with libtorch loaded.
const PROGRAM_WITH_LIBTORCH: u64 = 250 << 20;
/// The same with a GPU in use: libtorch's CUDA libraries and the driver's own.
const PROGRAM_ON_GPU: u64 = 4 << 30;
/// Copies of an activation in a training step: its gradient, and the convolution's workspace.
const ACTIVATION_COPIES: f64 = 2.0;
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
            // The interpolation computes BatchNorm's statistics from one evaluation batch.
            MeasureSpec::Norms | MeasureSpec::LayerDistance | MeasureSpec::Interpolation { .. } => {
                passing(spec, EVALUATION_BATCH)
            }
            MeasureSpec::Boundary { columns, .. } => passing(spec, f64::from(*columns).powi(2)),
            MeasureSpec::Attack { images, .. } => kept(f64::from(*images)) * ACTIVATION_COPIES,
            MeasureSpec::Sharpness { images, .. } => kept(f64::from(*images)) * ACTIVATION_COPIES,
            MeasureSpec::Coherence { .. } => kept(1.0) * ACTIVATION_COPIES,
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
        let portable = spec.numerics.is_portable();
        let program = if portable { PROGRAM } else { PROGRAM_WITH_LIBTORCH };
        Memory {
            on_cpu: program.saturating_add(data).saturating_add(network),
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

/// Values of all layers' outputs of one example, which are kept for the backward pass.
fn layer_values(spec: &RunSpec) -> f64 {
    graph(spec).nodes.iter().map(|node| node.shape.values() as f64).sum()
}

/// Most values that live at a time while `examples` pass through without being kept.
fn passing(spec: &RunSpec, examples: f64) -> f64 {
    let graph = graph(spec);
    let (mut live, mut most) = (0.0, 0.0);
    for (node, done) in graph.nodes.iter().zip(graph.done_after()) {
        live += node.shape.values() as f64;
        most = f64::max(most, live);
        live -= done.iter().map(|&value| graph.nodes[value].shape.values() as f64).sum::<f64>();
    }
    most * examples
}
