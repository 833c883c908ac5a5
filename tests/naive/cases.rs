//! Networks, weights and examples to compare implementations on, drawn from `rng`'s streams.

use bad_global_minima::backend::Examples;
use bad_global_minima::models::graph::{Graph, Init, Shape, Signature};
use bad_global_minima::models::state::{InitialWeights, State};
use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::spec::{Arch, NetworkSpec, Optimizer};

pub const ARCHS: [Arch; 5] =
    [Arch::Mlp, Arch::Resnet18, Arch::Resnet50, Arch::Vgg16, Arch::Densenet40];

pub const SGD: Optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 };
pub const VANILLA_SGD: Optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
pub const ADAM: Optimizer = Optimizer::Adam { weight_decay: 5e-4 };

/// A network and what it takes.
#[derive(Clone, Debug)]
pub struct Case {
    pub network: NetworkSpec,
    pub input: Shape,
    pub outputs: usize,
    /// Of weights and data.
    pub seed: u64,
}

/// Inputs and labels of a batch.
#[derive(Clone, Debug)]
pub struct Data {
    pub inputs: Vec<f32>,
    pub labels: Vec<i64>,
}

impl Data {
    pub fn examples(&self) -> Examples<'_> {
        Examples { inputs: &self.inputs, labels: &self.labels }
    }
}

impl Case {
    pub fn graph(&self) -> Graph {
        Graph::new(&self.network, Signature { input: self.input, outputs: self.outputs })
    }

    /// Without BatchNorm PyTorch's default weights are doubled (DenseNet's are He's already), so
    /// that a signal reaches both ends.
    pub fn state(&self, graph: &Graph) -> State {
        let NetworkSpec { arch, batch_norm, .. } = self.network;
        let scale = if batch_norm || arch == Arch::Densenet40 { 1.0 } else { 2.0 };
        state(graph, InitialWeights { seed: self.seed, scale })
    }

    /// Batch `index` of this many images.
    pub fn data(&self, index: u64, images: usize) -> Data {
        let signature = Signature { input: self.input, outputs: self.outputs };
        data(signature, self.seed, index, images)
    }
}

/// Random weights where none is special: BatchNorm's are not 1 and 0, its running statistics
/// not those of nothing.
pub fn state(graph: &Graph, initial: InitialWeights) -> State {
    let mut state = State::random(graph, initial);
    let mut stream = Stream::open(initial.seed, Purpose::Test, &[0]);
    let mut around = |centre: f32, by: f32| centre + by * (2.0 * stream.unit_f32() - 1.0);
    for (parameter, values) in graph.parameters.iter().zip(&mut state.parameters) {
        if let Init::Constant(centre) = parameter.init {
            values.iter_mut().for_each(|v| *v = around(centre, 0.5));
        }
    }
    for running in &mut state.running {
        running.mean.iter_mut().for_each(|v| *v = around(0.0, 0.5));
        running.variance.iter_mut().for_each(|v| *v = around(1.0, 0.5));
    }
    state
}

/// Batch `index` of this many images.
pub fn data(signature: Signature, seed: u64, index: u64, images: usize) -> Data {
    let mut stream = Stream::open(seed, Purpose::Test, &[1, index]);
    let count = images * signature.input.values();
    let inputs = (0..count).map(|_| stream.normal() as f32).collect();
    let classes = signature.outputs.max(2) as u32;
    let labels = (0..images).map(|_| i64::from(stream.below(classes))).collect();
    Data { inputs, labels }
}
