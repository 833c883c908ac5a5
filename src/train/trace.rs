//! A run's first steps, written down so that another implementation can replay them: initial
//! weights, the exact batches after corruption and augmentation, labels, learning rates,
//! losses, final weights.

use super::{Inputs, Observer, Step, TrainError, checkpoint, train};
use crate::backend::{Backend, Totals};
use crate::models::state::State;
use crate::models::weights::{self, NamedTensors, Tensor};
use crate::spec::{RunSpec, TRAINING_SEMANTICS};
use std::num::NonZeroUsize;

/// The first steps of a run.
pub struct Traced {
    /// Content of the file, as [`trace`] describes it.
    pub file: Vec<u8>,
    /// Number of steps in it: fewer than asked for if the run is shorter.
    pub steps: usize,
}

/// Traces the first `steps` steps of a run, or all of a shorter one, by the loop that trains it.
///
/// The file holds `initial/<name>` and `final/<name>` (the `state_dict`), `batch/<k>/inputs`
/// `[batch, channels, height, width]` and `batch/<k>/labels` `[batch]`, `learning_rates` and
/// `losses` `[steps]`; its metadata the spec as JSON. With `states_every` N, also for each k of
/// N, 2N, ... below `steps` what step k starts from, as in a checkpoint ([`checkpoint::tensors`]):
/// `before/<k>/weights/<name>`, `before/<k>/optimizer/...`.
///
/// # Errors
/// If data or weights cannot be read or the device fails; [`TrainError::Interrupted`] if `stop`
/// says so after a step that is not the last.
pub fn trace(
    spec: &RunSpec,
    inputs: &Inputs<'_>,
    steps: usize,
    states_every: Option<NonZeroUsize>,
    stop: &dyn Fn() -> bool,
) -> Result<Traced, TrainError> {
    let mut tracer = Tracer {
        stop,
        steps,
        states_every,
        tensors: NamedTensors::new(),
        rates: Vec::new(),
        losses: Vec::new(),
        before: Totals::default(),
        last: None,
    };
    if let Err(problem) = train(spec, inputs, &mut tracer) {
        // The tracer ends a run that is longer than the trace in the same way.
        if tracer.last.is_none() {
            return Err(problem);
        }
    }
    let Tracer { mut tensors, rates, losses, last, .. } = tracer;
    let steps = losses.len();
    tensors.extend(last.unwrap_or_default());
    tensors.insert("learning_rates".to_owned(), Tensor::f32(vec![rates.len()], rates));
    tensors.insert("losses".to_owned(), Tensor::f32(vec![losses.len()], losses));
    let metadata = serde_json::json!({
        "format": 2, "key": inputs.key, "spec": spec, "semantics": TRAINING_SEMANTICS,
    });
    Ok(Traced { file: weights::to_bytes(&tensors, Some(metadata.to_string())), steps })
}

/// Writes down each step.
struct Tracer<'a> {
    stop: &'a dyn Fn() -> bool,
    steps: usize,
    states_every: Option<NonZeroUsize>,
    tensors: NamedTensors,
    rates: Vec<f32>,
    losses: Vec<f32>,
    /// Before the step at hand.
    before: Totals,
    /// `final/<name>` after the step before.
    last: Option<NamedTensors>,
}

fn under(place: &str, named: NamedTensors) -> NamedTensors {
    named.into_iter().map(|(name, tensor)| (format!("{place}/{name}"), tensor)).collect()
}

impl Observer for Tracer<'_> {
    fn begins(&mut self, graph: &crate::models::graph::Graph, state: &State) {
        self.tensors.extend(under("initial", weights::named(graph, state)));
    }

    fn trained(&mut self, step: &Step<'_>) -> Result<(), TrainError> {
        let place = format!("batch/{}", self.losses.len());
        let totals = step.backend.totals();
        if step.at.batches == 1 {
            self.before = Totals::default();
        }
        let batch = step.batch();
        let examples = batch.labels.len();
        let signature = step.backend.graph().signature;
        // The toy's loss is a sum over the batch, the images' a mean.
        let of = if signature.outputs == 1 { 1.0 } else { examples as f64 };
        self.losses.push(((totals.loss - self.before.loss) / of) as f32);
        self.before = totals;
        self.rates.push(step.rate as f32);
        let shape = signature.input;
        let (channels, pixels) = (shape.channels, shape.pixels());
        // From channels-last to PyTorch's order.
        let inputs = batch.inputs.chunks_exact(shape.values()).flat_map(|image| {
            (0..channels).flat_map(move |c| (0..pixels).map(move |p| image[p * channels + c]))
        });
        let size = vec![examples, channels, shape.height, shape.width];
        self.tensors.insert(format!("{place}/inputs"), Tensor::f32(size, inputs.collect()));
        self.tensors.insert(format!("{place}/labels"), Tensor::i64(vec![examples], batch.labels));
        let done = self.losses.len();
        if done < self.steps {
            if self.states_every.is_some_and(|every| done.is_multiple_of(every.get())) {
                let next = format!("before/{done}");
                self.tensors.extend(under(&next, checkpoint::tensors(step.backend)));
            }
            return match self.interrupted() {
                false => Ok(()),
                true => Err(TrainError::Interrupted(step.at)),
            };
        }
        self.end(step.backend);
        Err(TrainError::Interrupted(step.at))
    }

    fn epoch(&mut self, _: u32, _: u32, _: &dyn Fn() -> Vec<u8>) -> Result<(), TrainError> {
        Ok(())
    }

    fn snapshot(&mut self, _: u32, _: NamedTensors) -> Result<(), TrainError> {
        Ok(())
    }

    fn interrupted(&self) -> bool {
        (self.stop)()
    }

    fn ends(&mut self, backend: &dyn Backend) {
        self.end(backend);
    }
}

impl Tracer<'_> {
    fn end(&mut self, backend: &dyn Backend) {
        let named = weights::named(backend.graph(), &backend.state());
        self.last = Some(under("final", named));
    }
}
