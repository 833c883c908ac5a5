//! The state of an unfinished run: resuming gives the same bits as never having stopped.

use super::metrics::Evaluation;
use super::schedule::ScheduleState;
use crate::models::weights::{self, NamedTensors, WeightsError};
use crate::models::{Network, weights::load_state};
use crate::optim::OptimizerState;
use serde::{Deserialize, Serialize};

/// Raised whenever what a checkpoint holds, or what it means, changes: a run with a
/// checkpoint of another version is trained from its start.
const VERSION: u32 = 2;

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

/// Serializes network, optimizer and progress as one safetensors file.
pub fn save(network: &Network, optimizer: &OptimizerState, progress: &Progress) -> Vec<u8> {
    let weights = weights::state(network).into_iter().map(|(n, t)| (format!("weights/{n}"), t));
    let state = optimizer.state().into_iter().map(|(n, t)| (format!("optimizer/{n}"), t));
    let tensors: NamedTensors = weights.chain(state).collect();
    let progress = serde_json::to_string(progress).expect("progress holds numbers and names");
    weights::to_bytes(&tensors, Some(progress))
}

/// Restores what [`save`] wrote.
///
/// # Errors
/// If the bytes are damaged, of another version, or belong to another network.
pub fn restore(
    bytes: &[u8],
    network: &mut Network,
    optimizer: &mut OptimizerState,
) -> Result<Progress, WeightsError> {
    let progress = Progress::read(bytes)?;
    let tensors = weights::from_bytes(bytes)?;
    let below = |prefix: &str| -> NamedTensors {
        let part = |(n, t): (&String, &tch::Tensor)| {
            n.strip_prefix(prefix).map(|name| (name.to_owned(), t.shallow_clone()))
        };
        tensors.iter().filter_map(part).collect()
    };
    load_state(network, &below("weights/"))?;
    optimizer.load(&below("optimizer/"))?;
    Ok(progress)
}
