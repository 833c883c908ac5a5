//! `make bench-vs-pytorch`: this program and a PyTorch baseline do the same work in turn.
//!
//! Each measurement is a process of its own, ours and theirs alike; a round is ours, theirs,
//! theirs in channels-last memory, every second round backwards. Ratios are taken round by
//! round. The last line is JSON.

#[path = "../common/mod.rs"]
mod common;
mod headline;

use anyhow::{Context, bail};
use bad_global_minima::backend::Device;
use bad_global_minima::models::graph::Graph;
use bad_global_minima::spec::RunSpec;
use bad_global_minima::torch;
use clap::{Parser, ValueEnum};
use common::process::{baseline, last_line};
use common::summary::{Ratio, Summary, duration, median};
use common::trainer::{self, Trainer};
use common::{flop, peak, workload};
use headline::Grid;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
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
    /// The headline against PyTorch's runs one after another.
    Headline,
    /// The headline against as many PyTorch processes as ours has jobs.
    Parallel,
}

impl Part {
    const ALL: [Part; 6] =
        [Part::Step, Part::Epoch, Part::Corruption, Part::Peak, Part::Headline, Part::Parallel];

    fn name(self) -> &'static str {
        ["step", "epoch", "corruption", "peak", "headline", "parallel"][self as usize]
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
    let platform = trainer::cpu(1).platform();
    println!("{}, {}, {} cores", platform.device, platform.numerics, cores());
    let mut summary = Summary::default();
    let wants = |part: Part| options.parts.contains(&part);
    if wants(Part::Step) {
        conductor.steps(options.rounds, &mut summary)?;
    }
    let probed = [Part::Epoch, Part::Headline].into_iter().any(wants);
    let probed = probed.then(|| conductor.probe()).transpose()?;
    if let Some(probed) = probed.as_ref().filter(|_| wants(Part::Epoch)) {
        conductor.epochs(options.rounds, probed, &mut summary)?;
    }
    if wants(Part::Corruption) {
        conductor.corruption(options.rounds, &mut summary)?;
    }
    if wants(Part::Peak) {
        conductor.peak(&mut summary)?;
    }
    if wants(Part::Headline) || wants(Part::Parallel) {
        let jobs = options.jobs.unwrap_or_else(cores);
        let grid = Grid { profile: &options.profile, seeds: options.seeds, jobs };
        let ours = conductor.headline(&grid)?;
        if let Some(probed) = probed.as_ref().filter(|_| wants(Part::Headline)) {
            conductor.one_after_another(&ours, probed, &mut summary)?;
        }
        if wants(Part::Parallel) {
            conductor.in_parallel(&ours, jobs, &mut summary)?;
        }
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
        Part::Headline | Part::Parallel => bail!("the headline is run by bgm itself"),
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

    /// Tries threads and workers of PyTorch's epoch in each layout.
    fn probe(&self) -> anyhow::Result<[Probed; 2]> {
        let work = self.work(&workload::sota()?, &[])?;
        println!("PyTorch's epoch by threads and DataLoader workers:");
        let probe = |layout: &str| {
            let options = ["--layout", layout, "--count", "5"];
            let probe: Probe = serde_json::from_value(self.theirs("probe", &work, &options)?)?;
            for tried in &probe.tried {
                let Tried { threads, workers, seconds } = tried;
                let time = duration(*seconds);
                println!("  {layout}: {threads} thread(s), {workers} workers: {time}");
            }
            let at_default = fastest(&probe.tried, |t| t.threads == probe.default_threads)?;
            anyhow::Ok(Probed { best: fastest(&probe.tried, |_| true)?, at_default })
        };
        let [plain, channels_last] = LAYOUTS;
        Ok([probe(plain)?, probe(channels_last)?])
    }

    fn epochs(
        &self,
        rounds: usize,
        probed: &[Probed; 2],
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let work = self.work(&workload::sota()?, &[])?;
        let theirs = |place: usize| {
            let Tried { threads, workers, .. } = probed[place].best;
            let (threads, workers) = (threads.to_string(), workers.to_string());
            let options =
                ["--layout", LAYOUTS[place], "--threads", &threads, "--workers", &workers];
            self.theirs("epoch", &work, &[&options[..], &["--count", "5"]].concat())
        };
        let medians =
            self.rounds(rounds, &[&|| self.ours(Part::Epoch), &|| theirs(0), &|| theirs(1)])?;
        let names = [0, 1].map(|place| {
            let Tried { threads, workers, .. } = probed[place].best;
            format!("PyTorch {}, {threads} thread(s), {workers} workers", LAYOUTS[place])
        });
        let title =
            "one epoch with augmentation, 500 images, ours on one thread, theirs at its best";
        let [first, second] = show(title, &medians, &names);
        (summary.epoch_ratio, summary.epoch_ratio_channels_last) = (first, second);
        Ok(())
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
            let count = flop::count(&Graph::new(&network, signature));
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
}

type Medians = anyhow::Result<Vec<Vec<f64>>>;

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

/// The threads and workers with which an epoch was fastest.
struct Probed {
    best: Tried,
    /// Among those with PyTorch's default threads.
    at_default: Tried,
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
