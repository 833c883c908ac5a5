//! `make bench-vs-pytorch`: this program and a PyTorch baseline do the same work in turn.
//!
//! Each measurement is a process of its own, ours and theirs alike; a round is ours, theirs,
//! theirs in channels-last memory, every second round backwards. Ratios are taken round by
//! round. The last line is JSON.

mod common;

use anyhow::{Context, bail};
use bad_global_minima::experiments::Plan;
use bad_global_minima::spec::{Key, RunSpec};
use bad_global_minima::store::Store;
use bad_global_minima::torch;
use clap::{Parser, ValueEnum};
use common::process::{baseline, last_line};
use common::summary::{Ratio, Summary, duration, median};
use common::trainer::{self, Trainer};
use common::{flop, peak, workload};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

#[derive(Parser)]
struct Options {
    /// A Python with PyTorch 2.11.0 and NumPy.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Rounds of step, epoch and corruption.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Profile of the headline.
    #[arg(long, default_value = "quick")]
    profile: String,
    /// Seeds of the headline.
    #[arg(long, default_value_t = 2)]
    seeds: u32,
    /// Runs of the headline at a time, ours; a core each if not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// What to measure.
    #[arg(long, value_delimiter = ',', default_values_t = Part::ALL)]
    parts: Vec<Part>,
    /// One measurement of ours, in this process.
    #[arg(long)]
    ours: Option<Part>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Step,
    Epoch,
    Corruption,
    Peak,
    Headline,
}

impl Part {
    const ALL: [Part; 5] = [Part::Step, Part::Epoch, Part::Corruption, Part::Peak, Part::Headline];

    fn name(self) -> &'static str {
        ["step", "epoch", "corruption", "peak", "headline"][self as usize]
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The two ways in which the baseline lays out its tensors.
const LAYOUTS: [&str; 2] = ["contiguous", "channels_last"];

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(part) = options.ours {
        println!("{}", ours(part)?);
        return Ok(());
    }
    let python = options.python.clone().context("--python: which interpreter has PyTorch?")?;
    let conductor = Conductor::new(python)?;
    let platform = torch::platform(tch::Device::Cpu);
    println!("{}, libtorch {}, {} cores", platform.device, platform.libtorch, cores());
    let mut summary = Summary::default();
    let wants = |part: Part| options.parts.contains(&part);
    if wants(Part::Step) {
        conductor.steps(options.rounds, &mut summary)?;
    }
    let mut workers = [0; 2];
    if wants(Part::Epoch) {
        workers = conductor.epochs(options.rounds, &mut summary)?;
    }
    if wants(Part::Corruption) {
        conductor.corruption(options.rounds, &mut summary)?;
    }
    if wants(Part::Peak) {
        conductor.peak(&mut summary)?;
    }
    if wants(Part::Headline) {
        let jobs = options.jobs.unwrap_or_else(cores);
        let grid = Grid { profile: &options.profile, seeds: options.seeds, jobs };
        conductor.headline(&grid, workers, &mut summary)?;
    }
    println!("{}", summary.line());
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Measures in this process and gives a line of JSON.
fn ours(part: Part) -> anyhow::Result<Value> {
    torch::initialize()?;
    let catalog = workload::catalog();
    let seconds = match part {
        Part::Step => Trainer::of(&workload::sota()?, &catalog)?.time_steps(40, 10)?,
        Part::Epoch => trainer::time_epochs(&workload::sota()?, &catalog, 5)?,
        Part::Corruption => {
            let images = trainer::images(&catalog)?;
            let time = |seed| {
                let start = Instant::now();
                let (pixels, labels) = trainer::corrupt_all(&images, seed);
                let seconds = start.elapsed().as_secs_f64();
                assert_eq!(pixels.len(), labels.len() * images.shape.values());
                seconds
            };
            (0..6).map(time).skip(1).collect()
        }
        Part::Peak => {
            let mut reached = Vec::new();
            for threads in [1, cores() as i32] {
                let r = peak::full_width(threads, peak::ROUNDS)?;
                println!("{r}");
                reached.push(r.fraction());
            }
            return Ok(json!({ "fractions": reached }));
        }
        Part::Headline => bail!("the headline is run by bgm itself"),
    };
    Ok(json!({ "seconds": seconds }))
}

/// What a measurement prints last.
#[derive(Deserialize)]
struct Times {
    seconds: Vec<f64>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

/// The runs of the headline.
struct Grid<'a> {
    profile: &'a str,
    seeds: u32,
    /// Ours at a time.
    jobs: usize,
}

/// Calls both sides.
struct Conductor {
    python: PathBuf,
    folder: PathBuf,
}

impl Conductor {
    fn new(python: PathBuf) -> anyhow::Result<Conductor> {
        let folder = workload::folder();
        std::fs::create_dir_all(&folder)?;
        Ok(Conductor { python, folder })
    }

    /// Writes what the baseline is to do and gives the file's path.
    fn work(&self, spec: &RunSpec, runs: &[Value]) -> anyhow::Result<PathBuf> {
        let catalog = workload::catalog();
        let normalization = catalog.info(workload::DATASET)?;
        let corruption = workload::corruption();
        let work = json!({
            "data": catalog.root(), "classes": workload::CLASSES,
            "mean": normalization.mean[0], "std": normalization.std[0],
            "corruption": { "dataset": workload::DATASET,
                "replication": corruption.replication, "zero_out": corruption.zero_out },
            "spec": spec, "runs": runs, "networks": workload::described(),
        });
        let path = self.folder.join("work.json");
        std::fs::write(&path, work.to_string())?;
        Ok(path)
    }

    fn theirs(&self, task: &str, work: &Path, options: &[&str]) -> anyhow::Result<Value> {
        last_line(baseline(&self.python, task, work).args(options))
    }

    fn ours(&self, part: Part) -> anyhow::Result<Value> {
        let mut command = Command::new(std::env::current_exe()?);
        last_line(command.args(["--ours", part.name()]).env("OMP_NUM_THREADS", "1"))
    }

    /// Measures all sides in turn, `rounds` times; the median of each round by side.
    fn rounds(&self, rounds: usize, sides: &[&dyn Fn() -> anyhow::Result<Value>]) -> Medians {
        let mut medians = vec![Vec::new(); sides.len()];
        for round in 0..rounds {
            let mut order: Vec<usize> = (0..sides.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for side in order {
                let times: Times = serde_json::from_value(sides[side]()?)?;
                medians[side].push(median(&times.seconds));
            }
        }
        Ok(medians)
    }

    fn steps(&self, rounds: usize, summary: &mut Summary) -> anyhow::Result<()> {
        let work = self.work(&workload::sota()?, &[])?;
        let theirs = |layout| self.theirs("step", &work, &["--threads", "1", "--layout", layout]);
        let [plain, channels_last] = LAYOUTS;
        let sides: [&dyn Fn() -> anyhow::Result<Value>; 3] =
            [&|| self.ours(Part::Step), &|| theirs(plain), &|| theirs(channels_last)];
        let medians = self.rounds(rounds, &sides)?;
        let title = "one training step, ResNet18 width 8, batch 25 of 1x14x14, one thread each";
        let [first, second] = show(title, &medians, &LAYOUTS.map(|l| format!("PyTorch {l}")));
        (summary.step_ratio, summary.step_ratio_channels_last) = (first, second);
        Ok(())
    }

    /// Tries threads and workers, then measures; gives the best number of workers at PyTorch's
    /// default threads for each layout.
    fn epochs(&self, rounds: usize, summary: &mut Summary) -> anyhow::Result<[u64; 2]> {
        let work = self.work(&workload::sota()?, &[])?;
        let mut best = Vec::new();
        let mut workers = [0; 2];
        println!("PyTorch's epoch by threads and DataLoader workers:");
        for (layout, workers) in LAYOUTS.into_iter().zip(&mut workers) {
            let probe: Probe = serde_json::from_value(self.theirs(
                "probe",
                &work,
                &["--layout", layout, "--count", "2"],
            )?)?;
            for tried in &probe.tried {
                let Tried { threads, workers, seconds } = tried;
                let time = duration(*seconds);
                println!("  {layout}: {threads} thread(s), {workers} workers: {time}");
            }
            best.push(fastest(&probe.tried, |_| true)?);
            *workers = fastest(&probe.tried, |t| t.threads == probe.default_threads)?.workers;
        }
        let theirs = |place: usize| {
            let Tried { threads, workers, .. } = best[place];
            let (threads, workers) = (threads.to_string(), workers.to_string());
            let options =
                ["--layout", LAYOUTS[place], "--threads", &threads, "--workers", &workers];
            self.theirs("epoch", &work, &[&options[..], &["--count", "5"]].concat())
        };
        let medians =
            self.rounds(rounds, &[&|| self.ours(Part::Epoch), &|| theirs(0), &|| theirs(1)])?;
        let names = [0, 1].map(|place| {
            let Tried { threads, workers, .. } = best[place];
            format!("PyTorch {}, {threads} thread(s), {workers} workers", LAYOUTS[place])
        });
        let title =
            "one epoch with augmentation, 500 images, ours on one thread, theirs at its best";
        let [first, second] = show(title, &medians, &names);
        (summary.epoch_ratio, summary.epoch_ratio_channels_last) = (first, second);
        Ok(workers)
    }

    fn corruption(&self, rounds: usize, summary: &mut Summary) -> anyhow::Result<()> {
        let work = self.work(&workload::sota()?, &[])?;
        let naive = std::cell::RefCell::new(Vec::new());
        let numpy = || {
            let value = self.theirs("corruption", &work, &["--count", "5"])?;
            let times: Times = serde_json::from_value(value.clone())?;
            let first = times.other.get("argpartition_seconds").cloned().unwrap_or_default();
            let first: Vec<f64> = serde_json::from_value(first)?;
            naive.borrow_mut().push(median(&first));
            Ok(value)
        };
        let medians = self.rounds(rounds, &[&|| self.ours(Part::Corruption), &numpy])?;
        let title = "corruption of 2,000 images 1x28x28 at R = 10, one core each";
        let [first, _] = show(title, &medians, &["NumPy, the fastest found".to_owned()]);
        show("", &[medians[0].clone(), naive.take()], &["NumPy, argpartition".to_owned()]);
        summary.corruption_ratio = first;
        Ok(())
    }

    fn peak(&self, summary: &mut Summary) -> anyhow::Result<()> {
        let work = self.work(&workload::sota()?, &[])?;
        let counts = self.theirs("flop", &work, &[])?;
        for (name, network, signature) in workload::counted() {
            let count = flop::count(&network, signature);
            let theirs = counts["flop_per_image"][&name].as_f64().unwrap_or(f64::NAN);
            if count.step() as f64 != theirs {
                bail!("{name}: {} operations an image, PyTorch counts {theirs}", count.step());
            }
        }
        println!("operations per image: the same as PyTorch's FlopCounterMode, all networks");
        let reached = self.ours(Part::Peak)?;
        summary.peak_fraction = reached["fractions"][0].as_f64();
        Ok(())
    }

    /// The headline: ours cold, ours from the store, theirs in both layouts.
    fn headline(
        &self,
        grid: &Grid<'_>,
        workers: [u64; 2],
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let plan = workload::plan(grid.profile, &[workload::HEADLINE], Some(grid.seeds))?;
        let store = self.folder.join("runs");
        if store.exists() {
            std::fs::remove_dir_all(&store)?;
        }
        let cold = self.reproduce(&store, grid)?;
        let stored = self.reproduce(&store, grid)?;
        let (runs, accuracies) = trained(&plan, &store)?;
        let work = self.work(&workload::sota()?, &runs)?;
        let title = format!(
            "the {} headline, {} seeds, {} runs: ours with {} jobs, theirs one after another",
            grid.profile,
            grid.seeds,
            runs.len(),
            grid.jobs
        );
        let mut all = vec![vec![cold]];
        let mut names = Vec::new();
        println!("headline: mean test accuracy, ours {:.1}%", mean_of(&accuracies));
        for (layout, workers) in LAYOUTS.into_iter().zip(workers) {
            let workers = workers.to_string();
            let options = ["--layout", layout, "--workers", &workers];
            let times: Times = serde_json::from_value(self.theirs("headline", &work, &options)?)?;
            let last = times.other.get("accuracies").cloned().unwrap_or_default();
            let last: BTreeMap<String, (f64, f64)> = serde_json::from_value(last)?;
            println!("headline: mean test accuracy, PyTorch {layout} {:.1}%", mean_of(&last));
            names.push(format!(
                "PyTorch {layout}, {} threads, {workers} workers",
                times.other["threads"]
            ));
            all.push(times.seconds);
        }
        let [first, second] = show(&title, &all, &names);
        (summary.headline_ratio, summary.headline_ratio_channels_last) = (first, second);
        let [again, _] =
            show("the same from the store", &[vec![stored], all[1].clone()], &names[..1]);
        summary.headline_stored_ratio = again;
        Ok(())
    }

    /// Seconds of `bgm reproduce` of the headline.
    fn reproduce(&self, store: &Path, grid: &Grid<'_>) -> anyhow::Result<f64> {
        let start = Instant::now();
        let status = Command::new(workload::repository().join("target/release/bgm"))
            .current_dir(workload::repository())
            .args(["--profile", grid.profile, "--only", workload::HEADLINE, "--device", "cpu"])
            .args(["--quiet", "--seeds", &grid.seeds.to_string(), "--store"])
            .arg(store)
            .args(["reproduce", "--jobs", &grid.jobs.to_string(), "--out"])
            .arg(self.folder.join("reproduction"))
            .stdout(Stdio::null())
            .status()
            .context("target/release/bgm: build it first, `make build`")?;
        // Few seeds leave claims open (3), other seeds leave the reference behind (1).
        if !matches!(status.code(), Some(0 | 1 | 3)) {
            bail!("bgm reproduce ended with {status}");
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

type Medians = anyhow::Result<Vec<Vec<f64>>>;

/// Final accuracies (training, test) by key.
type Accuracies = BTreeMap<String, (f64, f64)>;

/// The runs of a plan as the baseline reads them, each with the number of epochs that ours
/// took, so that both do the same amount of work; and ours' final accuracies.
fn trained(plan: &Plan, store: &Path) -> anyhow::Result<(Vec<Value>, Accuracies)> {
    let store = Store::open(store)?;
    let mut runs = Vec::new();
    let mut accuracies = BTreeMap::new();
    for key in &plan.order {
        let (run, stored) = (&plan.runs[key], store.read(key)?);
        runs.push(json!({
            "key": key.as_str(), "parent": run.parent.as_ref().map(Key::as_str),
            "spec": run.spec, "epochs": stored.metrics.epochs,
        }));
        let last = stored.metrics.last().context("a run without an evaluation")?;
        accuracies.insert(key.to_string(), (last.train_accuracy, last.test_accuracy));
    }
    Ok((runs, accuracies))
}

fn mean_of(accuracies: &Accuracies) -> f64 {
    accuracies.values().map(|(_, test)| test).sum::<f64>() / accuracies.len() as f64
}

#[derive(Deserialize)]
struct Probe {
    tried: Vec<Tried>,
    default_threads: u64,
}

#[derive(Clone, Copy, Deserialize)]
struct Tried {
    threads: u64,
    workers: u64,
    seconds: f64,
}

fn fastest(tried: &[Tried], wanted: impl Fn(&Tried) -> bool) -> anyhow::Result<Tried> {
    let among = tried.iter().filter(|t| wanted(t));
    let best = among.min_by(|a, b| a.seconds.total_cmp(&b.seconds));
    best.copied().context("the baseline tried nothing")
}

/// Prints the medians, the spread over the rounds and the ratios of ours (the first) to each of
/// the others; gives the first two ratios.
fn show(title: &str, medians: &[Vec<f64>], names: &[String]) -> [Option<f64>; 2] {
    if !title.is_empty() {
        println!("{title}");
        println!("  ours: {}", spread(&medians[0]));
    }
    let mut ratios = [None; 2];
    for (place, (times, name)) in medians[1..].iter().zip(names).enumerate() {
        let ratio = Ratio::of(&medians[0], times);
        let text = ratio.map_or_else(|| "not measured".to_owned(), |ratio| ratio.to_string());
        println!("  {name}: {}; ratio {text}", spread(times));
        if let Some(slot) = ratios.get_mut(place) {
            *slot = ratio.map(|ratio| ratio.median);
        }
    }
    ratios
}

fn spread(times: &[f64]) -> String {
    let low = times.iter().copied().fold(f64::INFINITY, f64::min);
    let high = times.iter().copied().fold(0.0, f64::max);
    let rounds = times.len();
    format!(
        "{} ({} to {}, {rounds} rounds)",
        duration(median(times)),
        duration(low),
        duration(high)
    )
}
