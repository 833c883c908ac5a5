//! `docs/numerics.md` once more, as plain loops: no vectors, no threads, no plan. In `f32` it
//! gives the engine's bits, in `f64` the reference for its accuracy. It follows the document
//! and shares only the description of the networks with the program.
#![allow(dead_code)]

pub mod accuracy;
mod backend;
pub mod cases;
mod conv;
mod loss;
mod norm;
mod passes;
mod pool;
pub mod random;
pub mod real;
pub mod sums;
mod update;

use bad_global_minima::backend::{Examples, Totals, With};
use bad_global_minima::models::graph::{Graph, NormId};
use bad_global_minima::models::state::State;
use bad_global_minima::spec::Optimizer;
use loss::Loss;
use passes::Pass;
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

    /// Logits, and gradients of the loss of training, where every ReLU and max pooling decides
    /// as in single precision: near a jump of the gradient either side is right.
    pub fn following(
        &self,
        single: &Naive<f32>,
        examples: Examples<'_>,
        with: With,
    ) -> (Vec<T>, Gradients<T>) {
        let values = single.forward(examples.inputs, with).values.into_iter();
        let deciding = values
            .map(|v| Maps { data: numbers(&v.data), images: v.images, shape: v.shape })
            .collect();
        let pass = self.run(&numbers(examples.inputs), with, Some(deciding));
        let gradients = self.backward(&pass, &self.loss_of(&pass, examples.labels), with);
        (pass.values[self.graph.logits()].data.clone(), gradients)
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
}

fn numbers<T: Real>(values: &[f32]) -> Vec<T> {
    values.iter().map(|&v| T::from_single(v)).collect()
}
