//! Hessian-vector products of the loss (Pearlmutter 1994, "Fast exact multiplication by the
//! Hessian") in double precision: each value of the forward and backward pass carries its
//! derivative along the direction.
//!
//! Finite differences of gradients do not work: networks with ReLU are only piecewise smooth, and
//! with a few hundred images any step that single precision can resolve changes the state of many
//! units. (Tried on trained networks at steps from 0.03 to 1e-4: errors of 1 to 70%.) Here, as in a
//! double backward pass, the units that are active at the current weights stay active.

mod convolution;
mod layers;
mod sums;

use super::Examples;
use crate::models::graph::{Graph, Op};
use crate::models::state::State;
use convolution::{convolve, convolve_back};
use layers::Layer;
use sums::each_use;

/// Dual numbers. Activations of an image and their gradients are laid out `[pixel][channel]`; for
/// weights see [`layers`].
#[derive(Clone, Debug, Default)]
struct Dual {
    value: Vec<f64>,
    /// Derivatives of `value` along the direction (tangents).
    slope: Vec<f64>,
}

impl Dual {
    fn zeros(count: usize) -> Dual {
        Dual { value: vec![0.0; count], slope: vec![0.0; count] }
    }

    /// Adds to the number at index `place`.
    fn add(&mut self, place: usize, value: f64, slope: f64) {
        self.value[place] += value;
        self.slope[place] += slope;
    }
}

/// Hessian-vector product of the training loss over `examples`, with BatchNorm in evaluation mode.
/// The loss is a sum over the examples for networks with a single logit, otherwise a mean.
///
/// `direction` and the result have one value for each parameter: the tensors of
/// `graph.parameters` one after the other, in PyTorch's memory layout.
pub(super) fn hessian_times(
    graph: &Graph,
    state: &State,
    examples: Examples<'_>,
    direction: &[f64],
) -> Vec<f64> {
    let mut layers = layers::layers(graph, state, direction);
    let size = graph.signature.input.values();
    for (image, &label) in examples.inputs.chunks_exact(size).zip(examples.labels) {
        let values = forward(graph, &layers, image);
        let gradient = loss_gradient(&values[graph.logits()], label, examples.labels.len());
        backward(graph, &mut layers, &values, gradient);
    }
    layers::collect(graph, &layers)
}

/// Forward pass of one image (`[pixel][channel]`): the activations of all nodes, by node.
fn forward(graph: &Graph, layers: &[Layer], image: &[f32]) -> Vec<Dual> {
    let mut values: Vec<Dual> = Vec::with_capacity(graph.nodes.len());
    for (node, layer) in graph.nodes.iter().zip(layers) {
        let mut out = Dual::zeros(node.shape.values());
        let channels = node.shape.channels;
        match (node.op, layer) {
            (Op::Input, _) => out.value = image.iter().map(|&value| f64::from(value)).collect(),
            (Op::Conv { input, conv }, Layer::Kernel(kernel)) => {
                let from = graph.nodes[input].shape;
                convolve(&conv, kernel, (&values[input], from), (&mut out, node.shape));
            }
            (Op::Norm { input, .. }, Layer::Affine(affine)) => {
                let x = &values[input];
                for place in 0..out.value.len() {
                    let c = place % channels;
                    let scale = affine.weight.value[c] * affine.inverse[c];
                    let normalized = (x.value[place] - affine.mean[c]) * affine.inverse[c];
                    let value = affine.weight.value[c] * normalized + affine.bias.value[c];
                    let by_weights = affine.weight.slope[c] * normalized + affine.bias.slope[c];
                    out.add(place, value, x.slope[place] * scale + by_weights);
                }
            }
            (Op::Relu { input }, _) => {
                let x = &values[input];
                for place in (0..out.value.len()).filter(|&place| x.value[place] > 0.0) {
                    out.add(place, x.value[place], x.slope[place]);
                }
            }
            (op, _) => each_use(&op, graph, node.shape, &values, |from, place, to, share| {
                let x = &values[from];
                out.add(to, share * x.value[place], share * x.slope[place]);
            }),
        }
        values.push(out);
    }
    values
}

/// Gradient of the loss with respect to the logits of one of `batch` examples.
fn loss_gradient(logits: &Dual, label: i64, batch: usize) -> Dual {
    // Binary cross-entropy is summed over the batch, the loss of several logits is averaged.
    if let ([z], [along]) = (&logits.value[..], &logits.slope[..]) {
        let p = 1.0 / (1.0 + libm::exp(-z));
        return Dual { value: vec![p - label as f64], slope: vec![p * (1.0 - p) * along] };
    }
    let top = logits.value.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = logits.value.iter().map(|z| libm::exp(z - top)).collect();
    let sum = e.iter().fold(0.0, |sum, e| sum + e);
    let p: Vec<f64> = e.into_iter().map(|e| e / sum).collect();
    // Derivative of the softmax p along the direction: p_i * (z'_i - sum_j p_j z'_j).
    let mean = p.iter().zip(&logits.slope).fold(0.0, |sum, (p, along)| sum + p * along);
    let count = batch as f64;
    let value = (0..).zip(&p).map(|(class, p)| (p - f64::from(u8::from(class == label))) / count);
    let slope = p.iter().zip(&logits.slope).map(|(p, along)| p * (along - mean) / count);
    Dual { value: value.collect(), slope: slope.collect() }
}

/// Backward pass of one image from the gradient of its logits: adds its contribution to the
/// `product` and `bias_product` of every layer.
fn backward(graph: &Graph, layers: &mut [Layer], values: &[Dual], logit_gradient: Dual) {
    let mut gradients: Vec<Option<Dual>> = vec![None; graph.nodes.len()];
    gradients[graph.logits()] = Some(logit_gradient);
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        let Some(g) = gradients[id].take() else { continue };
        for input in node.op.inputs() {
            let size = graph.nodes[input].shape.values();
            gradients[input].get_or_insert_with(|| Dual::zeros(size));
        }
        // Never the default: the loop above has inserted a gradient for every input.
        let take = |gradients: &mut Vec<Option<Dual>>, input: usize| -> Dual {
            gradients[input].take().unwrap_or_default()
        };
        match (node.op, &mut layers[id]) {
            (Op::Input, _) => {}
            (Op::Conv { input, conv }, Layer::Kernel(kernel)) => {
                let mut dx = take(&mut gradients, input);
                let from = graph.nodes[input].shape;
                convolve_back(&conv, kernel, (&values[input], &mut dx, from), (&g, node.shape));
                gradients[input] = Some(dx);
            }
            (Op::Norm { input, .. }, Layer::Affine(affine)) => {
                let (mut dx, x) = (take(&mut gradients, input), &values[input]);
                for place in 0..g.value.len() {
                    let c = place % node.shape.channels;
                    let (value, slope, inverse) =
                        (g.value[place], g.slope[place], affine.inverse[c]);
                    let (weight, along) = (affine.weight.value[c], affine.weight.slope[c]);
                    affine.product[c] += inverse
                        * (slope * (x.value[place] - affine.mean[c]) + value * x.slope[place]);
                    affine.bias_product[c] += slope;
                    dx.add(
                        place,
                        value * weight * inverse,
                        inverse * (slope * weight + value * along),
                    );
                }
                gradients[input] = Some(dx);
            }
            (Op::Relu { input }, _) => {
                let mut dx = take(&mut gradients, input);
                let x = &values[input].value;
                for place in (0..x.len()).filter(|&place| x[place] > 0.0) {
                    dx.add(place, g.value[place], g.slope[place]);
                }
                gradients[input] = Some(dx);
            }
            (op, _) => each_use(&op, graph, node.shape, values, |from, place, to, share| {
                if let Some(dx) = &mut gradients[from] {
                    dx.add(place, share * g.value[to], share * g.slope[to]);
                }
            }),
        }
    }
}
