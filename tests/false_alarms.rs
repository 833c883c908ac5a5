//! The promise of `verify::regression`: over a whole verification of unchanged code with
//! fresh seeds on another platform, the probability of any alarm is at most 5%. Measured on
//! real trainings, small enough to be made by the thousand.

mod common;

use bad_global_minima::backend::Platform;
use bad_global_minima::data::Catalog;
use bad_global_minima::experiments::aggregate::{RunRecord, Runs, aggregate};
use bad_global_minima::experiments::results::{ExperimentResult, Measured};
use bad_global_minima::experiments::{Plan, Profile, Seeds};
use bad_global_minima::spec::{Key, Numerics, RunSpec};
use bad_global_minima::train::{self, Inputs, Unobserved};
use bad_global_minima::verify::Case;
use bad_global_minima::verify::bless::{self, Provenance};
use bad_global_minima::verify::claims::Claims;
use bad_global_minima::verify::outcome::RegressionStatus;
use bad_global_minima::verify::reference::Reference;
use bad_global_minima::verify::regression::{FALSE_ALARM_RATE, compare};
use common::{Workplace, copy_folder, repository};

const REFERENCES: u64 = 10;
const VERIFICATIONS: u64 = 20; // of each reference
const REFERENCE_SEEDS: u32 = 8;
const FRESH_SEEDS: u32 = 5;

const PROFILE: &str = r#"
inherits = "default"
experiments = ["tiny"]
[base.image.data.images]
dataset = "fashion-mnist-subset"
train = 60
test = 100
evaluate_on = "test"
pool = 7
[base.image]
network = { arch = "mlp", width = 8, batch_norm = false }
[base.image.train]
batch_size = 20
epochs = 4
learning_rate = 0.2
evaluate_every = 4
schedule = "constant"
"#;

const EXPERIMENT: &str = r#"
title = "Tiny trainings"
summary = "Made by the thousand."
source = "tests/false_alarms.rs"
base = "image"
axis = [{ name = "rate", label = "Rate", level = [
    { id = "low", label = "0.05", set = { "train.learning_rate" = 0.05 } },
    { id = "high", label = "0.2" },
    { id = "momentum", label = "0.2, momentum", set = { "train.use_momentum" = true } },
] }]
metric = [
    { name = "test_accuracy", label = "Test accuracy", unit = "%", max_spread = 100.0 },
    { name = "test_loss", label = "Test loss", max_spread = 100.0 },
    { name = "distance", label = "Distance", max_spread = 100.0 },
    { name = "train_accuracy", label = "Training accuracy", unit = "%", max_spread = 100.0 },
]
render = { kind = "table" }
"#;

/// Trains each run when it is asked for, with seeds of its own.
struct Fresh<'a> {
    catalog: &'a Catalog,
    first_seed: u64,
}

impl Runs for Fresh<'_> {
    fn run(&self, _: &Key, spec: &RunSpec) -> Option<RunRecord> {
        let spec = spec.with_seed(self.first_seed + spec.seed);
        let inputs = Inputs {
            catalog: self.catalog,
            device: &common::cpu(),
            parent: None,
            resume: None,
            key: "",
        };
        let trained = train::train(&spec, &inputs, &mut Unobserved).unwrap();
        Some(RunRecord { metrics: trained.metrics, result_hash: String::new() })
    }

    fn measured(&self, _: &Key, _: &str, _: &str) -> Option<Measured> {
        None
    }
}

fn platform(device: &str) -> Platform {
    Platform { numerics: Numerics::libtorch_cpu("2.11.0"), device: device.to_owned() }
}

#[test]
fn fresh_seeds_raise_no_more_alarms_than_promised() {
    let place = Workplace::new();
    let tables = place.path("tables");
    copy_folder(&repository().join("paper_tables"), &tables);
    std::fs::write(tables.join("profiles/tiny.toml"), PROFILE).unwrap();
    std::fs::write(tables.join("tiny.toml"), EXPERIMENT).unwrap();
    let catalog = Catalog::new(repository().join("data"));
    let profile = Profile::read(&tables, "tiny").unwrap();
    let results = |seeds: u32, first_seed: u64| -> Vec<ExperimentResult> {
        let plan = Plan::new(&profile, &tables, &catalog, &[], Some(&Seeds::first(seeds))).unwrap();
        aggregate(&plan, &Fresh { catalog: &catalog, first_seed })
    };
    let mut alarms = 0;
    let mut comparisons = 0;
    for reference in 0..REFERENCES {
        let provenance = Provenance {
            profile: "tiny".to_owned(),
            reason: "test".to_owned(),
            date: String::new(),
            commit: String::new(),
            platform: platform("the reference's"),
        };
        let blessed: Reference = bless::make(
            &results(REFERENCE_SEEDS, 1_000_000 * (reference + 1)),
            &Claims { claim: Vec::new() },
            provenance,
            None,
        )
        .unwrap();
        for verification in 0..VERIFICATIONS {
            let first = 1_000_000 * (reference + 1) + 1_000 * (verification + 1);
            let outcomes = compare(
                &Case {
                    profile: "tiny",
                    results: &results(FRESH_SEEDS, first),
                    claims: &Claims { claim: Vec::new() },
                    reference: Some(&blessed),
                    platform: &platform("another"),
                    only: &[],
                    strict: false,
                },
                &blessed,
            );
            assert!(outcomes.iter().all(|o| o.tolerance.is_some()), "{outcomes:?}");
            comparisons = outcomes.len();
            alarms += u32::from(outcomes.iter().any(|o| o.status == RegressionStatus::Outside));
        }
    }
    let total = f64::from((REFERENCES * VERIFICATIONS) as u32);
    let rate = f64::from(alarms) / total;
    println!("{alarms} of {total} verifications of {comparisons} numbers raised an alarm");
    // Three standard deviations of chance above the promise.
    let bound =
        FALSE_ALARM_RATE + 3.0 * (FALSE_ALARM_RATE * (1.0 - FALSE_ALARM_RATE) / total).sqrt();
    assert!(rate <= bound, "{rate} exceeds {bound}");
}
