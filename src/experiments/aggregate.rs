//! From stored runs to results: nothing is trained here.

use super::Plan;
use super::results::{CellResult, ExperimentResult, Measured, RunResult, SeedResult};
use crate::spec::{Key, RunSpec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where finished runs are looked up: the store, or made-up ones in tests.
pub trait Runs {
    /// A run with its metrics; `None` if it is not there.
    fn run(&self, key: &Key, spec: &RunSpec) -> Option<RunRecord>;

    /// A measurement of a run's final weights.
    fn measured(&self, key: &Key, id: &str, result_hash: &str) -> Option<Measured>;
}

/// What [`Runs`] knows of a run.
pub struct RunRecord {
    pub metrics: crate::train::metrics::Metrics,
    pub result_hash: String,
}

/// Results of all experiments of a plan.
pub fn aggregate(plan: &Plan, runs: &dyn Runs) -> Vec<ExperimentResult> {
    let mut loaded: BTreeMap<&Key, Option<Arc<RunResult>>> = BTreeMap::new();
    // Parents stand before their children in the order.
    for key in &plan.order {
        let planned = &plan.runs[key];
        let parent = match &planned.parent {
            Some(parent) => match loaded.get(parent).cloned().flatten() {
                Some(parent) => Some(parent),
                None => {
                    loaded.insert(key, None);
                    continue;
                }
            },
            None => None,
        };
        let run = runs.run(key, &planned.spec).map(|record| {
            Arc::new(RunResult {
                key: key.clone(),
                spec: planned.spec.clone(),
                metrics: record.metrics,
                result_hash: record.result_hash,
                parent,
            })
        });
        loaded.insert(key, run);
    }
    plan.experiments
        .iter()
        .map(|(experiment, cells)| ExperimentResult {
            experiment: experiment.clone(),
            cells: cells
                .iter()
                .map(|cell| CellResult {
                    levels: cell.levels.clone(),
                    seeds: cell
                        .runs
                        .iter()
                        .map(|(seed, key)| {
                            seed_result(experiment, *seed, key, loaded[key].clone(), runs)
                        })
                        .collect(),
                })
                .collect(),
        })
        .collect()
}

fn seed_result(
    experiment: &super::Experiment,
    seed: u64,
    key: &Key,
    run: Option<Arc<RunResult>>,
    runs: &dyn Runs,
) -> SeedResult {
    let mut measured = BTreeMap::new();
    let mut values = BTreeMap::new();
    if let Some(run) = &run {
        for (name, spec) in &experiment.measures {
            if let Some(output) = runs.measured(key, &spec.id(), &run.result_hash) {
                measured.insert(name.clone(), output);
            }
        }
        for metric in &experiment.metrics {
            if let Some(value) = value_of(&metric.name, run, &measured) {
                values.insert(metric.name.clone(), value);
            }
        }
    }
    SeedResult { seed, key: key.clone(), run, values, measured }
}

/// The value of a metric by its name; see [`super::Metric::name`].
fn value_of(name: &str, run: &RunResult, measured: &BTreeMap<String, Measured>) -> Option<f64> {
    if let Some((measure, value)) = name.split_once('.') {
        return measured.get(measure)?.values.get(value).copied();
    }
    let last = run.metrics.last()?;
    match name {
        "test_accuracy" => Some(last.test_accuracy),
        "train_accuracy" => Some(last.train_accuracy),
        "test_loss" => Some(last.test_loss),
        "train_loss" => Some(last.train_loss),
        "distance" => Some(last.distance),
        "distance_relative" => Some(last.distance_relative),
        "epochs" => Some(f64::from(run.metrics.epochs)),
        _ => None,
    }
}
