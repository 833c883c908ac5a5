//! Weights and running statistics of a network as plain numbers, and where they start.

use super::graph::{Graph, Init, Parameter};
use crate::rng::{Purpose, Stream, name_index};

/// Everything that a trained network is, in the order and memory layout of PyTorch.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Values of each of [`Graph::parameters`], in PyTorch's memory order.
    pub parameters: Vec<Vec<f32>>,
    /// Running statistics of each of [`Graph::norms`].
    pub running: Vec<Running>,
    /// Training batches that BatchNorm has seen (`num_batches_tracked`).
    pub batches_tracked: i64,
}

/// Running statistics of one BatchNorm layer, `[channels]` each.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub mean: Vec<f32>,
    /// Unbiased, as PyTorch keeps it.
    pub variance: Vec<f32>,
}

/// Where random initial weights come from.
#[derive(Clone, Copy, Debug)]
pub struct InitialWeights {
    pub seed: u64,
    /// Each parameter is multiplied by this; 1 is the architecture's default.
    pub scale: f64,
}

impl State {
    /// Random initial weights. The values of a parameter depend on the seed and its name alone.
    pub fn random(graph: &Graph, initial: InitialWeights) -> State {
        State {
            parameters: graph.parameters.iter().map(|p| random(p, initial)).collect(),
            running: (graph.norms.iter())
                .map(|n| Running { mean: vec![0.0; n.channels], variance: vec![1.0; n.channels] })
                .collect(),
            batches_tracked: 0,
        }
    }
}

fn random(parameter: &Parameter, initial: InitialWeights) -> Vec<f32> {
    let Parameter { name, init, .. } = parameter;
    let count = parameter.count();
    let mut stream = Stream::open(initial.seed, Purpose::InitialWeights, &[name_index(name)]);
    let scale = initial.scale as f32;
    match *init {
        Init::Constant(value) => vec![value * scale; count],
        Init::FanIn(fan_in) => {
            let bound = (1.0 / (fan_in as f64).sqrt()) as f32;
            (0..count).map(|_| (2.0 * stream.unit_f32() - 1.0) * bound * scale).collect()
        }
        Init::HeOut { kernel, outputs } => {
            let deviation = (2.0 / (kernel * kernel * outputs) as f64).sqrt();
            (0..count).map(|_| (stream.normal() * deviation) as f32 * scale).collect()
        }
    }
}

/// PyTorch: `nn.BatchNorm2d(...).eps`.
pub use bgm_kernels::BATCH_NORM_EPS;
/// PyTorch: `nn.BatchNorm2d(...).momentum`, the weight of the newest batch.
pub const BATCH_NORM_MOMENTUM: f32 = 0.1;
