//! Puts a [`Graph`] together, layer by layer.

use super::graph::{
    Conv, Graph, Init, Node, Norm, Op, Parameter, ParameterId, Shape, Signature, ValueId,
};

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
    pub fn new(batch_norm: bool, signature: Signature) -> Builder {
        let input = Node { op: Op::Input, shape: signature.input };
        let (parameters, norms) = (Vec::new(), Vec::new());
        Builder { batch_norm, graph: Graph { signature, nodes: vec![input], parameters, norms } }
    }

    /// The graph as it is now.
    pub fn finish(self) -> Graph {
        self.graph
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
