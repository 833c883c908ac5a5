//! Made-up verifications: 15 experiments of 10 cells each, one metric.
#![allow(dead_code)]

use bad_global_minima::backend::Platform;
use bad_global_minima::data::Catalog;
use bad_global_minima::experiments::results::{
    CellResult, ExperimentResult, RunResult, SeedResult,
};
use bad_global_minima::experiments::{Experiment, Plan, Profile, Seeds};
use bad_global_minima::rng::Stream;
use bad_global_minima::spec::{Numerics, TRAINING_SEMANTICS};
use bad_global_minima::train::metrics::{Metrics, Status};
use bad_global_minima::verify::Case;
use bad_global_minima::verify::claims::Claims;
use bad_global_minima::verify::outcome::{RegressionOutcome, RegressionStatus};
use bad_global_minima::verify::reference::{Reference, ReferenceValue};
use bad_global_minima::verify::regression;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub const OUTSIDE: RegressionStatus = RegressionStatus::Outside;
const EXPERIMENTS: usize = 15;
const CELLS: usize = 10;

/// How the seeds of a cell scatter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// All cells alike.
    Normal,
    /// The ten cells of an experiment spread from 1 to 10.
    Tenfold,
    /// Student's t with 3 degrees of freedom.
    HeavyTails,
    /// Exponential.
    Skewed,
    /// Accuracies in percent of 500 images, most of them near 100: few errors, more by some
    /// seeds than by others.
    NearHundred,
}

impl Distribution {
    pub const ALL: [Distribution; 5] = [
        Distribution::Normal,
        Distribution::Tenfold,
        Distribution::HeavyTails,
        Distribution::Skewed,
        Distribution::NearHundred,
    ];

    /// One value of the cell at a place from 0 to 9 of its experiment.
    pub fn value(self, place: usize, stream: &mut Stream) -> f64 {
        let exponential = |stream: &mut Stream| -(1.0 - stream.unit_f64()).ln();
        match self {
            Distribution::Normal => stream.normal(),
            Distribution::Tenfold => stream.normal() * 10f64.powf(place as f64 / 9.0),
            Distribution::HeavyTails => {
                let squares: f64 = (0..3).map(|_| stream.normal().powi(2)).sum();
                stream.normal() / (squares / 3.0).sqrt()
            }
            Distribution::Skewed => exponential(stream),
            Distribution::NearHundred => {
                const ERRORS: [f64; 10] = [0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 2.0, 3.0, 5.0];
                let mean = ERRORS[place] * exponential(stream);
                // A Poisson count: exponential waiting times that fit into the mean.
                let (mut errors, mut waited) = (0, exponential(stream));
                while waited < mean && errors < 500 {
                    errors += 1;
                    waited += exponential(stream);
                }
                100.0 - f64::from(errors) / 5.0
            }
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Distribution::Normal => "normal",
            Distribution::Tenfold => "normal, spreads that differ tenfold",
            Distribution::HeavyTails => "t with 3 degrees of freedom",
            Distribution::Skewed => "exponential",
            Distribution::NearHundred => "accuracies near 100",
        })
    }
}

/// A profile of 150 numbers.
pub struct World {
    distribution: Distribution,
    experiments: Vec<Experiment>,
    run: Arc<RunResult>,
}

impl World {
    pub fn new(distribution: Distribution) -> World {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let (tables, catalog) = (root.join("paper_tables"), Catalog::new(root.join("data")));
        let profile = Profile::read(&tables, "smoke").unwrap();
        let plan = Plan::new(&profile, &tables, &catalog, &[], Some(&Seeds::first(1))).unwrap();
        let (key, planned) = plan.runs.iter().next().unwrap();
        let metrics = Metrics { status: Status::Finished, epochs: 1, evaluations: Vec::new() };
        let run = RunResult {
            key: key.clone(),
            spec: planned.spec.clone(),
            metrics,
            result_hash: String::new(),
            parent: None,
        };
        let levels: Vec<String> =
            (0..CELLS).map(|c| format!("{{ id = \"c{c}\", label = \"c{c}\" }}")).collect();
        let resolution = if distribution == Distribution::NearHundred { 0.2 } else { 0.0 };
        let text = format!(
            "title = \"t\"\nsummary = \"s\"\nsource = \"s\"\nbase = \"toy\"\n\
             axis = [{{ name = \"cell\", label = \"Cell\", level = [{}] }}]\n\
             metric = [{{ name = \"test_accuracy\", label = \"Accuracy\", max_spread = 1e9, \
             resolution = {resolution:?} }}]\nrender = {{ kind = \"table\" }}\n",
            levels.join(", ")
        );
        let experiment = |place: usize| {
            let mut experiment: Experiment = toml::from_str(&text).unwrap();
            experiment.id = format!("e{place:02}");
            experiment
        };
        let experiments = (0..EXPERIMENTS).map(experiment).collect();
        World { distribution, experiments, run: Arc::new(run) }
    }

    pub fn resolution(&self) -> f64 {
        self.experiments[0].metrics[0].resolution
    }

    /// Values of all cells with so many seeds each.
    pub fn draw(&self, seeds: usize, stream: &mut Stream) -> Vec<Vec<f64>> {
        let cell = |place: usize| -> Vec<f64> {
            (0..seeds).map(|_| self.distribution.value(place % CELLS, stream)).collect()
        };
        (0..EXPERIMENTS * CELLS).map(cell).collect()
    }

    /// The comparison of new values with blessed ones, on another platform; the new seeds
    /// count from `first_seed`, the blessed ones from 0.
    pub fn compare(
        &self,
        blessed: &[Vec<f64>],
        new: &[Vec<f64>],
        first_seed: u64,
    ) -> Vec<RegressionOutcome> {
        let platform = |device: &str| Platform {
            numerics: Numerics::libtorch_cpu("2.11.0"),
            device: device.to_owned(),
        };
        let value = |(place, values): (usize, &Vec<f64>)| ReferenceValue {
            experiment: self.experiments[place / CELLS].id.clone(),
            cell: format!("cell=c{}", place % CELLS),
            metric: "test_accuracy".to_owned(),
            seeds: (0..values.len() as u64).collect(),
            values: values.clone(),
            excluded: Vec::new(),
            resolution: self.resolution(),
            max_spread: 1e9,
        };
        let reference = Reference {
            profile: "made up".to_owned(),
            reason: String::new(),
            date: String::new(),
            commit: String::new(),
            semantics: TRAINING_SEMANTICS,
            platform: platform("A"),
            protocol: None,
            verdicts: BTreeMap::new(),
            values: blessed.iter().enumerate().map(value).collect(),
        };
        let seed = |(place, value): (usize, &f64)| SeedResult {
            seed: first_seed + place as u64,
            key: self.run.key.clone(),
            run: Some(self.run.clone()),
            values: BTreeMap::from([("test_accuracy".to_owned(), *value)]),
            measured: BTreeMap::new(),
        };
        let cell = |(place, values): (usize, &Vec<f64>)| CellResult {
            levels: vec![place],
            seeds: values.iter().enumerate().map(seed).collect(),
        };
        let results: Vec<ExperimentResult> = self
            .experiments
            .iter()
            .zip(new.chunks(CELLS))
            .map(|(experiment, cells)| ExperimentResult {
                experiment: experiment.clone(),
                cells: cells.iter().enumerate().map(cell).collect(),
            })
            .collect();
        let case = Case {
            profile: "made up",
            results: &results,
            claims: &Claims { claim: Vec::new() },
            reference: Some(&reference),
            platform: &platform("B"),
            only: &[],
            contradicted: &BTreeMap::new(),
            strict: false,
        };
        regression::compare(&case, &reference)
    }
}
