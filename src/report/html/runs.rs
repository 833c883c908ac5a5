//! The runs behind the numbers: what each one was, and the command that redoes it.

use crate::experiments::Experiment;
use crate::experiments::results::{ExperimentResult, RunResult};
use crate::report::layout::show;
use crate::spec::{Key, RunSpec, Start};
use crate::train::metrics::Status;
use serde::Serialize;
use std::collections::BTreeSet;

/// The runs of one cell.
pub struct CellRuns<'a> {
    pub anchor: String,
    pub label: String,
    pub seeds: Vec<SeedView<'a>>,
}

/// One seed of a cell.
pub struct SeedView<'a> {
    pub seed: u64,
    pub key: &'a Key,
    pub parents: Vec<&'a Key>,
    pub status: &'static str,
    /// Metric label and value.
    pub values: Vec<String>,
}

impl<'a> CellRuns<'a> {
    /// Where the runs of a cell are listed.
    pub fn anchor(experiment: &Experiment, cell: usize) -> String {
        format!("cell-{}-{}", experiment.id, cell + 1)
    }

    /// All cells of an experiment.
    pub fn all(result: &'a ExperimentResult) -> Vec<CellRuns<'a>> {
        let experiment = &result.experiment;
        let cells = result.cells.iter().enumerate().map(|(place, cell)| {
            let seeds = cell.seeds.iter().map(|seed| SeedView {
                seed: seed.seed,
                key: &seed.key,
                parents: match &seed.run {
                    Some(run) => run.chain().skip(1).map(|parent| &parent.key).collect(),
                    None => Vec::new(),
                },
                status: seed.run.as_ref().map_or("not in the store", |r| words(r.metrics.status)),
                values: experiment
                    .metrics
                    .iter()
                    .filter_map(|metric| {
                        let value = show(metric, *seed.values.get(&metric.name)?);
                        Some(format!("{} {value}", metric.label))
                    })
                    .collect(),
            });
            CellRuns {
                anchor: CellRuns::anchor(experiment, place),
                label: result.cell_label(cell),
                seeds: seeds.collect(),
            }
        });
        cells.collect()
    }
}

/// How a run ended, for people.
fn words(status: Status) -> &'static str {
    match status {
        Status::Finished => "finished",
        Status::NotMemorized => "did not memorize",
        Status::Diverged => "diverged",
    }
}

/// One run.
pub struct RunView<'a> {
    pub key: &'a Key,
    /// `None` if it is not in the store.
    pub details: Option<RunDetails<'a>>,
}

/// What is known of a stored run.
pub struct RunDetails<'a> {
    pub seed: u64,
    pub status: &'static str,
    pub epochs: u32,
    pub result_hash: &'a str,
    pub parent: Option<&'a Key>,
    pub spec: String,
}

/// Remembers which runs have been described, so that each one is once.
#[derive(Default)]
pub struct Described<'a> {
    keys: BTreeSet<&'a Key>,
}

impl<'a> Described<'a> {
    /// Runs of `result` and their parents that have not been described yet.
    pub fn of(&mut self, result: &'a ExperimentResult) -> Vec<RunView<'a>> {
        let mut views = Vec::new();
        for seed in result.cells.iter().flat_map(|cell| &cell.seeds) {
            let Some(run) = &seed.run else {
                if self.keys.insert(&seed.key) {
                    views.push(RunView { key: &seed.key, details: None });
                }
                continue;
            };
            for run in run.chain() {
                if self.keys.insert(&run.key) {
                    views.push(RunView { key: &run.key, details: Some(details(run)) });
                }
            }
        }
        views
    }
}

fn details(run: &RunResult) -> RunDetails<'_> {
    RunDetails {
        seed: run.spec.seed,
        status: words(run.metrics.status),
        epochs: run.metrics.epochs,
        result_hash: &run.result_hash,
        parent: run.parent.as_ref().map(|parent| &parent.key),
        spec: spec_text(&run.spec, run.parent.as_ref().map(|parent| &parent.key)),
    }
}

/// The spec as indented JSON in the order of its fields, its parent by key: the parent has
/// a description of its own.
fn spec_text(spec: &RunSpec, parent: Option<&Key>) -> String {
    #[derive(Serialize)]
    struct Shown<'a> {
        seed: u64,
        data: &'a crate::spec::DataSpec,
        network: &'a crate::spec::NetworkSpec,
        start: serde_json::Value,
        train: &'a crate::spec::TrainSpec,
    }
    let start = match &spec.start {
        Start::Random { scale } => serde_json::json!({ "random": { "scale": scale } }),
        Start::Run(_) => serde_json::json!({ "run": parent.map(Key::as_str) }),
    };
    let shown = Shown {
        seed: spec.seed,
        data: &spec.data,
        network: &spec.network,
        start,
        train: &spec.train,
    };
    // Numbers and names only: this cannot fail, and a report is no place to stop for it.
    serde_json::to_string_pretty(&shown).unwrap_or_default()
}
