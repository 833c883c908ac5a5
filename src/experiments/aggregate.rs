//! From stored runs to results: nothing is trained here.

use super::declare::ContrastPlaces;
use super::results::{CellResult, ExperimentResult, Measured, RunResult, SeedResult};
use super::{Cell, Experiment, Plan, evaluation, names};
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
        // A run is not there either if its parent is not.
        let make = || {
            let parent = match &planned.parent {
                Some(parent) => Some(loaded.get(parent)?.clone()?),
                None => None,
            };
            let RunRecord { metrics, result_hash } = runs.run(key, &planned.spec)?;
            let (key, spec) = (key.clone(), planned.spec.clone());
            Some(Arc::new(RunResult { key, spec, metrics, result_hash, parent }))
        };
        let run = make();
        loaded.insert(key, run);
    }
    let of_experiment = |(experiment, cells): &(Experiment, Vec<Cell>)| {
        let of_cell = |cell: &Cell| {
            let of_seed = |(seed, key): &(u64, Key)| {
                seed_result(experiment, *seed, key, loaded[key].clone(), runs)
            };
            let seeds = cell.runs.iter().map(of_seed).collect();
            CellResult { levels: cell.levels.clone(), seeds }
        };
        let cells = cells.iter().map(of_cell).collect();
        with_gaps(ExperimentResult { experiment: experiment.clone(), cells })
    };
    plan.experiments.iter().map(of_experiment).collect()
}

/// Fills in the metrics `gap.<metric>` of an experiment with a contrast.
fn with_gaps(mut result: ExperimentResult) -> ExperimentResult {
    let Some(ContrastPlaces { axis, of, minus }) = result.experiment.contrast_places() else {
        return result;
    };
    for index in 0..result.cells.len() {
        if result.cells[index].levels[axis] != minus {
            continue;
        }
        let mut sibling = result.cells[index].levels.clone();
        sibling[axis] = of;
        let Some(sibling) = result.cells.iter().find(|cell| cell.levels == sibling) else {
            continue;
        };
        // A gap to a run that nothing may rest on is no number.
        let sound = |seed: &SeedResult| seed.run.as_ref().is_none_or(|r| r.poison().is_none());
        let value = |seed: &SeedResult, value: f64| if sound(seed) { value } else { f64::NAN };
        let values = |seed: &SeedResult| -> BTreeMap<String, f64> {
            seed.values.iter().map(|(name, v)| (name.clone(), value(seed, *v))).collect()
        };
        let others: BTreeMap<u64, BTreeMap<String, f64>> =
            sibling.seeds.iter().map(|seed| (seed.seed, values(seed))).collect();
        let seeds = &mut result.cells[index].seeds;
        seeds.retain(|seed| others.contains_key(&seed.seed));
        for seed in seeds {
            let other = &others[&seed.seed];
            let gaps: Vec<(String, f64)> = seed
                .values
                .iter()
                .filter_map(|(name, own)| Some((format!("gap.{name}"), other.get(name)? - own)))
                .collect();
            seed.values.extend(gaps);
        }
    }
    result
}

fn seed_result(
    experiment: &Experiment,
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
            // A gap needs the metric that it is a gap of.
            let name = metric.name.strip_prefix("gap.").unwrap_or(&metric.name);
            if let Some(value) = value_of(name, run, &measured) {
                values.insert(name.to_owned(), value);
            }
        }
    }
    SeedResult { seed, key: key.clone(), run, values, measured }
}

/// Mean of a figure over the evaluations of a run but that of its start, which no training has
/// touched: the height of a curve in one number.
fn along(run: &RunResult, name: &str) -> Option<f64> {
    let trained = run.metrics.evaluations.iter().filter(|evaluation| evaluation.epoch > 0);
    let values: Vec<f64> = trained.map(|e| evaluation::figure(e, name)).collect::<Option<_>>()?;
    mean(&values)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The value of a metric by its name; see [`super::Metric::name`].
fn value_of(name: &str, run: &RunResult, measured: &BTreeMap<String, Measured>) -> Option<f64> {
    if let Some((measure, value)) = name.split_once('.') {
        return match measure {
            names::COURSE => along(run, value),
            // Each phase counts alike, however long it took.
            names::WHOLE_COURSE => {
                mean(&run.chain().map(|run| along(run, value)).collect::<Option<Vec<f64>>>()?)
            }
            _ => measured.get(measure)?.values.get(value).copied(),
        };
    }
    let last = run.metrics.last()?;
    match name {
        "epochs" => Some(f64::from(run.metrics.epochs)),
        _ => evaluation::figure(last, name),
    }
}
