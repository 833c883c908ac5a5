//! Products of the loss's Hessian with a direction (Pearlmutter 1994), in plain double
//! precision: every number of a gradient together with its derivative along the direction.
//!
//! Not by differences of gradients: networks with ReLU are smooth only in pieces, and with a few
//! hundred images a step that single precision can resolve crosses the borders of many. (Tried
//! on trained networks at steps from 0.03 to 1e-4: wrong by 1 to 70%.) Here, as in a double
//! backward pass, it is settled at the weights themselves which units are on.

use super::Examples;
use crate::models::graph::{Conv, Graph, Op, Shape};
use crate::models::state::{BATCH_NORM_EPS, State};

/// Numbers and their derivatives, `[pixel][channel]`.
#[derive(Clone, Debug, Default)]
struct Dual {
    value: Vec<f64>,
    slope: Vec<f64>,
}

impl Dual {
    fn zeros(count: usize) -> Dual {
        Dual { value: vec![0.0; count], slope: vec![0.0; count] }
    }

    /// Adds another's numbers to those from `place` on.
    fn add(&mut self, place: usize, value: f64, slope: f64) {
        self.value[place] += value;
        self.slope[place] += slope;
    }
}

/// A convolution's weights and their direction, for both ways through it.
struct Kernel {
    /// `[tap][input channel][output channel]`
    forward: Dual,
    /// `[tap][output channel][input channel]`
    backward: Dual,
    bias: Dual,
    /// Product of the Hessian, in the layout of `forward`, and for the bias.
    product: Vec<f64>,
    bias_product: Vec<f64>,
}

/// BatchNorm in evaluation mode.
struct Affine {
    mean: Vec<f64>,
    /// `1 / sqrt(variance + epsilon)`
    inverse: Vec<f64>,
    weight: Dual,
    bias: Dual,
    product: Vec<f64>,
    bias_product: Vec<f64>,
}

/// What a node computes with.
enum Layer {
    Kernel(Kernel),
    Affine(Affine),
    None,
}

/// Product of the Hessian of the training loss (in evaluation mode) on some examples with a
/// direction, all parameters in a row.
pub(super) fn hessian_times(
    graph: &Graph,
    state: &State,
    examples: Examples<'_>,
    direction: &[f64],
) -> Vec<f64> {
    let mut layers = layers(graph, state, direction);
    let size = graph.signature.input.values();
    for (image, &label) in examples.inputs.chunks_exact(size).zip(examples.labels) {
        let values = forward(graph, &layers, image);
        let gradient = loss(&values[graph.logits()], label, examples.labels.len());
        backward(graph, &mut layers, &values, gradient);
    }
    collect(graph, &layers)
}

fn layers(graph: &Graph, state: &State, direction: &[f64]) -> Vec<Layer> {
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
fn collect(graph: &Graph, layers: &[Layer]) -> Vec<f64> {
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

/// All values of one image.
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
                    let slope = affine.weight.value[c] * affine.inverse[c];
                    let centred = (x.value[place] - affine.mean[c]) * affine.inverse[c];
                    let value = affine.weight.value[c] * centred + affine.bias.value[c];
                    let moved = affine.weight.slope[c] * centred + affine.bias.slope[c];
                    out.add(place, value, x.slope[place] * slope + moved);
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

/// Gradient of the loss with respect to the logits of one example of a batch.
fn loss(logits: &Dual, label: i64, batch: usize) -> Dual {
    if let ([z], [along]) = (&logits.value[..], &logits.slope[..]) {
        let p = 1.0 / (1.0 + libm::exp(-z));
        return Dual { value: vec![p - label as f64], slope: vec![p * (1.0 - p) * along] };
    }
    let top = logits.value.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = logits.value.iter().map(|z| libm::exp(z - top)).collect();
    let sum = e.iter().fold(0.0, |sum, e| sum + e);
    let p: Vec<f64> = e.into_iter().map(|e| e / sum).collect();
    let mean = p.iter().zip(&logits.slope).fold(0.0, |sum, (p, along)| sum + p * along);
    let count = batch as f64;
    let value = (0..).zip(&p).map(|(class, p)| (p - f64::from(u8::from(class == label))) / count);
    let slope = p.iter().zip(&logits.slope).map(|(p, along)| p * (along - mean) / count);
    Dual { value: value.collect(), slope: slope.collect() }
}

/// Adds what one image gives to the products.
fn backward(graph: &Graph, layers: &mut [Layer], values: &[Dual], last: Dual) {
    let mut gradients: Vec<Option<Dual>> = vec![None; graph.nodes.len()];
    gradients[graph.logits()] = Some(last);
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        let Some(g) = gradients[id].take() else { continue };
        for input in node.op.inputs() {
            let size = graph.nodes[input].shape.values();
            gradients[input].get_or_insert_with(|| Dual::zeros(size));
        }
        let of = |gradients: &mut Vec<Option<Dual>>, input: usize| -> Dual {
            gradients[input].take().unwrap_or_default()
        };
        match (node.op, &mut layers[id]) {
            (Op::Input, _) => {}
            (Op::Conv { input, conv }, Layer::Kernel(kernel)) => {
                let mut dx = of(&mut gradients, input);
                let from = graph.nodes[input].shape;
                convolve_back(&conv, kernel, (&values[input], &mut dx, from), (&g, node.shape));
                gradients[input] = Some(dx);
            }
            (Op::Norm { input, .. }, Layer::Affine(affine)) => {
                let (mut dx, x) = (of(&mut gradients, input), &values[input]);
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
                let mut dx = of(&mut gradients, input);
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

/// Calls `visit(input, its place, place of the output, factor)` for everything that a node
/// without weights adds up.
fn each_use(
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

/// Pairs of an output and an input pixel, with the tap that connects them.
fn each_tap(conv: &Conv, from: Shape, to: Shape, mut visit: impl FnMut(usize, usize, usize)) {
    let [height, width] = conv.kernel;
    let inside = |output: usize, tap: usize, side: usize| {
        (output * conv.stride + tap).checked_sub(conv.padding).filter(|&place| place < side)
    };
    for (y, x) in (0..to.height).flat_map(|y| (0..to.width).map(move |x| (y, x))) {
        for ky in 0..height {
            let Some(row) = inside(y, ky, from.height) else { continue };
            for kx in 0..width {
                let Some(column) = inside(x, kx, from.width) else { continue };
                visit(y * to.width + x, row * from.width + column, ky * width + kx);
            }
        }
    }
}

fn convolve(
    conv: &Conv,
    kernel: &Kernel,
    (x, from): (&Dual, Shape),
    (out, to): (&mut Dual, Shape),
) {
    for pixel in 0..to.pixels() {
        let row = pixel * to.channels..(pixel + 1) * to.channels;
        out.value[row.clone()].copy_from_slice(&kernel.bias.value);
        out.slope[row].copy_from_slice(&kernel.bias.slope);
    }
    each_tap(conv, from, to, |pixel, source, tap| {
        let row = pixel * to.channels..(pixel + 1) * to.channels;
        let (y, along) = (&mut out.value[row.clone()], &mut out.slope[row]);
        for c in 0..from.channels {
            let place = source * from.channels + c;
            let (value, slope) = (x.value[place], x.slope[place]);
            if value == 0.0 && slope == 0.0 {
                continue;
            }
            let first = (tap * from.channels + c) * to.channels;
            let w = &kernel.forward.value[first..][..y.len()];
            let v = &kernel.forward.slope[first..][..y.len()];
            for o in 0..w.len() {
                y[o] += value * w[o];
                along[o] += slope * w[o] + value * v[o];
            }
        }
    });
}

fn convolve_back(
    conv: &Conv,
    kernel: &mut Kernel,
    (x, dx, from): (&Dual, &mut Dual, Shape),
    (g, to): (&Dual, Shape),
) {
    for slopes in g.slope.chunks_exact(to.channels) {
        kernel.bias_product.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
    }
    each_tap(conv, from, to, |pixel, source, tap| {
        let row = pixel * to.channels..(pixel + 1) * to.channels;
        let (value, slope) = (&g.value[row.clone()], &g.slope[row]);
        let below = source * from.channels..(source + 1) * from.channels;
        for c in 0..from.channels {
            let (a, b) = (x.value[below.start + c], x.slope[below.start + c]);
            if a == 0.0 && b == 0.0 {
                continue;
            }
            let first = (tap * from.channels + c) * to.channels;
            let product = &mut kernel.product[first..][..value.len()];
            for o in 0..product.len() {
                product[o] += b * value[o] + a * slope[o];
            }
        }
        let (d, along) = (&mut dx.value[below.clone()], &mut dx.slope[below]);
        for o in 0..to.channels {
            let (a, b) = (value[o], slope[o]);
            if a == 0.0 && b == 0.0 {
                continue;
            }
            let first = (tap * to.channels + o) * from.channels;
            let w = &kernel.backward.value[first..][..d.len()];
            let v = &kernel.backward.slope[first..][..d.len()];
            for c in 0..w.len() {
                d[c] += a * w[c];
                along[c] += b * w[c] + a * v[c];
            }
        }
    });
}
