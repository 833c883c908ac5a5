//! `docs/numerics.md` once more, as plain loops: no vectors, no threads, no plan. In `f32` it
//! gives the engine's bits, in `f64` the reference for its accuracy. It follows the document
//! and shares only the description of the networks with the program.
#![allow(dead_code)]

mod backend;
pub mod cases;
mod conv;
mod loss;
mod norm;
mod pool;
pub mod random;
pub mod real;
pub mod sums;
mod update;

use bad_global_minima::backend::{Examples, Totals, With};
use bad_global_minima::models::graph::{Graph, NormId, Op, ValueId};
use bad_global_minima::models::state::State;
use bad_global_minima::spec::Optimizer;
use loss::Loss;
use norm::Channel;
use real::Real;
use sums::Maps;
use update::Moments;

/// Running statistics of a BatchNorm layer, `[channels]` each.
#[derive(Clone, Debug)]
pub struct Running<T> {
    pub mean: Vec<T>,
    pub variance: Vec<T>,
}

/// A network with its update rule.
#[derive(Clone, Debug)]
pub struct Naive<T> {
    graph: Graph,
    /// In PyTorch's order and memory layout.
    pub parameters: Vec<Vec<T>>,
    pub running: Vec<Running<T>>,
    pub batches_tracked: i64,
    rule: Optimizer,
    pub moments: Moments<T>,
    /// Sums over the training batches so far.
    pub totals: Totals,
}

/// Values of all nodes, and what each BatchNorm layer normalized with.
struct Pass<T> {
    values: Vec<Maps<T>>,
    norms: Vec<Vec<Channel<T>>>,
}

/// Gradients of one batch's loss.
pub struct Gradients<T> {
    /// Of each parameter.
    pub parameters: Vec<Vec<T>>,
    /// `[batch, height, width, channels]`
    pub inputs: Vec<T>,
}

impl<T: Real> Naive<T> {
    pub fn new(graph: &Graph, state: &State, rule: &Optimizer) -> Naive<T> {
        let list = |values: &Vec<f32>| numbers(values);
        let parameters: Vec<Vec<T>> = state.parameters.iter().map(list).collect();
        let running = (state.running.iter())
            .map(|r| Running { mean: list(&r.mean), variance: list(&r.variance) })
            .collect();
        Naive {
            graph: graph.clone(),
            moments: Moments::new(rule, &parameters),
            parameters,
            running,
            batches_tracked: state.batches_tracked,
            rule: rule.clone(),
            totals: Totals::default(),
        }
    }

    /// One step of training.
    pub fn step(&mut self, examples: Examples<'_>, rate: f64) {
        let pass = self.forward(&numbers(examples.inputs), With::Batch);
        let loss = self.loss_of(&pass, examples.labels);
        loss.add_to(&mut self.totals);
        for norm in 0..self.running.len() {
            self.track(&pass, norm, |old, new| T::of(0.9) * old + T::of(0.1) * new);
        }
        self.batches_tracked += 1;
        let gradients = self.backward(&pass, &loss, With::Batch);
        self.moments.step(&self.rule, &mut self.parameters, &gradients.parameters, rate);
    }

    /// Makes the running statistics those of this batch.
    pub fn take_statistics(&mut self, inputs: &[f32]) {
        let pass = self.forward(&numbers(inputs), With::Batch);
        for norm in 0..self.running.len() {
            self.track(&pass, norm, |_, new| new);
        }
    }

    /// Logits `[batch, outputs]` in evaluation mode.
    pub fn outputs_of(&self, inputs: &[f32]) -> Vec<T> {
        self.forward(&numbers(inputs), With::Evaluation)
            .values
            .swap_remove(self.graph.logits())
            .data
    }

    /// Adds loss and hits of a batch to the totals.
    pub fn add_losses(&mut self, examples: Examples<'_>, with: With) {
        let pass = self.forward(&numbers(examples.inputs), with);
        self.loss_of(&pass, examples.labels).add_to(&mut self.totals);
    }

    /// Loss and hits of inputs that need not be single.
    pub fn evaluate_at(&self, inputs: &[T], labels: &[i64], with: With) -> Totals {
        let mut totals = Totals::default();
        self.loss_of(&self.forward(inputs, with), labels).add_to(&mut totals);
        totals
    }

    /// Gradients of the loss of training.
    pub fn gradients(&self, examples: Examples<'_>, with: With) -> Gradients<T> {
        let pass = self.forward(&numbers(examples.inputs), with);
        self.backward(&pass, &self.loss_of(&pass, examples.labels), with)
    }

    pub fn outputs(&self) -> usize {
        self.graph.signature.outputs
    }

    fn loss_of(&self, pass: &Pass<T>, labels: &[i64]) -> Loss<T> {
        loss::loss(&pass.values[self.graph.logits()], labels)
    }

    fn track(&mut self, pass: &Pass<T>, norm: NormId, blend: impl Fn(T, T) -> T) {
        let running = &mut self.running[norm];
        for (channel, of) in pass.norms[norm].iter().enumerate() {
            let (mean, variance) = (&mut running.mean[channel], &mut running.variance[channel]);
            *mean = blend(*mean, of.mean);
            *variance = blend(*variance, of.variance);
        }
    }

    fn forward(&self, inputs: &[T], with: With) -> Pass<T> {
        let input = self.graph.signature.input;
        let images = inputs.len() / input.values();
        let mut pass = Pass { values: Vec::new(), norms: Vec::new() };
        for node in &self.graph.nodes {
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
                Op::Relu { input } => map(value(input), |x| if x < T::ZERO { T::ZERO } else { x }),
                Op::Add { left, right } => join(value(left), value(right), |l, r| l + r),
                Op::Concat { first, second } => concat(value(first), value(second), to.channels),
                Op::MaxPool { input } => pool::max(value(input), to),
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

    fn backward(&self, pass: &Pass<T>, loss: &Loss<T>, with: With) -> Gradients<T> {
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
                    let dx = join(value(id), &g, |y, g| if y > T::ZERO { g } else { T::ZERO });
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
                    contribute(&mut of_values[input], pool::max_backward(value(input), &g));
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

fn numbers<T: Real>(values: &[f32]) -> Vec<T> {
    values.iter().map(|&v| T::from_single(v)).collect()
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
    let shape = bad_global_minima::models::graph::Shape { channels, ..first.shape };
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
