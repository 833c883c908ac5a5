//! Where parameters lie in the engine's memory, and the way there from PyTorch's order.

use super::kernels::{Arena, GROUP, ORDER, ROW, Weighted};
use super::plan::{ConvStep, Plan, Step};
use crate::models::graph::{Graph, ParameterId};

/// How the numbers of one parameter lie.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// `[outputs]` as they are.
    Vector,
    /// `[output / 8][tap][input][output % 8]`, the last in [`ORDER`].
    Kernel { inputs: usize, taps: usize },
}

/// One parameter.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: usize,
    count: usize,
    form: Form,
}

/// Places of all parameters. Gradients and the update's state lie in the same way.
#[derive(Debug)]
pub struct Parameters {
    entries: Vec<Entry>,
    len: usize,
}

impl Parameters {
    pub fn new(graph: &Graph, plan: &Plan) -> Parameters {
        let mut kernels = vec![None; graph.parameters.len()];
        for step in &plan.steps {
            if let Step::Conv(ConvStep { x, weight, geometry, .. }) = step {
                let inputs = graph.nodes[x.value].shape.channels;
                kernels[*weight] = Some(Form::Kernel { inputs, taps: geometry.taps() });
            }
        }
        let mut len: usize = 0;
        let entries = (graph.parameters.iter().zip(kernels))
            .map(|(parameter, kernel)| {
                let outputs = parameter.shape[0].next_multiple_of(GROUP);
                let (at, form) = (len, kernel.unwrap_or(Form::Vector));
                let rest = match form {
                    Form::Vector => 1,
                    Form::Kernel { inputs, taps } => inputs * taps,
                };
                len += (outputs * rest).next_multiple_of(ROW);
                Entry { at, count: parameter.count(), form }
            })
            .collect();
        Parameters { entries, len }
    }

    /// Memory for a number of each.
    pub fn arena(&self) -> Arena {
        Arena::new(self.len)
    }

    /// First number of a parameter.
    pub fn at(&self, parameter: ParameterId) -> usize {
        self.entries[parameter].at
    }

    /// Weight and bias of a convolution.
    pub fn of(&self, step: &ConvStep) -> Weighted {
        Weighted { weight: self.at(step.weight), bias: step.bias.map(|bias| self.at(bias)) }
    }

    /// Copies all parameters from PyTorch's order.
    pub fn load(&self, from: &[Vec<f32>], arena: &mut Arena) {
        let to = arena.values_mut();
        for (entry, from) in self.entries.iter().zip(from) {
            entry.places().zip(from).for_each(|(at, &value)| to[at] = value);
        }
    }

    /// All parameters in PyTorch's order.
    pub fn store(&self, arena: &Arena) -> Vec<Vec<f32>> {
        let from = arena.values();
        self.entries.iter().map(|entry| entry.places().map(|at| from[at]).collect()).collect()
    }
}

impl Entry {
    /// Places of the numbers in PyTorch's order.
    fn places(self) -> impl Iterator<Item = usize> {
        let place = move |index: usize| match self.form {
            Form::Vector => index,
            Form::Kernel { inputs, taps } => {
                let (output, input, tap) =
                    (index / taps / inputs, index / taps % inputs, index % taps);
                let row = (output / GROUP * taps + tap) * inputs + input;
                // `ORDER` is its own inverse.
                row * GROUP + ORDER[output % GROUP]
            }
        };
        (0..self.count).map(move |index| self.at + place(index))
    }
}
