//! The state of an unfinished run: resuming gives the same bits as never having stopped.

use super::metrics::Evaluation;
use super::schedule::ScheduleState;
use crate::models::weights::{self, NamedTensors, WeightsError};
use crate::models::{Network, weights::load_state};
use crate::optim::OptimizerState;
use serde::{Deserialize, Serialize};

/// What is not a tensor. Random streams have no state: they are named by what they are for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Key of the run that this belongs to.
    pub key: String,
    /// Epochs trained.
    pub epoch: u32,
    pub schedule: ScheduleState,
    pub evaluations: Vec<Evaluation>,
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
/// If the bytes are damaged or belong to another network.
pub fn restore(
    bytes: &[u8],
    network: &mut Network,
    optimizer: &mut OptimizerState,
) -> Result<Progress, WeightsError> {
    let progress = serde_json::from_str(&weights::metadata(bytes)?)
        .map_err(|e| WeightsError::Format(e.to_string()))?;
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
