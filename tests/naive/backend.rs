//! The plain loops as a device, so that whatever is asked of the engine can be asked of them.

use super::Naive;
use super::update::Moments;
use bad_global_minima::backend::{
    Backend, BackendError, Batch, Examples, OptimizerState, Totals, With,
};
use bad_global_minima::models::graph::Graph;
use bad_global_minima::models::state::{Running, State};
use bad_global_minima::spec::Optimizer;

fn host<'a>(batch: &Batch<'a>) -> Examples<'a> {
    match batch {
        Batch::Host(examples) => *examples,
        Batch::Resident(_) => unreachable!("it keeps no images"),
    }
}

impl Backend for Naive<f32> {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn state(&self) -> State {
        let running = self.running.iter();
        State {
            parameters: self.parameters.clone(),
            running: running
                .map(|r| Running { mean: r.mean.clone(), variance: r.variance.clone() })
                .collect(),
            batches_tracked: self.batches_tracked,
        }
    }

    fn set_state(&mut self, state: &State) {
        let new = Naive::new(&self.graph, state, &self.rule);
        (self.parameters, self.running) = (new.parameters, new.running);
        self.batches_tracked = new.batches_tracked;
    }

    fn set_optimizer(&mut self, rule: &Optimizer) {
        self.rule = rule.clone();
        self.moments = Moments::new(rule, &self.parameters);
    }

    fn optimizer_state(&self) -> OptimizerState {
        let Moments { first, second, steps } = self.moments.clone();
        OptimizerState { first, second, steps }
    }

    fn set_optimizer_state(&mut self, state: &OptimizerState) {
        let OptimizerState { first, second, steps } = state.clone();
        self.moments = Moments { first, second, steps };
    }

    fn train(&mut self, batch: &Batch<'_>, learning_rate: f64) -> Result<(), BackendError> {
        self.step(host(batch), learning_rate);
        Ok(())
    }

    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<(), BackendError> {
        self.add_losses(host(batch), With::Evaluation);
        Ok(())
    }

    fn totals(&self) -> Totals {
        self.totals
    }

    fn set_totals(&mut self, totals: Totals) {
        self.totals = totals;
    }

    fn logits(&mut self, inputs: &[f32]) -> Result<Vec<f32>, BackendError> {
        Ok(self.outputs_of(inputs))
    }

    fn calibrate(&mut self, inputs: &[f32]) -> Result<(), BackendError> {
        self.take_statistics(inputs);
        Ok(())
    }

    fn input_gradient(&mut self, examples: Examples<'_>) -> Result<Vec<f32>, BackendError> {
        Ok(self.gradients(examples, With::Evaluation).inputs)
    }

    fn gradient(
        &mut self,
        examples: Examples<'_>,
        with: With,
    ) -> Result<Vec<Vec<f32>>, BackendError> {
        Ok(self.gradients(examples, with).parameters)
    }
}
