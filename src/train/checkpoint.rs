//! The state of an unfinished run: resuming gives the same bits as never having stopped.

use super::metrics::Evaluation;
use super::schedule::ScheduleState;
use crate::backend::{Backend, OptimizerState, Totals};
use crate::models::graph::Graph;
use crate::models::tensors::Values;
use crate::models::weights::{self, NamedTensors, Tensor, WeightsError};
use serde::{Deserialize, Serialize};

/// Raised whenever what a checkpoint holds, or what it means, changes: a run with a
/// checkpoint of another version is trained from its start.
const VERSION: u32 = 3;

/// What is not a tensor. Random streams have no state: they are named by what they are for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    version: u32,
    /// Key of the run that this belongs to.
    pub key: String,
    /// Epochs trained and evaluated.
    pub epoch: u32,
    /// How far the next epoch has come; `None` before its first batch.
    pub position: Option<Position>,
    pub schedule: ScheduleState,
    pub evaluations: Vec<Evaluation>,
}

/// A place in the pass of an epoch. Order, crops and flips are functions of the epoch and of
/// the place, so that this is all there is to go on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Batches trained on. All of them: what follows is the evaluation.
    pub batches: u64,
    /// Bits of the sum of their losses, an `f64` that need not be finite.
    pub loss_bits: u64,
    /// Examples among them whose label was predicted.
    pub correct: i64,
}

impl Position {
    /// Where a pass is after `batches`, with all bits of its sums.
    pub fn new(batches: u64, totals: Totals) -> Position {
        Position { batches, loss_bits: totals.loss.to_bits(), correct: totals.correct }
    }

    /// The sums of a pass that was broken off here.
    pub fn totals(self) -> Totals {
        Totals { loss: f64::from_bits(self.loss_bits), correct: self.correct }
    }
}

impl Progress {
    /// The beginning of the run `key`.
    pub fn new(key: &str) -> Progress {
        Progress {
            version: VERSION,
            key: key.to_owned(),
            epoch: 0,
            position: None,
            schedule: ScheduleState::new(),
            evaluations: Vec::new(),
        }
    }

    /// The same in the middle of the next epoch.
    #[must_use]
    pub fn within(&self, position: Position) -> Progress {
        Progress { position: Some(position), ..self.clone() }
    }

    /// Reads where a checkpoint is, without its tensors.
    ///
    /// # Errors
    /// If the bytes are damaged or of another version.
    pub fn read(bytes: &[u8]) -> Result<Progress, WeightsError> {
        /// The first version did not say so.
        #[derive(Deserialize)]
        struct Versioned {
            version: Option<u32>,
        }
        let text = weights::metadata(bytes)?;
        let malformed = |e: serde_json::Error| WeightsError::Format(e.to_string());
        let Versioned { version } = serde_json::from_str(&text).map_err(malformed)?;
        let found = version.unwrap_or(1);
        if found != VERSION {
            let problem = format!("it is of version {found}, this program's are of {VERSION}");
            return Err(WeightsError::Format(problem));
        }
        serde_json::from_str(&text).map_err(malformed)
    }
}

const WEIGHTS: &str = "weights/";
const FIRST: &str = "optimizer/first/";
const SECOND: &str = "optimizer/second/";
const STEPS: &str = "optimizer/steps";

/// Network and update rule: `weights/<name>` (the `state_dict`) and, shaped like each parameter,
/// where there is any, `optimizer/first/<name>` (momentum buffer, Adam's first moment) and
/// `optimizer/second/<name>` (Adam's second moment); `optimizer/steps` (Adam's, a scalar).
pub(super) fn tensors(backend: &dyn Backend) -> NamedTensors {
    let graph = backend.graph();
    let named = weights::named(graph, &backend.state());
    let mut tensors: NamedTensors =
        named.into_iter().map(|(name, tensor)| (format!("{WEIGHTS}{name}"), tensor)).collect();
    let OptimizerState { first, second, steps } = backend.optimizer_state();
    for (prefix, side) in [(FIRST, first), (SECOND, second)] {
        for (parameter, values) in graph.parameters.iter().zip(side) {
            let tensor = Tensor::f32(parameter.shape.clone(), values);
            tensors.insert(format!("{prefix}{}", parameter.name), tensor);
        }
    }
    tensors.insert(STEPS.to_owned(), Tensor::i64(Vec::new(), vec![steps]));
    tensors
}

/// Serializes network, update rule and progress as one safetensors file.
pub fn save(backend: &dyn Backend, progress: &Progress) -> Vec<u8> {
    let progress = serde_json::to_string(progress).expect("progress holds numbers and names");
    weights::to_bytes(&tensors(backend), Some(progress))
}

/// Restores what [`save`] wrote to a backend whose update rule is at its beginning.
///
/// # Errors
/// If the bytes are damaged, of another version, or belong to another network or rule.
pub fn restore(bytes: &[u8], backend: &mut dyn Backend) -> Result<Progress, WeightsError> {
    let progress = Progress::read(bytes)?;
    let tensors = weights::from_bytes(bytes)?;
    let below = |prefix: &str| -> NamedTensors {
        let part = |(name, tensor): (&String, &Tensor)| {
            name.strip_prefix(prefix).map(|name| (name.to_owned(), tensor.clone()))
        };
        tensors.iter().filter_map(part).collect()
    };
    let graph = backend.graph();
    let state = weights::state(graph, &below(WEIGHTS))?;
    let beginning = backend.optimizer_state();
    let side = |prefix: &str, like: &[Vec<f32>]| {
        if like.is_empty() { Ok(Vec::new()) } else { moments(graph, &below(prefix), prefix) }
    };
    let first = side(FIRST, &beginning.first)?;
    let second = side(SECOND, &beginning.second)?;
    let steps = match tensors.get(STEPS).map(|tensor| &tensor.values) {
        Some(Values::I64(values)) if values.len() == 1 => values[0],
        _ => return Err(WeightsError::Missing(STEPS.to_owned())),
    };
    backend.set_state(&state);
    backend.set_optimizer_state(&OptimizerState { first, second, steps });
    Ok(progress)
}

/// One list of numbers a parameter.
fn moments(
    graph: &Graph,
    named: &NamedTensors,
    prefix: &str,
) -> Result<Vec<Vec<f32>>, WeightsError> {
    let find = |parameter: &crate::models::graph::Parameter| {
        let name = format!("{prefix}{}", parameter.name);
        match named.get(&parameter.name) {
            Some(Tensor { shape, values: Values::F32(values) }) if *shape == parameter.shape => {
                Ok(values.clone())
            }
            Some(_) => {
                Err(WeightsError::Format(format!("tensor '{name}' has another shape or type")))
            }
            None => Err(WeightsError::Missing(name)),
        }
    };
    graph.parameters.iter().map(find).collect()
}
