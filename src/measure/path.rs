//! Path norms, by a walk over the graph in plain double precision: products over many layers
//! leave the range of `f32`.

use crate::models::graph::{Conv, Graph, Node, Op, Shape};
use crate::models::state::{BATCH_NORM_EPS, State};

/// Which norm of a path's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    One,
    Two,
}

impl Power {
    fn of(self, value: f64) -> f64 {
        match self {
            Power::One => value.abs(),
            Power::Two => value * value,
        }
    }

    fn exponent(self) -> f64 {
        match self {
            Power::One => 1.0,
            Power::Two => 2.0,
        }
    }
}

/// log10 of the p-path norm (Neyshabur et al. 2015): (sum over all paths from inputs and
/// biases to outputs of the product of |w|^p along the path)^(1/p). Every weight is replaced by
/// `|w|^p`, BatchNorm by the affine map that it is in evaluation mode; the sum of the outputs
/// for an input of ones is then the p-th power of the norm. Where a maximum is pooled, the
/// largest sum goes on.
pub fn path_norm_log10(graph: &Graph, state: &State, power: Power) -> f64 {
    let mut values: Vec<Vec<f64>> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let value = evaluate(graph, state, power, node, &values);
        values.push(value);
    }
    let total = values[graph.logits()].iter().fold(0.0, |sum, value| sum + value);
    libm::log10(total) / power.exponent()
}

/// The value of a node, `[channels, height, width]`.
fn evaluate(
    graph: &Graph,
    state: &State,
    power: Power,
    node: &Node,
    values: &[Vec<f64>],
) -> Vec<f64> {
    let pixels = node.shape.pixels();
    match node.op {
        Op::Input => vec![1.0; node.shape.values()],
        Op::Conv { input, conv } => {
            let from = graph.nodes[input].shape;
            convolution(state, power, conv, (&values[input], from), node.shape)
        }
        Op::Norm { input, norm } => {
            let layer = &graph.norms[norm];
            let running = &state.running[norm];
            let mut out = values[input].clone();
            for (channel, plane) in out.chunks_exact_mut(pixels).enumerate() {
                let at = |values: &[f32]| f64::from(values[channel]);
                let deviation = (at(&running.variance) + f64::from(BATCH_NORM_EPS)).sqrt();
                let slope = at(&state.parameters[layer.weight]) / deviation;
                let offset = at(&state.parameters[layer.bias]) - at(&running.mean) * slope;
                let (slope, offset) = (power.of(slope), power.of(offset));
                plane.iter_mut().for_each(|value| *value = *value * slope + offset);
            }
            out
        }
        // Nothing is negative here.
        Op::Relu { input } => values[input].clone(),
        Op::Add { left, right } => {
            values[left].iter().zip(&values[right]).map(|(a, b)| a + b).collect()
        }
        Op::Concat { first, second } => [&values[first][..], &values[second][..]].concat(),
        Op::MaxPool { input } => pooled(&values[input], graph.nodes[input].shape, |v| {
            v.into_iter().fold(f64::MIN, f64::max)
        }),
        Op::MeanPool { input } => {
            pooled(&values[input], graph.nodes[input].shape, |v| (v[0] + v[1] + v[2] + v[3]) / 4.0)
        }
        Op::GlobalMean { input } => {
            let pixels = graph.nodes[input].shape.pixels();
            let mean = |plane: &[f64]| plane.iter().fold(0.0, |s, v| s + v) / pixels as f64;
            values[input].chunks_exact(pixels).map(mean).collect()
        }
    }
}

fn convolution(
    state: &State,
    power: Power,
    conv: Conv,
    (input, from): (&[f64], Shape),
    to: Shape,
) -> Vec<f64> {
    let [height, width] = conv.kernel;
    let size = from.channels * height * width;
    let weights: Vec<f64> =
        state.parameters[conv.weight].iter().map(|&w| power.of(f64::from(w))).collect();
    let bias = |channel: usize| {
        conv.bias.map_or(0.0, |bias| power.of(f64::from(state.parameters[bias][channel])))
    };
    let mut out = Vec::with_capacity(to.values());
    for channel in 0..to.channels {
        let kernel = &weights[channel * size..][..size];
        for y in 0..to.height {
            for x in 0..to.width {
                let mut sum = bias(channel);
                for c in 0..from.channels {
                    for ky in 0..height {
                        let Some(row) = inside(y, ky, conv, from.height) else { continue };
                        for kx in 0..width {
                            let Some(column) = inside(x, kx, conv, from.width) else { continue };
                            let weight = kernel[(c * height + ky) * width + kx];
                            sum += weight * input[(c * from.height + row) * from.width + column];
                        }
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

/// Place along one side that a tap reads; `None` in the padding.
fn inside(output: usize, tap: usize, conv: Conv, side: usize) -> Option<usize> {
    (output * conv.stride + tap).checked_sub(conv.padding).filter(|&place| place < side)
}

/// Squares of 2x2 pixels, each made one.
fn pooled(input: &[f64], from: Shape, one: impl Fn([f64; 4]) -> f64) -> Vec<f64> {
    let mut out = Vec::new();
    for plane in input.chunks_exact(from.pixels()) {
        for y in 0..from.height / 2 {
            for x in 0..from.width / 2 {
                let at =
                    |down: usize, right: usize| plane[(2 * y + down) * from.width + 2 * x + right];
                out.push(one([at(0, 0), at(0, 1), at(1, 0), at(1, 1)]));
            }
        }
    }
    out
}
