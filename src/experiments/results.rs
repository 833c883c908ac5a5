//! What came out of an experiment: raw values per seed, with the runs behind them. Tables,
//! figures and verdicts are all made from this and from nothing else.

pub use crate::measure::Measured;

use super::dose::Dose;
use super::{Experiment, cost};
use crate::spec::{Key, RunSpec};
use crate::train::metrics::{Metrics, Status};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A stored run.
#[derive(Clone, Debug)]
pub struct RunResult {
    pub key: Key,
    pub spec: RunSpec,
    pub metrics: Metrics,
    /// SHA-256 over final weights and metrics: equal bits, equal hash.
    pub result_hash: String,
    /// The run whose weights this one started from.
    pub parent: Option<Arc<RunResult>>,
}

impl RunResult {
    /// This run and those before it, the youngest first.
    pub fn chain(&self) -> impl Iterator<Item = &RunResult> {
        std::iter::successors(Some(self), |run| run.parent.as_deref())
    }

    /// Why no verdict may rest on this run, if so: it or one before it did not memorize, or
    /// diverged.
    pub fn poison(&self) -> Option<String> {
        self.chain().find_map(|run| {
            let trouble = match run.metrics.status {
                Status::Finished => return None,
                Status::NotMemorized => "did not memorize its training set",
                Status::Diverged => "diverged",
            };
            Some(format!("run {} (seed {}) {trouble}", run.key.short(), run.spec.seed))
        })
    }
}

/// One seed of one cell.
#[derive(Clone, Debug)]
pub struct SeedResult {
    pub seed: u64,
    pub key: Key,
    /// `None` if the run is not in the store.
    pub run: Option<Arc<RunResult>>,
    /// Values by metric name: those of the experiment's metrics that are there.
    pub values: BTreeMap<String, f64>,
    /// Outputs of the experiment's measurements, by the name of the measurement.
    pub measured: BTreeMap<String, Measured>,
}

impl SeedResult {
    /// Training accuracy at the end, in percent: of the toy, where it was measured, that of its
    /// points without the noisy copies of its augmentation.
    fn fitted(&self) -> Option<f64> {
        let on_points = self.measured.values().find_map(|m| m.values.get("points_fitted"));
        let on_all = || Some(self.run.as_ref()?.metrics.last()?.train_accuracy);
        on_points.copied().or_else(on_all)
    }
}

/// A cell that fits its training data has at least this training accuracy in the mean, in
/// percent: a claim about minima is a claim about such cells.
pub const FIT_MEAN: f64 = 99.9;
/// And at least this at every seed, but for one example.
pub const FIT_LOWEST: f64 = 99.5;

/// Training accuracy of a cell over its seeds, in percent, on the images as they are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fit {
    pub mean: f64,
    pub lowest: f64,
    pub n: usize,
    /// Whether the cell's runs are minima at all.
    pub fits: bool,
}

/// One cell of an experiment's grid over all its seeds.
#[derive(Clone, Debug)]
pub struct CellResult {
    /// Level of each axis, in the order of the axes: indices into `Experiment::axes[i].levels`.
    pub levels: Vec<usize>,
    /// In the order of seeds.
    pub seeds: Vec<SeedResult>,
}

impl CellResult {
    /// `(seed, value)` of every run that is there and has the metric.
    pub fn samples(&self, metric: &str) -> Vec<(u64, f64)> {
        let value = |s: &SeedResult| s.values.get(metric).map(|&v| (s.seed, v));
        self.seeds.iter().filter_map(value).collect()
    }

    /// The values of [`CellResult::samples`].
    pub fn values(&self, metric: &str) -> Vec<f64> {
        self.samples(metric).into_iter().map(|(_, value)| value).collect()
    }

    /// How well the cell fits its training data; `None` without a run.
    pub fn fit(&self) -> Option<Fit> {
        let values: Vec<f64> = self.seeds.iter().filter_map(SeedResult::fitted).collect();
        let lowest = values.iter().copied().min_by(f64::total_cmp)?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let spec = &self.seeds.iter().find_map(|seed| seed.run.as_ref())?.spec;
        let all_but_one = 100.0 - 100.0 / cost::training_examples(&spec.data);
        let fits = mean >= FIT_MEAN && lowest >= FIT_LOWEST.min(all_but_one);
        Some(Fit { mean, lowest, n: values.len(), fits })
    }

    /// The weight decay that the cell's runs were given, in the mean over the seeds.
    pub fn dose(&self) -> Option<Dose> {
        let runs = self.seeds.iter().filter_map(|seed| seed.run.as_ref());
        let doses: Option<Vec<Dose>> =
            runs.map(|run| Dose::of(&run.spec, run.metrics.epochs)).collect();
        let doses = doses.filter(|doses| !doses.is_empty())?;
        let mean =
            |pick: fn(&Dose) -> f64| doses.iter().map(pick).sum::<f64>() / doses.len() as f64;
        Some(Dose {
            sum: mean(|dose| dose.sum),
            over_momentum: mean(|dose| dose.over_momentum),
            of_paper: doses[0].of_paper.map(|_| mean(|dose| dose.of_paper.unwrap_or(0.0))),
        })
    }

    /// Whether no verdict may rest on the run of a seed.
    pub fn is_poisoned(&self, seed: u64) -> bool {
        let mut runs = self.seeds.iter().filter(|s| s.seed == seed).filter_map(|s| s.run.as_ref());
        runs.any(|run| run.poison().is_some())
    }

    /// Why no verdict may rest on this cell, one sentence a run.
    pub fn poison(&self) -> Vec<String> {
        self.seeds.iter().filter_map(|s| s.run.as_ref()?.poison()).collect()
    }
}

/// All cells of an experiment, in the order of the grid (last axis fastest).
#[derive(Clone, Debug)]
pub struct ExperimentResult {
    pub experiment: Experiment,
    pub cells: Vec<CellResult>,
}

impl ExperimentResult {
    /// The cell whose levels have these ids, by axis name; axes that are not named must
    /// have one level.
    pub fn cell(&self, wanted: &BTreeMap<String, String>) -> Option<&CellResult> {
        self.cells.iter().find(|cell| {
            let mut places = self.experiment.axes.iter().zip(&cell.levels);
            places.all(|(axis, &level)| match wanted.get(&axis.name) {
                Some(id) => &axis.levels[level].id == id,
                None => axis.levels.len() == 1,
            })
        })
    }

    /// `init=random optimizer=vanilla`: the cell's name in files and messages.
    pub fn cell_name(&self, cell: &CellResult) -> String {
        let part = |(axis, &level): (&super::Axis, &usize)| {
            format!("{}={}", axis.name, axis.levels[level].id)
        };
        let parts: Vec<String> = self.experiment.axes.iter().zip(&cell.levels).map(part).collect();
        parts.join(" ")
    }

    /// Cell labels for people: `Adversarial, SOTA SGD`.
    pub fn cell_label(&self, cell: &CellResult) -> String {
        let part = |(axis, &level): (&super::Axis, &usize)| axis.levels[level].label.clone();
        let parts: Vec<String> = self.experiment.axes.iter().zip(&cell.levels).map(part).collect();
        parts.join(", ")
    }
}
