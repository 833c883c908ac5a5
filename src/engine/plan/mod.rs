//! What the engine does for a network, worked out once: layers fused, places of values and
//! gradients, and the lists of every convolution.

mod fuse;
mod layout;

use super::kernels::{Geometry, Place, Pooling, ROW, Window};
use crate::models::graph::{Conv, Graph, NormId, Op, ParameterId, ValueId};
use std::sync::Arc;

/// A network as steps over places in memory.
#[derive(Debug)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// By value, its first row in a training step, per pair of images (times `pairs * ROW`, it is the
    /// index of the value's first number). `None`: it exists only inside a fused step.
    training: Vec<Option<usize>>,
    /// The same of each value's gradient, in the same arena.
    gradients: Vec<Option<usize>>,
    /// Rows of that arena, per pair of images.
    training_rows: usize,
    /// By value, its first row in an evaluation, where the rows of values that no later step reads are
    /// used again.
    evaluation: Vec<Option<usize>>,
    evaluation_rows: usize,
    /// `(channels, pixels)` of each value.
    sizes: Vec<(usize, usize)>,
}

/// One or more nodes of the graph.
#[derive(Clone, Debug)]
pub enum Step {
    Conv(ConvStep),
    Blend(BlendStep),
    Pool(PoolStep),
    Concat(ConcatStep),
}

/// A value that a step takes, and whether its gradient is added to one that is there already.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    pub value: ValueId,
    pub add: bool,
}

#[derive(Clone, Debug)]
pub struct ConvStep {
    pub x: Input,
    pub y: ValueId,
    pub weight: ParameterId,
    pub bias: Option<ParameterId>,
    pub geometry: Arc<Geometry>,
}

/// `y = terms[0] + terms[1]`, or one term alone, each normalized first if it has a norm; then ReLU if
/// `relu`. On the way back the last term comes first, because the gradient of the first may lie where
/// that of `y` does: [`layout::training`] orders the terms for that.
#[derive(Clone, Debug)]
pub struct BlendStep {
    pub terms: Vec<Term>,
    pub relu: bool,
    pub y: ValueId,
}

#[derive(Clone, Copy, Debug)]
pub struct Term {
    pub x: Input,
    pub norm: Option<NormId>,
}

#[derive(Clone, Debug)]
pub struct PoolStep {
    pub pooling: Pooling,
    /// Height and width of `x`.
    pub size: [usize; 2],
    pub x: Input,
    pub y: ValueId,
}

#[derive(Clone, Debug)]
pub struct ConcatStep {
    pub parts: [Input; 2],
    pub y: ValueId,
}

impl Step {
    pub fn inputs(&self) -> Vec<Input> {
        match self {
            Step::Conv(step) => vec![step.x],
            Step::Blend(step) => step.terms.iter().map(|term| term.x).collect(),
            Step::Pool(step) => vec![step.x],
            Step::Concat(step) => step.parts.to_vec(),
        }
    }

    fn inputs_mut(&mut self) -> Vec<&mut Input> {
        match self {
            Step::Conv(step) => vec![&mut step.x],
            Step::Blend(step) => step.terms.iter_mut().map(|term| &mut term.x).collect(),
            Step::Pool(step) => vec![&mut step.x],
            Step::Concat(step) => step.parts.iter_mut().collect(),
        }
    }

    pub fn output(&self) -> ValueId {
        match self {
            Step::Conv(step) => step.y,
            Step::Blend(step) => step.y,
            Step::Pool(step) => step.y,
            Step::Concat(step) => step.y,
        }
    }
}

/// Which of the two layouts a pass uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Training: whatever the way back reads keeps its place.
    All,
    /// Evaluation: a place is used again once no later step reads it.
    Needed,
}

impl Plan {
    pub fn new(graph: &Graph) -> Plan {
        let mut geometries = Geometries::default();
        let mut steps = fuse::steps(graph, |x, y, conv| geometries.find(graph, x, y, conv));
        let sizes: Vec<_> =
            graph.nodes.iter().map(|node| (node.shape.channels, node.shape.pixels())).collect();
        let rows: Vec<_> =
            sizes.iter().map(|&(channels, pixels)| channels.div_ceil(8) * pixels).collect();
        let evaluation = layout::evaluation(&steps, &rows);
        let training = layout::training(&mut steps, &rows);
        Plan {
            steps,
            training: training.values,
            gradients: training.gradients,
            training_rows: training.rows,
            evaluation: evaluation.values,
            evaluation_rows: evaluation.rows,
            sizes,
        }
    }

    /// The place of a value in a layout, for a batch of so many pairs of images.
    pub fn value(&self, keep: Keep, value: ValueId, pairs: usize) -> Place {
        let places = if keep == Keep::All { &self.training } else { &self.evaluation };
        self.place(places, value, pairs)
    }

    /// Where the gradient of a value lies.
    pub fn gradient(&self, value: ValueId, pairs: usize) -> Place {
        self.place(&self.gradients, value, pairs)
    }

    fn place(&self, places: &[Option<usize>], value: ValueId, pairs: usize) -> Place {
        let (channels, pixels) = self.sizes[value];
        // A value that exists only inside a fused step has no place. This one is impossible, so that
        // any use of it panics in `Base::value`.
        let at = places[value].map_or(usize::MAX / 2, |row| row * pairs * ROW);
        Place { at, channels, pixels }
    }

    /// Length of the arena, in `f32`s, that a batch of so many pairs of images needs.
    pub fn numbers(&self, keep: Keep, pairs: usize) -> usize {
        let rows = if keep == Keep::All { self.training_rows } else { self.evaluation_rows };
        rows * pairs * ROW
    }
}

/// Convolutions of the same sizes share their lists.
#[derive(Default)]
struct Geometries(Vec<Arc<Geometry>>);

impl Geometries {
    fn find(&mut self, graph: &Graph, x: ValueId, y: ValueId, conv: Conv) -> Arc<Geometry> {
        let size = |value: ValueId| {
            let shape = graph.nodes[value].shape;
            [shape.height, shape.width]
        };
        let window = Window {
            input: size(x),
            output: size(y),
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
        };
        if let Some(known) = self.0.iter().find(|known| known.window == window) {
            return Arc::clone(known);
        }
        let geometry = Arc::new(Geometry::new(window));
        self.0.push(Arc::clone(&geometry));
        geometry
    }
}

/// Values that a node takes.
fn inputs(op: Op) -> Vec<ValueId> {
    match op {
        Op::Input => vec![],
        Op::Add { left, right } => vec![left, right],
        Op::Concat { first, second } => vec![first, second],
        Op::Conv { input, .. }
        | Op::Norm { input, .. }
        | Op::Relu { input }
        | Op::MaxPool { input }
        | Op::MeanPool { input }
        | Op::GlobalMean { input } => vec![input],
    }
}
