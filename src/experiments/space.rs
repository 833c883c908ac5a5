//! What a run will take of the disk, from counts of its parameters.

use super::network::graph;
use crate::spec::{Optimizer, RunSpec};

/// Bytes of one value of weights.
const VALUE: u64 = 4;
/// Spec, environment and manifest, and the names and shapes before the weights.
const RECORDS: u64 = 16 << 10;
/// Text of one evaluation.
const EVALUATION: u64 = 320;

/// Estimated bytes of a run on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Once it is finished.
    pub stored: u64,
    /// More than that while it is trained: the old and the new checkpoint, and what it has
    /// kept along the way.
    pub working: u64,
}

impl Space {
    /// What a run will take.
    pub fn of(spec: &RunSpec) -> Space {
        let [trained, statistics] = graph(spec).value_counts();
        let weights = VALUE.saturating_mul(trained.saturating_add(statistics));
        let train = &spec.train;
        let snapshots = train.snapshots.len() as u64;
        let evaluations = 2 + u64::from(train.stop.max_epochs() / train.evaluate_every.max(1));
        let text = RECORDS + EVALUATION * evaluations;
        let moments = match train.optimizer {
            Optimizer::Sgd { momentum: 0.0, .. } => 0,
            Optimizer::Sgd { .. } => 1,
            Optimizer::Adam { .. } => 2,
        };
        let state = (VALUE * moments).saturating_mul(trained);
        let checkpoint = weights.saturating_add(state).saturating_add(text);
        Space {
            stored: weights.saturating_mul(1 + snapshots).saturating_add(text),
            working: checkpoint.saturating_mul(2).saturating_add(weights.saturating_mul(snapshots)),
        }
    }

    /// What runs take together while `jobs` of them are trained at a time.
    pub fn together(runs: impl Iterator<Item = Space>, jobs: usize) -> u64 {
        let (mut stored, mut working) = (0u64, Vec::new());
        for space in runs {
            stored = stored.saturating_add(space.stored);
            working.push(space.working);
        }
        working.sort_unstable_by(|a, b| b.cmp(a));
        working.into_iter().take(jobs).fold(stored, u64::saturating_add)
    }
}

/// Bytes in words: `1.2 MB`.
pub fn words(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let steps = (0..units.len() - 1).take_while(|&i| bytes / 1000u64.pow(i as u32) >= 1000);
    let unit = steps.count();
    let value = bytes as f64 / 1000f64.powi(unit as i32);
    let digits = usize::from(unit > 0 && value < 100.0);
    format!("{value:.digits$} {}", units[unit])
}
