//! Nodes without weights: what they add up.

use super::Dual;
use crate::models::graph::{Graph, Op, Shape};

/// Calls `visit(input, its place, place of the output, factor)` for everything that a node
/// without weights adds up.
pub fn each_use(
    op: &Op,
    graph: &Graph,
    to: Shape,
    values: &[Dual],
    mut visit: impl FnMut(usize, usize, usize, f64),
) {
    let mut copy = |from: usize, first: usize| {
        let channels = graph.nodes[from].shape.channels;
        for place in 0..graph.nodes[from].shape.values() {
            let (pixel, channel) = (place / channels, place % channels);
            visit(from, place, pixel * to.channels + first + channel, 1.0);
        }
    };
    match *op {
        Op::Add { left, right } => [left, right].into_iter().for_each(|from| copy(from, 0)),
        Op::Concat { first, second } => {
            copy(first, 0);
            copy(second, graph.nodes[first].shape.channels);
        }
        Op::GlobalMean { input } => {
            let from = graph.nodes[input].shape;
            let share = 1.0 / from.pixels() as f64;
            (0..from.values()).for_each(|place| visit(input, place, place % to.channels, share));
        }
        Op::MaxPool { input } | Op::MeanPool { input } => {
            let (width, x) = (graph.nodes[input].shape.width, &values[input].value);
            for out in 0..to.values() {
                let (pixel, channel) = (out / to.channels, out % to.channels);
                let (row, column) = (2 * (pixel / to.width), 2 * (pixel % to.width));
                let square = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(down, right)| {
                    ((row + down) * width + column + right) * to.channels + channel
                });
                if matches!(op, Op::MeanPool { .. }) {
                    square.into_iter().for_each(|place| visit(input, place, out, 0.25));
                } else {
                    let largest = |a: usize, b: usize| if x[b] > x[a] { b } else { a };
                    let [first, rest @ ..] = square;
                    visit(input, rest.into_iter().fold(first, largest), out, 1.0);
                }
            }
        }
        Op::Input | Op::Conv { .. } | Op::Norm { .. } | Op::Relu { .. } => {}
    }
}
