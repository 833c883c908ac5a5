//! Weights with their direction, and the products that grow beside them.

use super::Dual;
use crate::models::graph::{Graph, Op};
use crate::models::state::{BATCH_NORM_EPS, State};

/// A convolution's weights and their direction, for both ways through it.
pub struct Kernel {
    /// `[tap][input channel][output channel]`
    pub forward: Dual,
    /// `[tap][output channel][input channel]`
    pub backward: Dual,
    pub bias: Dual,
    /// Product of the Hessian, in the layout of `forward`, and for the bias.
    pub product: Vec<f64>,
    pub bias_product: Vec<f64>,
}

/// BatchNorm in evaluation mode.
pub struct Affine {
    pub mean: Vec<f64>,
    /// `1 / sqrt(variance + epsilon)`
    pub inverse: Vec<f64>,
    pub weight: Dual,
    pub bias: Dual,
    pub product: Vec<f64>,
    pub bias_product: Vec<f64>,
}

/// What a node computes with.
pub enum Layer {
    Kernel(Kernel),
    Affine(Affine),
    None,
}

/// The layers of a network, in the order of its nodes.
pub fn layers(graph: &Graph, state: &State, direction: &[f64]) -> Vec<Layer> {
    let mut rest = direction;
    let mut duals: Vec<Dual> = Vec::with_capacity(graph.parameters.len());
    for values in &state.parameters {
        let (own, others) = rest.split_at(values.len());
        rest = others;
        let value = values.iter().map(|&value| f64::from(value)).collect();
        duals.push(Dual { value, slope: own.to_vec() });
    }
    let layer = |op: &Op| match *op {
        Op::Conv { input, conv } => {
            let channels = graph.nodes[input].shape.channels;
            let (weight, taps) = (&duals[conv.weight], conv.kernel[0] * conv.kernel[1]);
            let outputs = weight.value.len() / (channels * taps);
            let arranged = |place: &dyn Fn(usize, usize, usize) -> usize| {
                let mut out = Dual::zeros(weight.value.len());
                for (o, c, tap) in places(outputs, channels, taps) {
                    let from = (o * channels + c) * taps + tap;
                    out.add(place(o, c, tap), weight.value[from], weight.slope[from]);
                }
                out
            };
            Layer::Kernel(Kernel {
                forward: arranged(&|o, c, tap| (tap * channels + c) * outputs + o),
                backward: arranged(&|o, c, tap| (tap * outputs + o) * channels + c),
                bias: conv.bias.map_or_else(|| Dual::zeros(outputs), |bias| duals[bias].clone()),
                product: vec![0.0; weight.value.len()],
                bias_product: vec![0.0; outputs],
            })
        }
        Op::Norm { norm, .. } => {
            let (layer, running) = (&graph.norms[norm], &state.running[norm]);
            let inverse =
                |&variance: &f32| 1.0 / (f64::from(variance) + f64::from(BATCH_NORM_EPS)).sqrt();
            Layer::Affine(Affine {
                mean: running.mean.iter().map(|&mean| f64::from(mean)).collect(),
                inverse: running.variance.iter().map(inverse).collect(),
                weight: duals[layer.weight].clone(),
                bias: duals[layer.bias].clone(),
                product: vec![0.0; layer.channels],
                bias_product: vec![0.0; layer.channels],
            })
        }
        _ => Layer::None,
    };
    graph.nodes.iter().map(|node| layer(&node.op)).collect()
}

/// Every weight of a convolution: output channel, input channel, tap.
fn places(
    outputs: usize,
    channels: usize,
    taps: usize,
) -> impl Iterator<Item = (usize, usize, usize)> {
    let inputs = move |o| (0..channels).flat_map(move |c| (0..taps).map(move |tap| (o, c, tap)));
    (0..outputs).flat_map(inputs)
}

/// The products, in the order and layout of the parameters.
pub fn collect(graph: &Graph, layers: &[Layer]) -> Vec<f64> {
    let mut all: Vec<Vec<f64>> =
        graph.parameters.iter().map(|parameter| vec![0.0; parameter.count()]).collect();
    for (node, layer) in graph.nodes.iter().zip(layers) {
        match (node.op, layer) {
            (Op::Conv { input, conv }, Layer::Kernel(kernel)) => {
                let channels = graph.nodes[input].shape.channels;
                let (outputs, taps) = (node.shape.channels, conv.kernel[0] * conv.kernel[1]);
                for (o, c, tap) in places(outputs, channels, taps) {
                    let from = (tap * channels + c) * outputs + o;
                    all[conv.weight][(o * channels + c) * taps + tap] = kernel.product[from];
                }
                if let Some(bias) = conv.bias {
                    all[bias].clone_from(&kernel.bias_product);
                }
            }
            (Op::Norm { norm, .. }, Layer::Affine(affine)) => {
                let norm = &graph.norms[norm];
                all[norm.weight].clone_from(&affine.product);
                all[norm.bias].clone_from(&affine.bias_product);
            }
            _ => {}
        }
    }
    all.concat()
}
