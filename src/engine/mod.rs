//! Training on CPUs, to the same bits on every processor and with any number of threads.
//!
//! `docs/numerics.md` defines every number; `kernels` computes them with the instructions that
//! a [`Simd`] names.

mod backward;
mod device;
mod evaluate;
mod forward;
mod loss;
mod optimizer;
mod parameters;
mod plan;
#[cfg(test)]
mod tests;

pub use bgm_kernels::{Simd, SimdError};
pub use device::EngineDevice;

use crate::backend::{Backend, BackendError, Batch, Examples, OptimizerState, Totals, With};
use crate::models::graph::Graph;
use crate::models::state::{BATCH_NORM_MOMENTUM, Running, State};
use crate::planted;
use crate::spec::Optimizer;
use backward::{Gradients, Used};
use bgm_kernels as kernels;
use forward::{Network, Statistics, gather};
use kernels::{Arena, GROUP, Images, Machine, Moments, Table, Team};
use optimizer::Updates;
use parameters::Parameters;
use plan::{Keep, Plan};

/// How an engine computes: neither changes a bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub simd: Simd,
    /// At least 1.
    pub threads: usize,
}

/// A network on this machine's CPU.
pub struct Engine {
    graph: Graph,
    plan: Plan,
    places: Parameters,
    table: Table,
    team: Team,
    parameters: Arena,
    running: Vec<Running>,
    batches_tracked: i64,
    updates: Updates,
    totals: Totals,
    room: Room,
}

/// Memory that a call needs and the next may use again.
struct Room {
    /// Of the values, one for each thread in an evaluation; the first for training.
    values: Vec<Arena>,
    gradients: Arena,
    scratch: Arena,
    moments: Vec<Vec<Moments>>,
}

impl Engine {
    /// A network with these weights and statistics, and vanilla SGD as its rule. Memory grows
    /// with the largest batch that it sees.
    pub fn new(graph: &Graph, state: &State, options: Options) -> Engine {
        let plan = Plan::new(graph);
        let places = Parameters::new(graph, &plan);
        let team = Team::new(options.threads);
        let moments = |norm: &crate::models::graph::Norm| {
            vec![Moments::default(); norm.channels.div_ceil(GROUP)]
        };
        let vanilla = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
        let mut engine = Engine {
            parameters: places.arena(),
            running: Vec::new(),
            batches_tracked: 0,
            updates: Updates::new(vanilla, &places),
            totals: Totals::default(),
            room: Room {
                values: (0..team.threads()).map(|_| Arena::new(0)).collect(),
                gradients: places.arena(),
                scratch: Arena::new(0),
                moments: graph.norms.iter().map(moments).collect(),
            },
            graph: graph.clone(),
            plan,
            places,
            table: Table::new(options.simd),
            team,
        };
        engine.set_state(state);
        engine
    }

    /// Threads that the engine has.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    fn parts(&mut self) -> (Network<'_>, Machine<'_>, &mut Room) {
        let Engine { graph, plan, places, parameters, table, team, room, .. } = self;
        (Network { graph, plan, places, parameters }, Machine { table, team }, room)
    }

    /// All gradients of a batch, in the room; totals of it.
    fn gradients(
        &mut self,
        examples: Examples<'_>,
        with: With,
        mut totals: Totals,
        inputs: bool,
    ) -> Result<(Images, Totals), BackendError> {
        self.check(examples)?;
        let running = std::mem::take(&mut self.running);
        let (network, machine, room) = self.parts();
        let values = &mut room.values[0];
        let statistics = match with {
            With::Batch => Statistics::Batch(&mut room.moments),
            With::Evaluation => {
                room.moments = network.given(&running);
                Statistics::Given(&room.moments)
            }
        };
        let images = network.forward(machine, examples.inputs, Keep::All, values, statistics);
        let last = network.graph.logits();
        let logits = network.plan.value(Keep::All, last, images.pairs());
        let gradient = network.plan.gradient(last, images.pairs());
        loss::with_gradient(&mut totals, examples.labels, logits, gradient, values);
        let used = Used { moments: &room.moments, of_batch: with == With::Batch };
        let mut gradients =
            Gradients { parameters: &mut room.gradients, scratch: &mut room.scratch, inputs };
        network.backward(machine, images, values, used, &mut gradients);
        self.running = running;
        Ok((images, totals))
    }

    /// Moves the running statistics by those of the batch in the room.
    fn track(&mut self, momentum: f32) {
        // PyTorch's rule; replaced altogether where the momentum is 1.
        let (old, new) = (1.0 - momentum, momentum);
        for (running, moments) in self.running.iter_mut().zip(&self.room.moments) {
            let of = |values: &mut [f32], of: fn(&Moments) -> &[f32; GROUP]| {
                for (channel, value) in values.iter_mut().enumerate() {
                    let batch = of(&moments[channel / GROUP])[channel % GROUP];
                    *value = if momentum == 1.0 { batch } else { old * *value + new * batch };
                }
            };
            of(&mut running.mean, |moments| &moments.mean);
            of(&mut running.variance, |moments| &moments.unbiased);
        }
    }

    /// Refuses batches that do not fit the network.
    fn check(&self, examples: Examples<'_>) -> Result<(), BackendError> {
        let images = self.images(examples.inputs)?;
        let outputs = self.graph.signature.outputs.max(2) as i64;
        let labels = examples.labels;
        if images != labels.len() {
            let message = format!("{images} inputs have {} labels", labels.len());
            return Err(BackendError(message));
        }
        match labels.iter().find(|label| !(0..outputs).contains(label)) {
            Some(label) => Err(BackendError(format!("label {label} is not one of {outputs}"))),
            None => Ok(()),
        }
    }

    /// How many images these inputs are.
    fn images(&self, inputs: &[f32]) -> Result<usize, BackendError> {
        let size = self.graph.signature.input.values();
        if inputs.is_empty() || !inputs.len().is_multiple_of(size) {
            let message = format!("{} numbers are no batch of images of {size}", inputs.len());
            return Err(BackendError(message));
        }
        Ok(inputs.len() / size)
    }
}

/// The engine takes its batches from the host.
fn on_host<'a>(batch: &Batch<'a>) -> Result<Examples<'a>, BackendError> {
    match batch {
        Batch::Host(examples) => Ok(*examples),
        Batch::Resident(_) => Err(BackendError("the engine keeps no images".to_owned())),
    }
}

impl Backend for Engine {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn state(&self) -> State {
        State {
            parameters: self.places.store(&self.parameters),
            running: self.running.clone(),
            batches_tracked: self.batches_tracked,
        }
    }

    fn set_state(&mut self, state: &State) {
        self.places.load(&state.parameters, &mut self.parameters);
        self.running.clone_from(&state.running);
        self.batches_tracked = state.batches_tracked;
    }

    fn set_optimizer(&mut self, rule: &Optimizer) {
        self.updates = Updates::new(rule.clone(), &self.places);
    }

    fn optimizer_state(&self) -> OptimizerState {
        self.updates.state(&self.places)
    }

    fn set_optimizer_state(&mut self, state: &OptimizerState) {
        self.updates.set_state(state, &self.places);
    }

    fn train(&mut self, batch: &Batch<'_>, learning_rate: f64) -> Result<(), BackendError> {
        let examples = on_host(batch)?;
        (_, self.totals) = self.gradients(examples, With::Batch, self.totals, false)?;
        let doubled = planted::batch_norm_momentum_doubled();
        self.track(if doubled { 2.0 * BATCH_NORM_MOMENTUM } else { BATCH_NORM_MOMENTUM });
        self.batches_tracked += 1;
        let Engine { table, team, updates, parameters, room, .. } = self;
        let machine = Machine { table, team };
        updates.step(machine, learning_rate, parameters, &mut room.gradients);
        Ok(())
    }

    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<(), BackendError> {
        let examples = on_host(batch)?;
        self.check(examples)?;
        let logits = self.logits(examples.inputs)?;
        loss::add_to(&mut self.totals, &logits, examples.labels);
        Ok(())
    }

    fn totals(&self) -> Totals {
        self.totals
    }

    fn set_totals(&mut self, totals: Totals) {
        self.totals = totals;
    }

    fn logits(&mut self, inputs: &[f32]) -> Result<Vec<f32>, BackendError> {
        self.images(inputs)?;
        let running = std::mem::take(&mut self.running);
        let (network, machine, room) = self.parts();
        let moments = network.given(&running);
        let logits = evaluate::logits(&network, machine, inputs, &moments, &mut room.values);
        self.running = running;
        Ok(logits)
    }

    fn calibrate(&mut self, inputs: &[f32]) -> Result<(), BackendError> {
        self.images(inputs)?;
        let (network, machine, room) = self.parts();
        let statistics = Statistics::Batch(&mut room.moments);
        network.forward(machine, inputs, Keep::Needed, &mut room.values[0], statistics);
        self.track(1.0);
        Ok(())
    }

    fn input_gradient(&mut self, examples: Examples<'_>) -> Result<Vec<f32>, BackendError> {
        let (images, _) = self.gradients(examples, With::Evaluation, Totals::default(), true)?;
        let place = self.plan.gradient(0, images.pairs());
        Ok(gather(images, place, &self.room.values[0]))
    }

    fn gradient(
        &mut self,
        examples: Examples<'_>,
        with: With,
    ) -> Result<Vec<Vec<f32>>, BackendError> {
        self.gradients(examples, with, Totals::default(), false)?;
        Ok(self.places.store(&self.room.gradients))
    }
}
