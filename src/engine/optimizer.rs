//! The update rule and its state.

use super::kernels::{Arena, Kept, Machine, Rule};
use super::parameters::Parameters;
use crate::backend::OptimizerState;
use crate::spec::Optimizer;

/// Adam's decay of its moments.
const BETAS: [f64; 2] = [0.9, 0.999];

/// A rule and what it keeps.
pub struct Updates {
    rule: Optimizer,
    first: Arena,
    second: Arena,
    steps: i64,
    /// Adam's betas to the power of `steps`.
    powers: [f64; 2],
}

impl Updates {
    /// All state is zero.
    pub fn new(rule: Optimizer, places: &Parameters) -> Updates {
        let arena = |needed: bool| if needed { places.arena() } else { Arena::new(0) };
        let (first, second) = kept(&rule);
        let (first, second) = (arena(first), arena(second));
        Updates { rule, first, second, steps: 0, powers: [1.0; 2] }
    }

    pub fn state(&self, places: &Parameters) -> OptimizerState {
        let (first, second) = kept(&self.rule);
        let list = |kept: bool, arena: &Arena| if kept { places.store(arena) } else { vec![] };
        OptimizerState {
            first: list(first, &self.first),
            second: list(second, &self.second),
            steps: self.steps,
        }
    }

    pub fn set_state(&mut self, state: &OptimizerState, places: &Parameters) {
        let (first, second) = kept(&self.rule);
        if first {
            places.load(&state.first, &mut self.first);
        }
        if second {
            places.load(&state.second, &mut self.second);
        }
        self.steps = state.steps;
        self.powers = [1.0; 2];
        (0..state.steps).for_each(|_| self.raise());
    }

    fn raise(&mut self) {
        for (power, beta) in self.powers.iter_mut().zip(BETAS) {
            *power *= beta;
        }
    }

    /// Moves the parameters by a step.
    pub fn step(
        &mut self,
        machine: Machine<'_>,
        learning_rate: f64,
        parameters: &mut Arena,
        gradients: &mut Arena,
    ) {
        let some = |value: f64| (value != 0.0).then_some(value as f32);
        let (rule, decay) = match self.rule {
            Optimizer::Sgd { momentum, weight_decay } => {
                let rule = Rule::Sgd { rate: learning_rate as f32, momentum: some(momentum) };
                (rule, weight_decay)
            }
            Optimizer::Adam { weight_decay } => {
                self.steps += 1;
                self.raise();
                let step = (learning_rate / (1.0 - self.powers[0])) as f32;
                let root = (1.0 - self.powers[1]).sqrt() as f32;
                (Rule::Adam { step, root }, weight_decay)
            }
        };
        let kept = Kept { first: &mut self.first, second: &mut self.second };
        machine.update(rule, some(decay), parameters, gradients, kept);
    }
}

/// Whether a rule keeps first and second moments.
fn kept(rule: &Optimizer) -> (bool, bool) {
    match rule {
        Optimizer::Sgd { momentum, .. } => (*momentum != 0.0, false),
        Optimizer::Adam { .. } => (true, true),
    }
}
