//! Measurements of a run's final weights. Each is declared in an experiment, computed once
//! from the stored weights and kept in the store beside them.

pub mod attack;
mod boundary;
pub mod coherence;
mod interpolation;
mod layer_distance;
mod measured;
pub mod norms;
pub mod path;
pub mod sharpness;
pub mod spectrum;

pub use measured::Measured;

use crate::backend::{Backend, BackendError};
use crate::digest::hex;
use crate::models::graph::Graph;
use crate::models::state::State;
use crate::models::weights::NamedTensors;
use crate::spec::{RunSpec, Start};
use crate::train::source::{Batch, Source, Split};
use crate::train::{EVALUATION_BATCH, Incomplete};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Raised whenever the meaning of all measurements changes: all are then made again.
const MEASURE_SEMANTICS: u32 = 2;
/// The same of the decision boundary alone.
const BOUNDARY_SEMANTICS: u32 = 4;

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
    /// Norm-based capacity: see [`norms::measure`].
    Norms,
    /// Accuracy under attack: see [`attack::measure`].
    Attack {
        method: AttackMethod,
        /// Radii on the pixel scale [0, 1].
        epsilon: Vec<f64>,
        /// Test images that are attacked: the first ones.
        images: u32,
    },
    /// Largest eigenvalue of the Hessian: see [`sharpness::measure`].
    Sharpness { iterations: u32, images: u32 },
    /// Agreement of per-example gradients along training: see [`coherence::measure`].
    Coherence { images: u32 },
    /// Distance travelled layer by layer: see [`layer_distance::measure`].
    LayerDistance,
    /// The straight line to another minimum: see [`interpolation::measure`].
    Interpolation { points: u32, toward: Toward },
}

/// The run at the other end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Toward {
    /// The same run, from random weights.
    RandomStart,
    /// The same run with the next seed.
    NextSeed,
}

/// How inputs are perturbed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AttackMethod {
    /// One step of the sign of the gradient.
    Fgsm,
    /// Projected gradient descent.
    Pgd { steps: u32 },
}

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// It does not fit the run it is asked of.
    #[error("measurement {kind} of run with seed {seed}: {problem}")]
    Unfit { kind: String, seed: u64, problem: String },
    /// It was told to stop, or the device failed.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
}

/// What keeps one kind of measurement from its end.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    Unfit(String),
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
}

impl From<BackendError> for Problem {
    fn from(problem: BackendError) -> Self {
        Problem::Incomplete(problem.into())
    }
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Problem::Unfit(problem)
    }
}

impl From<&str> for Problem {
    fn from(problem: &str) -> Self {
        Problem::Unfit(problem.to_owned())
    }
}

/// A run as measurements see it: final weights loaded, data open.
pub struct Subject<'a> {
    pub spec: &'a RunSpec,
    pub source: &'a Source,
    pub graph: &'a Graph,
    /// Weights at the end of the run.
    pub state: &'a State,
    /// A device that holds them before each measurement, which may replace them.
    pub backend: &'a mut dyn Backend,
    /// Weights kept along training, by epoch.
    pub snapshots: &'a BTreeMap<u32, NamedTensors>,
    /// Final weights of [`MeasureSpec::counterpart`].
    pub counterpart: Option<&'a NamedTensors>,
    /// Polled between batches; `true` aborts the measurement.
    pub stop: &'a dyn Fn() -> bool,
}

impl Subject<'_> {
    fn go_on(&self) -> Result<(), Incomplete> {
        if (self.stop)() { Err(Incomplete::Stopped) } else { Ok(()) }
    }
}

impl MeasureSpec {
    /// Another run whose final weights this measurement of `spec` needs.
    pub fn counterpart(&self, spec: &RunSpec) -> Option<RunSpec> {
        match self {
            MeasureSpec::LayerDistance => spec.parent().cloned(),
            MeasureSpec::Interpolation { toward: Toward::RandomStart, .. } => {
                Some(RunSpec { start: Start::Random { scale: 1.0 }, ..spec.clone() })
            }
            MeasureSpec::Interpolation { toward: Toward::NextSeed, .. } => {
                Some(spec.with_seed(spec.seed + 1))
            }
            _ => None,
        }
    }

    /// Name of the file that a measurement is kept in.
    pub fn id(&self) -> String {
        let text = serde_json::to_string(self).expect("plain fields are valid JSON");
        let semantics = match self {
            MeasureSpec::Boundary { .. } => BOUNDARY_SEMANTICS,
            _ => MEASURE_SEMANTICS,
        };
        hex(&Sha256::digest(format!("measure {semantics} {text}")))[..16].to_owned()
    }

    /// Measures.
    ///
    /// # Errors
    /// If the run has not what the measurement needs, or `subject.stop` says so.
    pub fn measure(&self, subject: &mut Subject<'_>) -> Result<Measured, MeasureError> {
        subject.backend.set_state(subject.state);
        let measured = match self {
            MeasureSpec::Boundary { columns, reach } => {
                boundary::measure(subject, *columns, *reach)
            }
            MeasureSpec::Norms => norms::measure(subject),
            MeasureSpec::Attack { method, epsilon, images } => {
                attack::measure(subject, *method, epsilon, *images as usize)
            }
            MeasureSpec::Sharpness { iterations, images } => {
                sharpness::measure(subject, *iterations, *images as usize)
            }
            MeasureSpec::Coherence { images } => coherence::measure(subject, *images as usize),
            MeasureSpec::LayerDistance => layer_distance::measure(subject).map_err(Problem::from),
            MeasureSpec::Interpolation { points, .. } => interpolation::measure(subject, *points),
        };
        // What is not a number cannot be kept; nothing else would say more.
        let finite = |mut measured: Measured| {
            measured.values.retain(|_, value| value.is_finite());
            measured.series.retain(|_, row| row.iter().all(|value| value.is_finite()));
            measured
        };
        measured.map(finite).map_err(|problem| match problem {
            Problem::Incomplete(problem) => MeasureError::Incomplete(problem),
            Problem::Unfit(problem) => {
                MeasureError::Unfit { kind: format!("{self:?}"), seed: subject.spec.seed, problem }
            }
        })
    }
}

/// The first `count` examples of a split in batches.
fn examples(source: &Source, split: Split, count: usize) -> impl Iterator<Item = Batch> + '_ {
    let count = count.min(source.len(split));
    (0..count)
        .step_by(EVALUATION_BATCH)
        .map(move |first| source.batch(split, first..count.min(first + EVALUATION_BATCH)))
}

/// Predicted classes of logits `[batch, outputs]`: the first of the largest, or for a single
/// logit whether it is positive.
fn classes(logits: &[f32], outputs: usize) -> impl Iterator<Item = i64> + '_ {
    logits.chunks_exact(outputs).map(|logits| match logits {
        [logit] => i64::from(*logit > 0.0),
        logits => {
            let mut best = 0;
            for (class, logit) in logits.iter().enumerate() {
                if *logit > logits[best] {
                    best = class;
                }
            }
            best as i64
        }
    })
}
