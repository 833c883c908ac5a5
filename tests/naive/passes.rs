//! Forward and backward over the nodes of a graph.

use super::loss::Loss;
use super::norm::{self, Channel};
use super::real::Real;
use super::sums::Maps;
use super::{Gradients, Naive, conv, pool};
use bad_global_minima::backend::With;
use bad_global_minima::models::graph::{NormId, Op, Shape, ValueId};

/// Values of all nodes, and what each BatchNorm layer normalized with.
pub struct Pass<T> {
    pub values: Vec<Maps<T>>,
    pub norms: Vec<Vec<Channel<T>>>,
    /// Values that decide what each ReLU passes on and each max pooling picks, where they are
    /// not the pass's own.
    deciding: Option<Vec<Maps<T>>>,
}

impl<T> Pass<T> {
    fn deciding(&self, id: ValueId) -> &Maps<T> {
        self.deciding.as_ref().map_or(&self.values[id], |values| &values[id])
    }
}

impl<T: Real> Naive<T> {
    pub fn forward(&self, inputs: &[T], with: With) -> Pass<T> {
        self.run(inputs, with, None)
    }

    /// `deciding`: as in [`Pass`].
    pub fn run(&self, inputs: &[T], with: With, deciding: Option<Vec<Maps<T>>>) -> Pass<T> {
        let input = self.graph.signature.input;
        let images = inputs.len() / input.values();
        let mut pass = Pass { values: Vec::new(), norms: Vec::new(), deciding };
        for (id, node) in self.graph.nodes.iter().enumerate() {
            let value = |id: ValueId| &pass.values[id];
            let to = node.shape;
            let next = match node.op {
                Op::Input => {
                    let mut x = Maps::zeros(images, input);
                    for (at, &v) in inputs.iter().enumerate() {
                        let (row, channel) = (at / input.channels, at % input.channels);
                        let (image, pixel) = (row / input.pixels(), row % input.pixels());
                        x.set(image, channel, pixel, v);
                    }
                    x
                }
                Op::Conv { input, conv } => {
                    let bias = conv.bias.map(|bias| self.parameters[bias].as_slice());
                    conv::forward(value(input), to, &conv, &self.parameters[conv.weight], bias)
                }
                Op::Norm { input, norm } => {
                    let channels = self.channels(value(input), norm, with);
                    let y = norm::forward(value(input), &channels);
                    assert_eq!(pass.norms.len(), norm, "norms are numbered as they come");
                    pass.norms.push(channels);
                    y
                }
                Op::Relu { input } => match &pass.deciding {
                    None => map(value(input), |x| if x < T::ZERO { T::ZERO } else { x }),
                    Some(y) => {
                        join(value(input), &y[id], |x, y| if y > T::ZERO { x } else { T::ZERO })
                    }
                },
                Op::Add { left, right } => join(value(left), value(right), |l, r| l + r),
                Op::Concat { first, second } => concat(value(first), value(second), to.channels),
                Op::MaxPool { input } => pool::max(value(input), pass.deciding(input), to),
                Op::MeanPool { input } => pool::mean(value(input), to),
                Op::GlobalMean { input } => pool::global_mean(value(input), to),
            };
            assert_eq!(next.shape, to);
            pass.values.push(next);
        }
        pass
    }

    fn channels(&self, x: &Maps<T>, norm: NormId, with: With) -> Vec<Channel<T>> {
        let layer = &self.graph.norms[norm];
        let (weight, bias) = (&self.parameters[layer.weight], &self.parameters[layer.bias]);
        let running = &self.running[norm];
        let channel = |at: usize| match with {
            With::Batch => Channel::of_batch(x, at, weight[at], bias[at]),
            With::Evaluation => {
                Channel::running(running.mean[at], running.variance[at], weight[at], bias[at])
            }
        };
        (0..layer.channels).map(channel).collect()
    }

    pub fn backward(&self, pass: &Pass<T>, loss: &Loss<T>, with: With) -> Gradients<T> {
        let mut of_values: Vec<Option<Maps<T>>> = vec![None; self.graph.nodes.len()];
        let mut parameters = vec![Vec::new(); self.parameters.len()];
        of_values[self.graph.logits()] = Some(loss.gradient.clone());
        for (id, node) in self.graph.nodes.iter().enumerate().skip(1).rev() {
            let g = of_values[id].take().expect("every value is used");
            let value = |id: ValueId| &pass.values[id];
            match node.op {
                Op::Input => unreachable!("skipped"),
                Op::Conv { input, conv } => {
                    parameters[conv.weight] = conv::backward_weights(value(input), &g, &conv);
                    if let Some(bias) = conv.bias {
                        parameters[bias] = conv::backward_bias(&g);
                    }
                    let old = of_values[input].take();
                    let mut dx = old.unwrap_or_else(|| Maps::zeros(g.images, value(input).shape));
                    conv::backward_inputs(&mut dx, &g, &conv, &self.parameters[conv.weight]);
                    of_values[input] = Some(dx);
                }
                Op::Norm { input, norm } => {
                    let layer = &self.graph.norms[norm];
                    let (channels, weight) = (&pass.norms[norm], &self.parameters[layer.weight]);
                    let of_batch = with == With::Batch;
                    let found = norm::backward(value(input), &g, channels, weight, of_batch);
                    parameters[layer.weight] = found.weight;
                    parameters[layer.bias] = found.bias;
                    contribute(&mut of_values[input], found.inputs);
                }
                Op::Relu { input } => {
                    let dx =
                        join(pass.deciding(id), &g, |y, g| if y > T::ZERO { g } else { T::ZERO });
                    contribute(&mut of_values[input], dx);
                }
                Op::Add { left, right } => {
                    contribute(&mut of_values[left], g.clone());
                    contribute(&mut of_values[right], g);
                }
                Op::Concat { first, second } => {
                    let [head, tail] = split(&g, value(first), value(second));
                    contribute(&mut of_values[first], head);
                    contribute(&mut of_values[second], tail);
                }
                Op::MaxPool { input } => {
                    let dx = pool::max_backward(pass.deciding(input), &g);
                    contribute(&mut of_values[input], dx);
                }
                Op::MeanPool { input } => {
                    contribute(&mut of_values[input], pool::mean_backward(value(input), &g));
                }
                Op::GlobalMean { input } => {
                    let dx = pool::global_mean_backward(value(input), &g);
                    contribute(&mut of_values[input], dx);
                }
            }
        }
        let inputs = of_values[0].take().expect("the input is used");
        Gradients { parameters, inputs: channels_last(&inputs) }
    }
}

/// The first contribution as it is, a later one added.
fn contribute<T: Real>(to: &mut Option<Maps<T>>, new: Maps<T>) {
    *to = Some(match to.take() {
        None => new,
        Some(old) => join(&old, &new, |old, new| old + new),
    });
}

fn map<T: Real>(x: &Maps<T>, of: impl Fn(T) -> T) -> Maps<T> {
    Maps { data: x.data.iter().map(|&x| of(x)).collect(), ..*x }
}

fn join<T: Real>(a: &Maps<T>, b: &Maps<T>, of: impl Fn(T, T) -> T) -> Maps<T> {
    Maps { data: a.data.iter().zip(&b.data).map(|(&a, &b)| of(a, b)).collect(), ..*a }
}

fn concat<T: Real>(first: &Maps<T>, second: &Maps<T>, channels: usize) -> Maps<T> {
    let (a, b) = (first.shape.values(), second.shape.values());
    let images = first.data.chunks(a).zip(second.data.chunks(b));
    let data = images.flat_map(|(a, b)| [a, b].concat()).collect();
    let shape = Shape { channels, ..first.shape };
    Maps { images: first.images, shape, data }
}

fn split<T: Real>(g: &Maps<T>, first: &Maps<T>, second: &Maps<T>) -> [Maps<T>; 2] {
    let (a, mut parts) = (first.shape.values(), [Vec::new(), Vec::new()]);
    for image in g.data.chunks(g.shape.values()) {
        parts[0].extend_from_slice(&image[..a]);
        parts[1].extend_from_slice(&image[a..]);
    }
    let [head, tail] = parts;
    [Maps { data: head, ..*first }, Maps { data: tail, ..*second }]
}

fn channels_last<T: Real>(x: &Maps<T>) -> Vec<T> {
    let mut out = Vec::new();
    for image in 0..x.images {
        for pixel in 0..x.shape.pixels() {
            out.extend((0..x.shape.channels).map(|channel| x.get(image, channel, pixel)));
        }
    }
    out
}
