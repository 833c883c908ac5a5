//! What a measurement gives.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a measurement of a run's final weights gives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Named numbers.
    pub values: BTreeMap<String, f64>,
    /// Named rows of numbers, for figures.
    #[serde(default)]
    pub series: BTreeMap<String, Vec<f64>>,
}
