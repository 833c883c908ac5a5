//! Measurements of a run's final weights. Each is declared in an experiment, computed once
//! from the stored weights and kept in the store beside them.

mod boundary;

use crate::experiments::results::Measured;
use crate::models::Network;
use crate::spec::{RunSpec, hex};
use crate::train::source::Source;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::Device;

/// Raised whenever the meaning of any measurement changes: all are then made again.
const MEASURE_SEMANTICS: u32 = 1;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MeasureSpec {
    /// The toy's decision boundary on a grid: see [`boundary::measure`].
    Boundary {
        /// Columns of the grid.
        columns: u32,
        /// How far the window reaches beyond the class means, in standard deviations.
        reach: f64,
    },
}

/// A measurement that does not fit the run it is asked of.
#[derive(Debug, thiserror::Error)]
#[error("measurement {kind} of run with seed {seed}: {problem}")]
pub struct MeasureError {
    pub kind: String,
    pub seed: u64,
    pub problem: String,
}

/// A run as measurements see it: final weights loaded, data open.
pub struct Subject<'a> {
    pub spec: &'a RunSpec,
    pub source: &'a Source,
    pub network: &'a Network,
    pub device: Device,
}

impl MeasureSpec {
    /// Name of the file that a measurement is kept in.
    pub fn id(&self) -> String {
        let text = serde_json::to_string(self).expect("plain fields are valid JSON");
        hex(&Sha256::digest(format!("measure {MEASURE_SEMANTICS} {text}")))[..16].to_owned()
    }

    /// Measures.
    ///
    /// # Errors
    /// If the run has not what the measurement needs.
    pub fn measure(&self, subject: &Subject<'_>) -> Result<Measured, MeasureError> {
        let problem = |problem: String| MeasureError {
            kind: format!("{self:?}"),
            seed: subject.spec.seed,
            problem,
        };
        match self {
            MeasureSpec::Boundary { columns, reach } => {
                boundary::measure(subject, *columns, *reach).map_err(problem)
            }
        }
    }
}
