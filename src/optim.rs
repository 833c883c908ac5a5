//! Update rules with PyTorch's exact semantics, and their state, which tch neither saves
//! nor shows: resuming needs it.

use crate::models::weights::{NamedTensors, WeightsError};
use crate::models::{Named, Network};
use crate::planted;
use crate::spec::Optimizer;
use crate::torch::{self, AdamMoments, TorchError};
use tch::{Device, Kind, Tensor};

/// An update rule with its running state, one tensor a parameter where there is any.
pub struct OptimizerState {
    rule: Optimizer,
    parameters: Vec<Tensor>,
    names: Vec<String>,
    /// Momentum buffers, or Adam's first moments.
    first: Vec<Tensor>,
    /// Adam's second moments.
    second: Vec<Tensor>,
    /// Adam's step counts, `[]` each.
    steps: Vec<Tensor>,
}

impl OptimizerState {
    /// The rule at its beginning: all state is zero. (PyTorch sets the momentum buffer to
    /// the first gradient, which is what a buffer of zeros becomes.)
    pub fn new(rule: &Optimizer, network: &Network) -> Self {
        let parameters = network.trainable();
        let zeros = || parameters.iter().map(|p| p.detach().zeros_like()).collect::<Vec<_>>();
        let count = |device: Device| Tensor::zeros([], (Kind::Float, device));
        let (first, second, steps) = match rule {
            Optimizer::Sgd { momentum, .. } if *momentum == 0.0 => Default::default(),
            Optimizer::Sgd { .. } => (zeros(), Vec::new(), Vec::new()),
            Optimizer::Adam { .. } => {
                (zeros(), zeros(), parameters.iter().map(|p| count(p.device())).collect())
            }
        };
        let names = network.parameters.iter().map(|Named { name, .. }| name.clone()).collect();
        OptimizerState { rule: rule.clone(), parameters, names, first, second, steps }
    }

    /// The tensors that are updated, in the order in which gradients are expected.
    pub fn parameters(&self) -> &[Tensor] {
        &self.parameters
    }

    /// Updates the parameters in place. `gradients` are in the order of the parameters.
    ///
    /// # Errors
    /// If libtorch refuses the tensors.
    pub fn step(&mut self, gradients: &[Tensor], learning_rate: f64) -> Result<(), TorchError> {
        match self.rule {
            Optimizer::Sgd { momentum, weight_decay } => {
                let momentum = if planted::momentum_off() { 0.0 } else { momentum };
                let rates = (learning_rate, momentum, planted_decay(weight_decay));
                torch::sgd_step(&self.parameters, gradients, &self.first, rates, false)
            }
            Optimizer::Adam { weight_decay } => {
                tch::no_grad(|| self.steps.iter_mut().for_each(|step| drop(step.g_add_scalar_(1))));
                let moments =
                    AdamMoments { first: &self.first, second: &self.second, steps: &self.steps };
                torch::adam_step(&self.parameters, gradients, &moments, learning_rate, weight_decay)
            }
        }
    }

    /// All state under names that [`OptimizerState::load`] reads again.
    pub fn state(&self) -> NamedTensors {
        let side = |label: &'static str, tensors: &[Tensor]| {
            let named = self.names.iter().zip(tensors);
            named.map(|(name, t)| (format!("{label}/{name}"), t.copy())).collect::<Vec<_>>()
        };
        let sides =
            [side("first", &self.first), side("second", &self.second), side("step", &self.steps)];
        sides.into_iter().flatten().collect()
    }

    /// Takes over state that [`OptimizerState::state`] gave.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape.
    pub fn load(&mut self, state: &NamedTensors) -> Result<(), WeightsError> {
        let sides =
            [("first", &mut self.first), ("second", &mut self.second), ("step", &mut self.steps)];
        for (label, tensors) in sides {
            for (name, tensor) in self.names.iter().zip(tensors.iter_mut()) {
                let name = format!("{label}/{name}");
                let saved = state.get(&name).ok_or(WeightsError::Missing(name.clone()))?;
                if saved.size() != tensor.size() {
                    return Err(WeightsError::Format(format!("tensor '{name}' has another shape")));
                }
                tensor.copy_(saved);
            }
        }
        Ok(())
    }
}

fn planted_decay(weight_decay: f64) -> f64 {
    if planted::weight_decay_off() {
        0.0
    } else if planted::weight_decay_doubled() {
        2.0 * weight_decay
    } else {
        weight_decay
    }
}
