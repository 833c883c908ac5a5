//! `make bench`: criterion's measurements of what a run spends its time on, in turn with those of
//! the last program, and the machine's limit beside them.

mod common;

use bad_global_minima::backend::Device;
use bad_global_minima::data::Catalog;
use bad_global_minima::experiments::aggregate::{RunRecord, Runs, aggregate};
use bad_global_minima::experiments::results::{ExperimentResult, Measured};
use bad_global_minima::experiments::{KeyMaker, Plan};
use bad_global_minima::models::graph::Graph;
use bad_global_minima::spec::{Key, RunSpec};
use bad_global_minima::train::feed::Feed;
use bad_global_minima::train::metrics::{Evaluation, Metrics, Status};
use bad_global_minima::train::source::{Source, Split};
use bad_global_minima::train::{self, measure_split};
use bad_global_minima::verify::claims::Claims;
use bad_global_minima::verify::reference::Reference;
use bad_global_minima::verify::{Case, verify};
use common::rounds::{self, Rounds, Settings};
use common::summary::duration;
use common::trainer::{self, Trainer, from_random_weights};
use common::{flop, peak, workload};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> anyhow::Result<ExitCode> {
    let round = std::env::var_os(rounds::ROUND);
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // As criterion sees it: without `--bench` it only tries whether everything runs.
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if round.is_some() || !has("--bench") || has("--test") || has("--list") {
        measure(round.as_deref().map(Path::new))?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::read()?;
    let measured = rounds::measure(&settings, &arguments)?;
    let passes = rounds::judge(&settings, &measured)?;
    if settings.limit {
        limit(&measured)?;
    }
    Ok(if passes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One round of all benchmarks, in this process; criterion's files go to `folder`.
fn measure(folder: Option<&Path>) -> anyhow::Result<()> {
    bad_global_minima::torch::initialize()?;
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(150))
        .without_plots();
    if let Some(folder) = folder {
        criterion = criterion.output_directory(folder);
    }
    let mut criterion = criterion.configure_from_args();
    let catalog = workload::catalog();
    steps(&mut criterion, &catalog)?;
    batches(&mut criterion, &catalog)?;
    evaluation(&mut criterion, &catalog)?;
    bookkeeping(&mut criterion, &catalog)?;
    criterion.final_summary();
    Ok(())
}

/// Benchmarks whose samples are all of the same number of iterations: there are enough rounds.
fn flat<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group
}

/// One training step of each network: forward, loss, backward, update.
fn steps(criterion: &mut Criterion, catalog: &Catalog) -> anyhow::Result<()> {
    let mut group = flat(criterion, "step");
    for (name, spec) in workload::networks()? {
        let mut trainer = Trainer::of(&spec, catalog)?;
        trainer.step()?;
        group.bench_function(name, |bencher| {
            bencher.iter(|| trainer.step().expect("the engine trains"));
        });
    }
    group.finish();
    Ok(())
}

/// Putting a batch together (gather, corrupt, crop, flip, normalize), and Algorithm 1 alone.
fn batches(criterion: &mut Criterion, catalog: &Catalog) -> anyhow::Result<()> {
    let mut group = flat(criterion, "assembly");
    for (name, spec) in [("sota", workload::sota()?), ("pretraining", workload::pretraining()?)] {
        let source = Source::open(&spec, catalog)?;
        let order: Vec<usize> = source.order(1).into_iter().map(|e| e as usize).collect();
        let batch = &order[..spec.train.batch_size as usize];
        group.bench_function(name, |bencher| {
            bencher.iter(|| source.batch(Split::Train { epoch: 1 }, batch.iter().copied()));
        });
    }
    group.finish();
    let images = trainer::images(catalog)?;
    let mut group = flat(criterion, "corruption");
    group.bench_function("2000 images, R 10", |bencher| {
        bencher.iter_with_large_drop(|| trainer::corrupt_all(&images, 0));
    });
    group.finish();
    Ok(())
}

/// Loss and accuracy over the 2,000 test images.
fn evaluation(criterion: &mut Criterion, catalog: &Catalog) -> anyhow::Result<()> {
    let spec = workload::sota()?;
    let source = Source::open(&spec, catalog)?;
    let graph = Graph::new(&spec.network, source.signature());
    let state = train::start(&from_random_weights(&spec), &graph, 0, None)?;
    let mut backend = train::open(&spec, &graph, &state, &trainer::cpu(1))?;
    let mut feed = Feed::new(&source);
    let mut group = flat(criterion, "evaluation");
    group.bench_function("resnet18, 2000 images", |bencher| {
        bencher.iter(|| measure_split(&mut *backend, &mut feed, Split::Test, &|| false));
    });
    group.finish();
    Ok(())
}

/// What is done beside the training: names of runs, plans, verdicts.
fn bookkeeping(criterion: &mut Criterion, catalog: &Catalog) -> anyhow::Result<()> {
    let plan = workload::plan("quick", &[], None)?;
    let chain = plan.runs.values().find(|run| run.parent.is_some());
    let chain: &RunSpec = &chain.expect("quick has adversarial initializations").spec;
    let mut group = flat(criterion, "bookkeeping");
    let mut keys = KeyMaker::new(catalog);
    group.bench_function("key of a chain", |bencher| {
        bencher.iter(|| keys.key(chain).expect("the embedded data has a manifest"));
    });
    group.bench_function("plan of quick", |bencher| {
        bencher.iter(|| workload::plan("quick", &[], None).expect("the profile is there"));
    });
    let results = made_up_results(&plan);
    let expected = workload::repository().join("expected");
    let tables = workload::repository().join("paper_tables");
    let claims = Claims::read(&expected.join("claims.toml"), &tables)?;
    let blessed = Reference::of_profile(&expected, "quick")?;
    let platform = trainer::cpu(1).platform();
    group.bench_function("verification of quick", |bencher| {
        let case = Case {
            profile: "quick",
            results: &results,
            claims: &claims,
            reference: blessed.as_ref(),
            platform: &platform,
            only: &[],
            contradicted: &std::collections::BTreeMap::new(),
            strict: false,
        };
        bencher.iter(|| verify(&case));
    });
    group.finish();
    Ok(())
}

/// Results of a plan without training: every run ends with numbers made from its seed.
fn made_up_results(plan: &Plan) -> Vec<ExperimentResult> {
    // Every value that some metric asks of some measurement.
    let metrics = plan.experiments.iter().flat_map(|(experiment, _)| &experiment.metrics);
    let values = metrics
        .filter_map(|metric| metric.name.trim_start_matches("gap.").split_once('.'))
        .enumerate()
        .map(|(place, (_, value))| (value.to_owned(), 1.0 + place as f64))
        .collect();
    aggregate(plan, &MadeUp { measured: Measured { values, series: BTreeMap::new() } })
}

struct MadeUp {
    measured: Measured,
}

impl Runs for MadeUp {
    fn run(&self, key: &Key, spec: &RunSpec) -> Option<RunRecord> {
        let accuracy = 70.0 + spec.seed as f64;
        let last = Evaluation {
            epoch: 60,
            learning_rate: 0.01,
            train_loss: 0.1,
            train_accuracy: accuracy + 10.0,
            test_loss: 1.0,
            test_accuracy: accuracy,
            distance: 1.0 + accuracy,
            distance_relative: 0.1,
        };
        let metrics = Metrics { status: Status::Finished, epochs: 60, evaluations: vec![last] };
        Some(RunRecord { metrics, result_hash: key.to_string() })
    }

    fn measured(&self, _: &Key, _: &str, _: &str) -> Option<Measured> {
        Some(self.measured.clone())
    }
}

/// Prints what a step could be and what it is.
fn limit(measured: &Rounds) -> anyhow::Result<()> {
    println!("\nThe limit: {}", trainer::cpu(1).platform().device);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as i32;
    let mut one = f64::NAN;
    for threads in std::iter::once(1).chain((cores > 1).then_some(cores)) {
        let reached = peak::full_width(threads, peak::ROUNDS)?;
        if threads == 1 {
            one = reached.peak;
        }
        println!("  {reached}");
    }
    println!("\nOperations (convolutions and linear layers) of a training step, per image:");
    for (name, network, signature) in workload::counted() {
        let count = flop::count(&Graph::new(&network, signature));
        let [parameters, flop] = [count.parameters as f64 / 1e6, count.step() as f64 / 1e6];
        println!("  {name}: {parameters:.3} million parameters, {flop:.1} MFLOP");
    }
    println!("\nSteps of this run on one thread, of the peak of one core:");
    let catalog = workload::catalog();
    for (name, spec) in workload::networks()? {
        let Some(seconds) = measured.seconds(&format!("step/{name}")) else { continue };
        let spec = from_random_weights(&spec);
        let signature = Source::open(&spec, &catalog)?.signature();
        let count = flop::count(&Graph::new(&spec.network, signature));
        let batch = f64::from(spec.train.batch_size);
        let share = 100.0 * count.step() as f64 * batch / seconds / one;
        let rate = batch / seconds;
        println!("  {name}: {}, {rate:.0} images/s, {share:.1}%", duration(seconds));
    }
    let assembly = ["sota", "pretraining"].map(|name| (name, format!("assembly/{name}")));
    for (name, path) in assembly {
        let step = measured.seconds("step/resnet18");
        let Some((step, assembly)) = step.zip(measured.seconds(&path)) else { continue };
        let share = 100.0 * assembly / step;
        println!("  assembling a batch of {name}: {}, {share:.1}% of a step", duration(assembly));
    }
    Ok(())
}
