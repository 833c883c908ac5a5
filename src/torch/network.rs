//! A network's graph run by libtorch.

use super::layers::{self, Mode};
use crate::backend::Examples;
use crate::models::graph::{Graph, Op, ValueId};
use crate::models::state::{Running, State};
use tch::{Device, Kind, Reduction, Tensor};

/// Tensors of a network on a device. Images are channels-last in memory throughout.
pub struct Network {
    graph: Graph,
    device: Device,
    /// In the graph's order.
    parameters: Vec<Tensor>,
    /// Running mean and variance of each of the graph's norms.
    running: Vec<(Tensor, Tensor)>,
    /// Training batches that BatchNorm has seen.
    pub batches_tracked: i64,
    /// Values that no node after this one reads.
    done_after: Vec<Vec<ValueId>>,
}

impl Network {
    /// A network with these weights.
    pub fn new(graph: &Graph, state: &State, device: Device) -> Network {
        let parameter = |(values, shape): (&Vec<f32>, &Vec<usize>)| {
            let tensor = tensor(values, shape).to_device(device);
            let tensor = if shape.len() == 4 { layers::channels_last(&tensor) } else { tensor };
            tensor.set_requires_grad(true)
        };
        let shapes = graph.parameters.iter().map(|parameter| &parameter.shape);
        let vector = |values: &Vec<f32>| Tensor::from_slice(values).to_device(device);
        Network {
            parameters: state.parameters.iter().zip(shapes).map(parameter).collect(),
            running: (state.running.iter())
                .map(|running| (vector(&running.mean), vector(&running.variance)))
                .collect(),
            batches_tracked: state.batches_tracked,
            done_after: graph.done_after(),
            graph: graph.clone(),
            device,
        }
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn device(&self) -> Device {
        self.device
    }

    /// The trainable tensors, in the graph's order.
    pub fn parameters(&self) -> &[Tensor] {
        &self.parameters
    }

    /// Weights and running statistics.
    pub fn state(&self) -> State {
        State {
            parameters: self.parameters.iter().map(values).collect(),
            running: (self.running.iter())
                .map(|(mean, variance)| Running { mean: values(mean), variance: values(variance) })
                .collect(),
            batches_tracked: self.batches_tracked,
        }
    }

    /// Replaces weights and running statistics in their places.
    pub fn set_state(&mut self, state: &State) {
        tch::no_grad(|| {
            for (own, new) in self.parameters.iter_mut().zip(&state.parameters) {
                let size = own.size();
                own.copy_(&Tensor::from_slice(new).view(size.as_slice()));
            }
            for ((mean, variance), new) in self.running.iter_mut().zip(&state.running) {
                mean.copy_(&Tensor::from_slice(&new.mean));
                variance.copy_(&Tensor::from_slice(&new.variance));
            }
        });
        self.batches_tracked = state.batches_tracked;
    }

    /// Inputs `[batch, channels, height, width]` on the device, of plain channels-last ones.
    pub fn inputs(&self, inputs: &[f32]) -> Tensor {
        let shape = self.graph.signature.input;
        let [channels, height, width] =
            [shape.channels, shape.height, shape.width].map(|side| side as i64);
        let images = Tensor::from_slice(inputs).view([-1, height, width, channels]);
        images.permute([0, 3, 1, 2]).to_device(self.device)
    }

    /// Inputs and labels `[batch]` on the device.
    pub fn examples(&self, examples: Examples<'_>) -> (Tensor, Tensor) {
        let labels = Tensor::from_slice(examples.labels).to_device(self.device);
        (self.inputs(examples.inputs), labels)
    }

    /// Logits `[batch, outputs]` of inputs `[batch, channels, height, width]`.
    pub fn forward(&self, input: &Tensor, mode: Mode) -> Tensor {
        let mut kept: Vec<Option<Tensor>> = Vec::with_capacity(self.graph.nodes.len());
        for (node, done) in self.graph.nodes.iter().zip(&self.done_after) {
            let at = |value: ValueId| kept[value].as_ref().expect("a value is kept while needed");
            let value = match node.op {
                Op::Input => input.shallow_clone(),
                Op::Conv { input, conv } => {
                    let weight = &self.parameters[conv.weight];
                    let bias = conv.bias.map(|bias| &self.parameters[bias]);
                    layers::convolution(at(input), weight, bias, &conv)
                }
                Op::Norm { input, norm } => {
                    let layer = &self.graph.norms[norm];
                    let affine = (&self.parameters[layer.weight], &self.parameters[layer.bias]);
                    let (mean, variance) = &self.running[norm];
                    layers::batch_norm(at(input), affine, (mean, variance), mode)
                }
                Op::Relu { input } => at(input).relu(),
                Op::Add { left, right } => at(left) + at(right),
                Op::Concat { first, second } => Tensor::cat(&[at(first), at(second)], 1),
                Op::MaxPool { input } => {
                    at(input).max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)
                }
                Op::MeanPool { input } => {
                    at(input).avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>)
                }
                Op::GlobalMean { input } => at(input).adaptive_avg_pool2d([1, 1]),
            };
            for &value in done {
                kept[value] = None;
            }
            kept.push(Some(value));
        }
        kept.pop().flatten().expect("a network has nodes")
    }
}

/// A tensor in the host's memory.
fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    let size: Vec<i64> = shape.iter().map(|&side| side as i64).collect();
    Tensor::from_slice(values).view(size.as_slice())
}

/// Values of a tensor of `f32` in standard memory order.
pub fn values(tensor: &Tensor) -> Vec<f32> {
    let flat = tensor.detach().to_device(Device::Cpu).contiguous().view([-1]);
    Vec::<f32>::try_from(&flat).expect("a flat tensor of f32")
}

/// The loss whose gradient is followed: mean cross-entropy over classes; for the toy's single
/// logit, binary cross-entropy summed over the batch (the authors' choice).
pub fn training_loss(logits: &Tensor, labels: &Tensor) -> Tensor {
    if logits.size()[1] > 1 {
        logits.cross_entropy_for_logits(labels)
    } else {
        binary_cross_entropy(logits, labels)
    }
}

/// Binary cross-entropy of logits `[batch, 1]`, summed.
fn binary_cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    let targets = labels.to_kind(Kind::Float).view([-1, 1]);
    logits.binary_cross_entropy_with_logits::<Tensor>(&targets, None, None, Reduction::Sum)
}

/// Sum of the examples' losses.
pub(super) fn total_loss(logits: &Tensor, labels: &Tensor) -> Tensor {
    if logits.size()[1] > 1 {
        let log_likelihood = logits.log_softmax(1, Kind::Float);
        log_likelihood.g_nll_loss::<Tensor>(labels, None, Reduction::Sum, -100)
    } else {
        binary_cross_entropy(logits, labels)
    }
}

/// Predicted classes `[batch]` of logits `[batch, outputs]`.
pub(super) fn predictions(logits: &Tensor) -> Tensor {
    if logits.size()[1] > 1 {
        logits.argmax(1, false)
    } else {
        logits.gt(0.0).to_kind(Kind::Int64).view([-1])
    }
}
