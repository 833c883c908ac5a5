//! Update rules with PyTorch's exact semantics, and their state, which tch neither saves
//! nor shows: resuming needs it. And the step of training that uses them.

use super::layers::Mode;
use super::network::{Network, training_loss, values};
use super::{AdamMoments, TorchError, adam_step, sgd_step};
use crate::backend::OptimizerState;
use crate::spec::Optimizer;
use tch::{Kind, Tensor};

/// An update rule with its running state, one tensor a parameter where there is any.
pub struct UpdateRule {
    rule: Optimizer,
    parameters: Vec<Tensor>,
    /// Momentum buffers, or Adam's first moments.
    first: Vec<Tensor>,
    /// Adam's second moments.
    second: Vec<Tensor>,
    /// Adam's step counts, `[]` each.
    steps: Vec<Tensor>,
}

impl UpdateRule {
    /// The rule at its beginning: all state is zero. (PyTorch sets the momentum buffer to
    /// the first gradient, which is what a buffer of zeros becomes.)
    pub fn new(rule: &Optimizer, network: &Network) -> Self {
        let parameters: Vec<Tensor> =
            network.parameters().iter().map(Tensor::shallow_clone).collect();
        let zeros = || parameters.iter().map(|p| p.detach().zeros_like()).collect::<Vec<_>>();
        let count = || Tensor::zeros([], (Kind::Float, network.device()));
        let (first, second, steps) = match rule {
            Optimizer::Sgd { momentum, .. } if *momentum == 0.0 => Default::default(),
            Optimizer::Sgd { .. } => (zeros(), Vec::new(), Vec::new()),
            Optimizer::Adam { .. } => {
                (zeros(), zeros(), parameters.iter().map(|_| count()).collect())
            }
        };
        UpdateRule { rule: rule.clone(), parameters, first, second, steps }
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
                let rates = (learning_rate, momentum, weight_decay);
                sgd_step(&self.parameters, gradients, &self.first, rates, false)
            }
            Optimizer::Adam { weight_decay } => {
                tch::no_grad(|| self.steps.iter_mut().for_each(|step| drop(step.g_add_scalar_(1))));
                let moments =
                    AdamMoments { first: &self.first, second: &self.second, steps: &self.steps };
                adam_step(&self.parameters, gradients, &moments, learning_rate, weight_decay)
            }
        }
    }

    /// All state as plain numbers.
    pub fn state(&self) -> OptimizerState {
        OptimizerState {
            first: self.first.iter().map(values).collect(),
            second: self.second.iter().map(values).collect(),
            steps: self.steps.first().map_or(0, |step| step.double_value(&[]) as i64),
        }
    }

    /// Goes on from a state of the same rule.
    pub fn set_state(&mut self, state: &OptimizerState) {
        let sides = [(&mut self.first, &state.first), (&mut self.second, &state.second)];
        for (own, new) in sides {
            for (tensor, values) in own.iter_mut().zip(new) {
                let size = tensor.size();
                tensor.copy_(&Tensor::from_slice(values).view(size.as_slice()));
            }
        }
        self.steps.iter_mut().for_each(|step| drop(step.fill_(state.steps)));
    }
}

/// One step of training on a batch: logits and loss before the update, detached from the graph
/// of autograd, which would hold every activation.
///
/// # Errors
/// If libtorch fails.
pub fn step(
    network: &mut Network,
    rule: &mut UpdateRule,
    (inputs, labels): (&Tensor, &Tensor),
    rate: f64,
) -> Result<(Tensor, Tensor), TorchError> {
    let logits = network.forward(inputs, Mode::Train);
    let loss = training_loss(&logits, labels);
    let gradients = Tensor::f_run_backward(&[&loss], rule.parameters(), false, false)?;
    rule.step(&gradients, rate)?;
    network.batches_tracked += 1;
    Ok((logits.detach(), loss.detach()))
}
