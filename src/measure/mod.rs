//! Measurements of a run's final weights. Each is declared in an experiment, computed once
//! from the stored weights and kept in the store beside them.

pub mod attack;
mod boundary;
pub mod coherence;
mod interpolation;
mod layer_distance;
pub mod norms;
pub mod sharpness;

use crate::experiments::results::Measured;
use crate::models::Network;
use crate::models::weights::NamedTensors;
use crate::spec::{RunSpec, Start, hex};
use crate::train::source::{Source, Split};
use crate::train::{EVALUATION_BATCH, Stopped};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use tch::{Device, Tensor};

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
    /// It was told to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What keeps one kind of measurement from its end.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("{0}")]
    Unfit(String),
    #[error(transparent)]
    Stopped(#[from] Stopped),
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
    pub network: &'a Network,
    pub device: Device,
    /// Weights kept along training, by epoch.
    pub snapshots: &'a BTreeMap<u32, NamedTensors>,
    /// Final weights of [`MeasureSpec::counterpart`].
    pub counterpart: Option<&'a NamedTensors>,
    /// Asked between batches: whether to break off.
    pub stop: &'a dyn Fn() -> bool,
}

impl Subject<'_> {
    fn go_on(&self) -> Result<(), Stopped> {
        if (self.stop)() { Err(Stopped) } else { Ok(()) }
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
        hex(&Sha256::digest(format!("measure {MEASURE_SEMANTICS} {text}")))[..16].to_owned()
    }

    /// Measures.
    ///
    /// # Errors
    /// If the run has not what the measurement needs, or `subject.stop` says so.
    pub fn measure(&self, subject: &Subject<'_>) -> Result<Measured, MeasureError> {
        let measured = match self {
            MeasureSpec::Boundary { columns, reach } => {
                boundary::measure(subject, *columns, *reach).map_err(Problem::from)
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
        measured.map_err(|problem| match problem {
            Problem::Stopped(stopped) => MeasureError::Stopped(stopped),
            Problem::Unfit(problem) => {
                MeasureError::Unfit { kind: format!("{self:?}"), seed: subject.spec.seed, problem }
            }
        })
    }
}

/// The first `count` examples of a split as batches of inputs and labels.
fn examples<'a>(
    subject: &'a Subject<'_>,
    split: Split,
    count: usize,
) -> impl Iterator<Item = (Tensor, Tensor)> + 'a {
    let count = count.min(subject.source.len(split));
    (0..count).step_by(EVALUATION_BATCH).map(move |first| {
        let batch = subject.source.batch(split, first..count.min(first + EVALUATION_BATCH));
        batch.tensors(subject.source.signature(), subject.device)
    })
}
