//! Graphs of layers that no paper has: whatever a plan may fuse, share or place.

use bad_global_minima::models::graph::{
    Conv, Graph, Init, Node, Norm, Op, Parameter, Shape, Signature, ValueId,
};

/// One layer, in small numbers that shrink well.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    pub kind: u8,
    /// Which of the live values it takes.
    pub input: u8,
    /// Whether its input may be taken again.
    pub keep: bool,
    /// Of a convolution.
    pub outputs: u8,
}

/// A graph in which every value is used: the mean of each that is left at the end goes to the
/// last, linear layer.
pub fn graph(input: Shape, outputs: usize, layers: &[Layer]) -> Graph {
    let signature = Signature { input, outputs };
    let nodes = vec![Node { op: Op::Input, shape: input }];
    let (parameters, norms) = (Vec::new(), Vec::new());
    let mut building =
        Building { graph: Graph { signature, nodes, parameters, norms }, live: vec![0] };
    layers.iter().for_each(|layer| building.layer(layer));
    building.finish()
}

struct Building {
    graph: Graph,
    live: Vec<ValueId>,
}

impl Building {
    fn shape(&self, value: ValueId) -> Shape {
        self.graph.nodes[value].shape
    }

    fn node(&mut self, op: Op, shape: Shape) -> ValueId {
        self.graph.nodes.push(Node { op, shape });
        self.graph.nodes.len() - 1
    }

    fn parameter(&mut self, shape: Vec<usize>, init: Init) -> usize {
        let name = format!("p{}", self.graph.parameters.len());
        self.graph.parameters.push(Parameter { name, shape, init });
        self.graph.parameters.len() - 1
    }

    fn layer(&mut self, layer: &Layer) {
        let x = self.live[usize::from(layer.input) % self.live.len()];
        let shape = self.shape(x);
        let outputs = usize::from(layer.outputs).max(1);
        let even = shape.height >= 2 && shape.width >= 2;
        let halved = Shape::new(shape.channels, shape.height / 2, shape.width / 2);
        let y = match layer.kind {
            0 => self.conv(x, outputs, [3, 3], 1, false),
            1 => self.conv(x, outputs, [3, 3], 2, true),
            2 => self.conv(x, outputs, [1, 1], 1, true),
            3 => self.conv(x, outputs, [1, 1], 2, false),
            4 => self.conv(x, outputs, [5, 3], 1, false),
            5 | 6 => self.norm(x),
            7 | 8 => self.node(Op::Relu { input: x }, shape),
            9 if even => self.node(Op::MaxPool { input: x }, halved),
            10 if even => self.node(Op::MeanPool { input: x }, halved),
            11 | 12 => match self.partner(x, |other| other == shape) {
                Some(right) => self.node(Op::Add { left: x, right }, shape),
                None => return,
            },
            _ => {
                let fits = |o: Shape| (o.height, o.width) == (shape.height, shape.width);
                let Some(second) = self.partner(x, fits) else { return };
                let channels = shape.channels + self.shape(second).channels;
                let to = Shape { channels, ..shape };
                self.node(Op::Concat { first: x, second }, to)
            }
        };
        if !layer.keep {
            self.live.retain(|&value| value != x);
        }
        self.live.push(y);
    }

    /// Another live value that fits, no longer live.
    fn partner(&mut self, x: ValueId, fits: impl Fn(Shape) -> bool) -> Option<ValueId> {
        let found = self.live.iter().rposition(|&v| v != x && fits(self.graph.nodes[v].shape))?;
        Some(self.live.remove(found))
    }

    fn conv(
        &mut self,
        input: ValueId,
        outputs: usize,
        kernel: [usize; 2],
        stride: usize,
        bias: bool,
    ) -> ValueId {
        let from = self.shape(input);
        // Of a kernel that is not square: as much as fits both ways.
        let padding = kernel[1] / 2;
        let kernel = [kernel[0].min(from.height + 2 * padding), kernel[1]];
        let init = Init::FanIn(from.channels * kernel[0] * kernel[1]);
        let weight = self.parameter(vec![outputs, from.channels, kernel[0], kernel[1]], init);
        let bias = bias.then(|| self.parameter(vec![outputs], init));
        let side = |side: usize, kernel: usize| (side + 2 * padding - kernel) / stride + 1;
        let to = Shape::new(outputs, side(from.height, kernel[0]), side(from.width, kernel[1]));
        let conv = Conv { weight, bias, kernel, stride, padding };
        self.node(Op::Conv { input, conv }, to)
    }

    fn norm(&mut self, input: ValueId) -> ValueId {
        let shape = self.shape(input);
        let channels = shape.channels;
        let weight = self.parameter(vec![channels], Init::Constant(1.0));
        let bias = self.parameter(vec![channels], Init::Constant(0.0));
        let norm = self.graph.norms.len();
        self.graph.norms.push(Norm { name: format!("n{norm}"), weight, bias, channels });
        self.node(Op::Norm { input, norm }, shape)
    }

    fn finish(mut self) -> Graph {
        let means = self.live.clone().into_iter().map(|input| {
            let channels = self.shape(input).channels;
            self.node(Op::GlobalMean { input }, Shape::new(channels, 1, 1))
        });
        let means: Vec<ValueId> = means.collect();
        let joined = means.into_iter().reduce(|first, second| {
            let channels = self.shape(first).channels + self.shape(second).channels;
            self.node(Op::Concat { first, second }, Shape::new(channels, 1, 1))
        });
        let input = joined.expect("a value is always live");
        let outputs = self.graph.signature.outputs;
        self.conv(input, outputs, [1, 1], 1, true);
        self.graph
    }
}
