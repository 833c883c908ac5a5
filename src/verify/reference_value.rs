//! A blessed number: the values of one metric of one cell, seed by seed.

use super::stats;
use crate::experiments::Metric;
use serde::{Deserialize, Serialize};

/// A reference of fewer seeds gives no tolerance.
pub const MIN_REFERENCE_SEEDS: usize = 3;

/// Blessed values of one metric of one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceValue {
    pub experiment: String,
    pub cell: String,
    pub metric: String,
    pub seeds: Vec<u64>,
    pub values: Vec<f64>,
    /// Seeds whose run diverged, did not fit what it was to fit, or gave no number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<u64>,
    /// What the metric declared when this was blessed ([`tolerances`]), so that a declaration that
    /// is loosened later loosens no comparison.
    pub resolution: f64,
    pub max_spread: f64,
}

/// Which differences of a metric are rounding, and how far seeds with these values may spread, as
/// the metric declares it.
pub fn tolerances(metric: &Metric, values: &[f64]) -> (f64, f64) {
    let half = || if values.is_empty() { 0.0 } else { 0.5 * stats::mean(values).abs() };
    (metric.resolution, metric.max_spread.unwrap_or_else(half))
}

impl ReferenceValue {
    /// Mean over the seeds; `None` if all are excluded.
    pub fn mean(&self) -> Option<f64> {
        (!self.values.is_empty()).then(|| stats::mean(&self.values))
    }

    /// All seeds that were blessed, with and without a value, sorted.
    pub fn all_seeds(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.seeds.iter().chain(&self.excluded).copied().collect();
        all.sort_unstable();
        all
    }

    /// `experiment [cell] metric`.
    pub fn name(&self) -> String {
        format!("{} [{}] {}", self.experiment, self.cell, self.metric)
    }

    /// # Errors
    /// If its fields contradict each other, or a number is none.
    pub fn check(&self) -> Result<(), String> {
        let (seeds, values) = (self.seeds.len(), self.values.len());
        if seeds != values {
            return Err(format!("{seeds} seeds but {values} values"));
        }
        if let Some(place) = self.values.iter().position(|value| !value.is_finite()) {
            let (seed, value) = (self.seeds[place], self.values[place]);
            return Err(format!("values: that of seed {seed} is {value}, which is no number"));
        }
        for (field, value) in [("resolution", self.resolution), ("max_spread", self.max_spread)] {
            if !value.is_finite() || value < 0.0 {
                return Err(format!("{field} = {value}: it must be a number from 0 up"));
            }
        }
        let all = self.all_seeds();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("seeds: {} stands there twice", pair[0])),
            None if all.len() < MIN_REFERENCE_SEEDS => Err(format!(
                "seeds: there are {}, and a reference needs {MIN_REFERENCE_SEEDS}",
                all.len()
            )),
            None => Ok(()),
        }
    }
}
