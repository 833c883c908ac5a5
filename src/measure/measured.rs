//! The numbers that a measurement gives.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a measurement of a run's final weights gives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// By the names in [`crate::experiments::names`]; finite, since JSON holds no other numbers.
    pub values: BTreeMap<String, f64>,
    /// Rows of numbers, for figures, by their names. Some measurements have none.
    #[serde(default)]
    pub series: BTreeMap<String, Vec<f64>>,
}
