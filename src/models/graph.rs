//! A network as a graph of layers, described once. The CPU engine's plan, libtorch's forward
//! pass, parameter names and counts, operations and memory are all read off it.

use super::arch;
use crate::spec::{Arch, NetworkSpec};

/// Channels, height and width of one example of a value; `[channels, height, width]` in
/// PyTorch's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Shape {
    pub const fn new(channels: usize, height: usize, width: usize) -> Shape {
        Shape { channels, height, width }
    }

    /// Pixels of one channel.
    pub const fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Numbers in one example.
    pub const fn values(self) -> usize {
        self.channels * self.pixels()
    }
}

/// Position of the node that computes a value. Inputs of a node precede it.
pub type ValueId = usize;
/// Position in [`Graph::parameters`].
pub type ParameterId = usize;
/// Position in [`Graph::norms`].
pub type NormId = usize;

/// What a node computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The examples themselves; node 0 and no other.
    Input,
    /// Cross-correlation with a kernel `[outputs, channels, height, width]` under zero padding.
    Conv { input: ValueId, conv: Conv },
    /// BatchNorm over batch, height and width.
    Norm { input: ValueId, norm: NormId },
    /// `max(0, x)`.
    Relu { input: ValueId },
    /// Element-wise sum.
    Add { left: ValueId, right: ValueId },
    /// The channels of `first`, then those of `second`.
    Concat { first: ValueId, second: ValueId },
    /// Maximum over 2x2 pixels, stride 2; an odd last row or column is left out.
    MaxPool { input: ValueId },
    /// Mean over 2x2 pixels, stride 2; an odd last row or column is left out.
    MeanPool { input: ValueId },
    /// Mean over all pixels.
    GlobalMean { input: ValueId },
}

/// A convolution. A linear layer is one whose kernel covers its whole input: the weight
/// `[outputs, channels * height * width]` has the same memory order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv {
    pub weight: ParameterId,
    pub bias: Option<ParameterId>,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    pub stride: usize,
    /// Rows and columns of zeros on each side.
    pub padding: usize,
}

/// BatchNorm's parameters; its running statistics are found by its [`NormId`].
#[derive(Clone, Debug, PartialEq)]
pub struct Norm {
    /// Name of the layer in the authors' `state_dict`, without the last part.
    pub name: String,
    pub weight: ParameterId,
    pub bias: ParameterId,
    pub channels: usize,
}

/// A step of the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    pub op: Op,
    /// Of its value.
    pub shape: Shape,
}

/// Where initial values of a parameter come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in `±1/sqrt(fan_in)`: PyTorch's default for convolutions and linear layers
    /// (`kaiming_uniform_(a=sqrt(5))` gives the bound sqrt(6 / ((1 + 5) fan_in))).
    FanIn(usize),
    /// Normal with standard deviation `sqrt(2 / (kernel * kernel * outputs))` (the authors'
    /// DenseNet).
    HeOut {
        kernel: usize,
        outputs: usize,
    },
    Constant(f32),
}

/// A trainable tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name in the authors' `state_dict`.
    pub name: String,
    /// In PyTorch's order: `[outputs, channels, height, width]`, `[outputs, inputs]` or
    /// `[outputs]`.
    pub shape: Vec<usize>,
    pub init: Init,
}

impl Parameter {
    /// Number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What the network takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// A toy point is 2 channels of one pixel.
    pub input: Shape,
    /// Number of outputs: the classes, or 1 for the toy's single logit.
    pub outputs: usize,
}

/// A whole network.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub signature: Signature,
    /// In an order in which they can be computed; the last one gives the logits.
    pub nodes: Vec<Node>,
    /// In PyTorch's order of `Module.parameters()`.
    pub parameters: Vec<Parameter>,
    pub norms: Vec<Norm>,
}

impl Graph {
    /// The network of `spec` for inputs and outputs of this shape.
    pub fn new(spec: &NetworkSpec, signature: Signature) -> Graph {
        let mut builder = Builder::new(spec.batch_norm, signature);
        let width = spec.width as usize;
        match spec.arch {
            Arch::Mlp => arch::mlp::build(&mut builder, width),
            Arch::Resnet18 => {
                arch::resnet::build(&mut builder, arch::resnet::Block::Basic, [2, 2, 2, 2], width);
            }
            Arch::Resnet50 => {
                let block = arch::resnet::Block::Bottleneck;
                arch::resnet::build(&mut builder, block, [3, 4, 6, 3], width);
            }
            Arch::Vgg16 => arch::vgg::build(&mut builder, width),
            Arch::Densenet40 => arch::densenet::build(&mut builder, width),
        }
        builder.graph
    }

    /// Number of trainable values.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(Parameter::count).sum()
    }

    /// Position of the value that holds the logits `[outputs]`.
    pub fn logits(&self) -> ValueId {
        self.nodes.len() - 1
    }

    /// Multiplications (each with an addition) of the convolutions and linear layers for one
    /// example, forward. Products with padding zeros are not counted.
    pub fn multiply_adds(&self) -> u64 {
        self.layer_products().map(|layer| layer.inside).fold(0, u64::saturating_add)
    }

    /// The multiplications of each convolution and linear layer for one example, forward.
    pub fn layer_products(&self) -> impl Iterator<Item = Products> + '_ {
        self.nodes.iter().filter_map(|node| {
            let Op::Conv { input, conv } = node.op else { return None };
            let from = self.nodes[input].shape;
            let rows = taps(from.height, node.shape.height, conv.kernel[0], conv);
            let columns = taps(from.width, node.shape.width, conv.kernel[1], conv);
            let pairs = (from.channels as u64).saturating_mul(node.shape.channels as u64);
            let all = node.shape.pixels() * conv.kernel[0] * conv.kernel[1];
            Some(Products {
                all: pairs.saturating_mul(all as u64),
                inside: pairs.saturating_mul((rows * columns) as u64),
            })
        })
    }

    /// Values of the weights, and of BatchNorm's running statistics; at most what fits.
    pub fn value_counts(&self) -> [u64; 2] {
        let size =
            |shape: &[usize]| shape.iter().fold(1u64, |n, &side| n.saturating_mul(side as u64));
        let trained = self.parameters.iter().map(|p| size(&p.shape));
        let statistics = self.norms.iter().map(|norm| 2 * norm.channels as u64);
        [trained.fold(0, u64::saturating_add), statistics.fold(0, u64::saturating_add)]
    }

    /// For each node, the values that no later one reads.
    pub fn done_after(&self) -> Vec<Vec<ValueId>> {
        let mut last = vec![None; self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            for value in node.op.inputs() {
                last[value] = Some(id);
            }
        }
        let mut done = vec![Vec::new(); self.nodes.len()];
        for (value, id) in last.into_iter().enumerate() {
            if let Some(id) = id {
                done[id].push(value);
            }
        }
        done
    }
}

impl Op {
    /// The values that it reads.
    pub fn inputs(&self) -> impl Iterator<Item = ValueId> {
        let (first, second) = match *self {
            Op::Input => (None, None),
            Op::Add { left, right } => (Some(left), Some(right)),
            Op::Concat { first, second } => (Some(first), Some(second)),
            Op::Conv { input, .. }
            | Op::Norm { input, .. }
            | Op::Relu { input }
            | Op::MaxPool { input }
            | Op::MeanPool { input }
            | Op::GlobalMean { input } => (Some(input), None),
        };
        first.into_iter().chain(second)
    }
}

/// Multiplications of a layer for one example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Products {
    /// With those by padding zeros.
    pub all: u64,
    /// Without them.
    pub inside: u64,
}

/// Pairs of output position and kernel position along one side whose input is inside.
fn taps(inputs: usize, outputs: usize, kernel: usize, conv: Conv) -> usize {
    let inside = |output: usize, tap: usize| {
        (output * conv.stride + tap).checked_sub(conv.padding).is_some_and(|at| at < inputs)
    };
    (0..outputs).map(|q| (0..kernel).filter(|&t| inside(q, t)).count()).sum()
}

/// A convolution before it has a place in a graph.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvShape {
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    /// Carry a bias even if BatchNorm follows.
    pub bias: bool,
    /// Start from [`Init::HeOut`] instead of [`Init::FanIn`].
    pub he_out: bool,
}

impl ConvShape {
    /// A convolution that keeps height and width at stride 1, without bias.
    pub fn same(outputs: usize, kernel: usize, stride: usize) -> Self {
        ConvShape { outputs, kernel, stride, bias: false, he_out: false }
    }
}

/// Puts a graph together, layer by layer, in PyTorch's order of parameters.
pub(super) struct Builder {
    batch_norm: bool,
    graph: Graph,
}

impl Builder {
    fn new(batch_norm: bool, signature: Signature) -> Builder {
        let input = Node { op: Op::Input, shape: signature.input };
        let (parameters, norms) = (Vec::new(), Vec::new());
        Builder { batch_norm, graph: Graph { signature, nodes: vec![input], parameters, norms } }
    }

    pub fn input(&self) -> ValueId {
        0
    }

    pub fn shape(&self, value: ValueId) -> Shape {
        self.graph.nodes[value].shape
    }

    fn node(&mut self, op: Op, shape: Shape) -> ValueId {
        self.graph.nodes.push(Node { op, shape });
        self.graph.nodes.len() - 1
    }

    fn parameter(&mut self, name: String, shape: Vec<usize>, init: Init) -> ParameterId {
        self.graph.parameters.push(Parameter { name, shape, init });
        self.graph.parameters.len() - 1
    }

    /// A convolution; it carries a bias if `shape.bias`, or where no BatchNorm follows.
    pub fn conv(&mut self, name: &str, input: ValueId, shape: ConvShape) -> ValueId {
        let ConvShape { outputs, kernel, stride, bias, he_out } = shape;
        let from = self.shape(input);
        let fan_in = Init::FanIn(from.channels * kernel * kernel);
        let init = if he_out { Init::HeOut { kernel, outputs } } else { fan_in };
        let size = vec![outputs, from.channels, kernel, kernel];
        let weight = self.parameter(format!("{name}.weight"), size, init);
        let bias = (bias || !self.batch_norm)
            .then(|| self.parameter(format!("{name}.bias"), vec![outputs], fan_in));
        let conv = Conv { weight, bias, kernel: [kernel; 2], stride, padding: kernel / 2 };
        let side = |side: usize| (side + 2 * conv.padding - kernel) / stride + 1;
        let to = Shape::new(outputs, side(from.height), side(from.width));
        self.node(Op::Conv { input, conv }, to)
    }

    /// A linear layer over all values of its input.
    pub fn linear(&mut self, name: &str, input: ValueId, outputs: usize) -> ValueId {
        let from = self.shape(input);
        let init = Init::FanIn(from.values());
        let weight = self.parameter(format!("{name}.weight"), vec![outputs, from.values()], init);
        let bias = Some(self.parameter(format!("{name}.bias"), vec![outputs], init));
        let kernel = [from.height, from.width];
        let conv = Conv { weight, bias, kernel, stride: 1, padding: 0 };
        self.node(Op::Conv { input, conv }, Shape::new(outputs, 1, 1))
    }

    /// BatchNorm, or nothing in a network without.
    pub fn norm(&mut self, name: &str, input: ValueId) -> ValueId {
        if !self.batch_norm {
            return input;
        }
        let shape = self.shape(input);
        let channels = shape.channels;
        let weight = self.parameter(format!("{name}.weight"), vec![channels], Init::Constant(1.0));
        let bias = self.parameter(format!("{name}.bias"), vec![channels], Init::Constant(0.0));
        self.graph.norms.push(Norm { name: name.to_owned(), weight, bias, channels });
        let norm = self.graph.norms.len() - 1;
        self.node(Op::Norm { input, norm }, shape)
    }

    pub fn relu(&mut self, input: ValueId) -> ValueId {
        let shape = self.shape(input);
        self.node(Op::Relu { input }, shape)
    }

    pub fn add(&mut self, left: ValueId, right: ValueId) -> ValueId {
        let shape = self.shape(left);
        self.node(Op::Add { left, right }, shape)
    }

    pub fn concat(&mut self, first: ValueId, second: ValueId) -> ValueId {
        let Shape { channels, height, width } = self.shape(first);
        let channels = channels + self.shape(second).channels;
        self.node(Op::Concat { first, second }, Shape::new(channels, height, width))
    }

    pub fn max_pool(&mut self, input: ValueId) -> ValueId {
        let shape = self.halved(input);
        self.node(Op::MaxPool { input }, shape)
    }

    pub fn mean_pool(&mut self, input: ValueId) -> ValueId {
        let shape = self.halved(input);
        self.node(Op::MeanPool { input }, shape)
    }

    /// Global mean, then a linear layer to the outputs.
    pub fn head(&mut self, name: &str, input: ValueId) {
        let channels = self.shape(input).channels;
        let mean = self.node(Op::GlobalMean { input }, Shape::new(channels, 1, 1));
        self.linear(name, mean, self.graph.signature.outputs);
    }

    /// Outputs of the network.
    pub fn outputs(&self) -> usize {
        self.graph.signature.outputs
    }

    fn halved(&self, input: ValueId) -> Shape {
        let Shape { channels, height, width } = self.shape(input);
        Shape::new(channels, height / 2, width / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(arch: Arch, width: u32) -> Graph {
        let spec = NetworkSpec { arch, width, batch_norm: true };
        Graph::new(&spec, Signature { input: Shape::new(3, 32, 32), outputs: 10 })
    }

    /// The authors' classes (chao1224/BadGlobalMinima, commit 950b0c0), counted in PyTorch.
    #[test]
    fn the_papers_networks_have_their_parameters() {
        let counts = [
            (Arch::Resnet18, 64, 11_173_962),
            (Arch::Resnet50, 64, 23_520_842),
            (Arch::Vgg16, 64, 14_728_266),
            (Arch::Densenet40, 12, 176_122),
        ];
        for (arch, width, count) in counts {
            assert_eq!(network(arch, width).parameter_count(), count, "{arch:?}");
        }
    }

    #[test]
    fn every_node_comes_after_its_inputs_and_ends_at_the_logits() {
        for arch in [Arch::Mlp, Arch::Resnet18, Arch::Resnet50, Arch::Vgg16, Arch::Densenet40] {
            let graph = network(arch, 4);
            for (id, node) in graph.nodes.iter().enumerate() {
                assert!(node.op.inputs().all(|input| input < id), "{arch:?}, node {id}");
            }
            assert_eq!(graph.nodes[graph.logits()].shape, Shape::new(10, 1, 1), "{arch:?}");
        }
    }
}
