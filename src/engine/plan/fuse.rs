//! Steps of a graph: BatchNorm, addition and ReLU become one where nothing else needs what lies
//! between them.

use super::{BlendStep, ConcatStep, ConvStep, Input, PoolStep, Step, Term, inputs};
use crate::engine::kernels::{Geometry, Pooling};
use crate::models::graph::{Conv, Graph, Op, ValueId};
use std::sync::Arc;

/// The steps, in the order of the nodes that give their outputs.
pub fn steps(
    graph: &Graph,
    mut geometry: impl FnMut(ValueId, ValueId, Conv) -> Arc<Geometry>,
) -> Vec<Step> {
    let mut fusing = Fusing::new(graph);
    let mut steps = Vec::new();
    for y in (1..graph.nodes.len()).rev() {
        if fusing.fused[y] {
            continue;
        }
        let x = |value: ValueId| Input { value, add: false };
        let size = |value: ValueId| {
            let shape = graph.nodes[value].shape;
            [shape.height, shape.width]
        };
        let pool = |pooling: Pooling, input: ValueId| {
            Step::Pool(PoolStep { pooling, size: size(input), x: x(input), y })
        };
        steps.push(match graph.nodes[y].op {
            // Only node 0.
            Op::Input => continue,
            Op::Conv { input, conv } => Step::Conv(ConvStep {
                x: x(input),
                y,
                weight: conv.weight,
                bias: conv.bias,
                geometry: geometry(input, y, conv),
            }),
            Op::Norm { .. } | Op::Relu { .. } | Op::Add { .. } => Step::Blend(fusing.blend(y)),
            Op::MaxPool { input } => pool(Pooling::Max, input),
            Op::MeanPool { input } => pool(Pooling::Mean, input),
            Op::GlobalMean { input } => pool(Pooling::Global, input),
            Op::Concat { first, second } => {
                Step::Concat(ConcatStep { parts: [x(first), x(second)], y })
            }
        });
    }
    steps.reverse();
    steps
}

struct Fusing<'a> {
    graph: &'a Graph,
    /// Nodes that take each value.
    users: Vec<Vec<ValueId>>,
    /// Values that exist only inside a step.
    fused: Vec<bool>,
}

impl<'a> Fusing<'a> {
    fn new(graph: &'a Graph) -> Self {
        let mut users = vec![Vec::new(); graph.nodes.len()];
        for (id, node) in graph.nodes.iter().enumerate() {
            inputs(node.op).into_iter().for_each(|input| users[input].push(id));
        }
        Fusing { graph, users, fused: vec![false; graph.nodes.len()] }
    }

    /// The step that ends with `y`.
    fn blend(&mut self, y: ValueId) -> BlendStep {
        let (relu, sum) = match self.graph.nodes[y].op {
            Op::Relu { input } => (true, self.take(input, y)),
            _ => (false, Some(y)),
        };
        let terms = match (sum.map(|sum| (sum, self.graph.nodes[sum].op)), self.graph.nodes[y].op) {
            (Some((_, Op::Add { left, right })), _) => {
                vec![self.term(left, y), self.term(right, y)]
            }
            (Some((sum, Op::Norm { .. })), _) => vec![self.term_of(sum)],
            (_, Op::Relu { input }) => vec![self.term(input, y)],
            // Only additions and norms come here without a ReLU.
            _ => vec![],
        };
        BlendStep { terms, relu, y }
    }

    /// A value as a term of the step that ends with `y`, normalized in it if it can be.
    fn term(&mut self, value: ValueId, y: ValueId) -> Term {
        let norm = matches!(self.graph.nodes[value].op, Op::Norm { .. });
        match norm.then(|| self.take(value, y)).flatten() {
            Some(norm) => self.term_of(norm),
            None => Term { x: Input { value, add: false }, norm: None },
        }
    }

    fn term_of(&self, norm: ValueId) -> Term {
        match self.graph.nodes[norm].op {
            Op::Norm { input, norm } => {
                Term { x: Input { value: input, add: false }, norm: Some(norm) }
            }
            _ => Term { x: Input { value: norm, add: false }, norm: None },
        }
    }

    /// Makes an addition or norm part of the step that ends with `y`, if nothing else needs its
    /// value and no contribution to a gradient would change its turn.
    fn take(&mut self, value: ValueId, y: ValueId) -> Option<ValueId> {
        let op = self.graph.nodes[value].op;
        let fits = matches!(op, Op::Norm { .. } | Op::Add { .. }) && self.users[value].len() == 1;
        let in_turn = inputs(op)
            .into_iter()
            .all(|input| self.users[input].iter().all(|&user| user <= value || user > y));
        (fits && in_turn).then(|| {
            self.fused[value] = true;
            value
        })
    }
}
