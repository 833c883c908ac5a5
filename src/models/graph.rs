//! A network as a graph of layers, described once. The CPU engine's plan, libtorch's forward
//! pass, parameter names and counts, operations and memory are all read off it.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Arch, NetworkSpec};

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
