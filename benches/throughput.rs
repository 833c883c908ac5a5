//! `make bench-throughput`: images a second of each network on a device, ours and PyTorch's.
//!
//! On a GPU: at the paper's widths, in strict `f32` and in TF32, with and without CUDA graphs,
//! and as a share of the device's peak: what a large matrix product reaches there in the same
//! precision. On a CPU: the engine at the profiles' widths, one thread each; it has none of
//! these. PyTorch runs with its defaults, with cuDNN's search for algorithms, channels-last, and
//! with deterministic algorithms. Our plain steps, our recorded ones and PyTorch are a process
//! each.
//! The last line is JSON.

mod common;

use anyhow::{Context, bail};
use bad_global_minima::backend;
use bad_global_minima::models::graph::{Graph, Shape, Signature};
use bad_global_minima::spec::{NetworkSpec, Precision};
use bad_global_minima::torch::{self, TorchDevice};
use clap::Parser;
use common::trainer::{self, Trainer};
use common::{flop, process, workload};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

#[derive(Parser)]
struct Options {
    /// A Python with PyTorch 2.11.0; without one only ours is measured.
    #[arg(long)]
    python: Option<PathBuf>,
    /// auto, cpu, cuda:0, ...
    #[arg(long, default_value = "auto")]
    device: String,
    /// Only networks whose name holds this.
    #[arg(long, default_value = "")]
    network: String,
    /// Images in a batch; default: 128 on a GPU, 25 on a CPU, as the profiles have it.
    #[arg(long)]
    batch: Option<i64>,
    /// Rows of PyTorch, of those that benches/pytorch_baseline.py names; default: all that
    /// differ on the device.
    #[arg(long, value_name = "ROW,ROW")]
    rows: Option<String>,
    /// Steps that are timed together.
    #[arg(long, default_value_t = 50)]
    steps: u32,
    /// Begin no measurement after this many seconds.
    #[arg(long, default_value_t = f64::INFINITY)]
    seconds: f64,
    /// Also write what the last line says to this file, after every network.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Measurements of ours in this process: 'plain', 'graphs' or 'peak'.
    #[arg(long, hide = true)]
    ours: Option<String>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Steps before the clock starts; more than are made before a graph is recorded.
const WARM_UP: u32 = 8;

/// Side of the square matrices whose product is the peak.
const PEAK_SIDE: i64 = 8192;
/// Rows of the baseline on a GPU, as `benches/pytorch_baseline.py` names them.
const GPU_ROWS: &str = "default,benchmark,channels_last,deterministic,deterministic_channels_last";
/// Those that differ on a CPU.
const CPU_ROWS: &str = "default,channels_last";

fn main() -> anyhow::Result<()> {
    let begin = Instant::now();
    let options = Options::parse();
    torch::initialize()?;
    let device = torch::device(&options.device)?;
    let batch = options.batch.unwrap_or(if device.is_cuda() { 128 } else { 25 });
    if let Some(how) = &options.ours {
        println!("{}", ours(&options, device, batch, how)?);
        return Ok(());
    }
    let platform = torch::platform(device);
    println!("{}, {}, batches of {batch}", platform.device, platform.numerics);
    let work = options.work();
    if let Some(folder) = work.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let described = json!({ "classes": workload::CLASSES, "networks": workload::described() });
    std::fs::write(&work, described.to_string())?;
    let peak = if device.is_cuda() { peak(&options, device)? } else { Map::new() };
    let mut report = json!({ "device": platform.device, "batch": batch, "peak_tflops": peak,
        "images_per_second": {}, "share_of_peak": {}, "ratios": {} });
    for (name, network, signature) in networks(device) {
        if !name.contains(&options.network) {
            continue;
        }
        println!("{name}:");
        let mut speeds = Map::new();
        for mut command in measurements(&options, device, batch, &name)? {
            if begin.elapsed().as_secs_f64() > options.seconds {
                println!("  left out: --seconds {} have passed", options.seconds);
                continue;
            }
            // A GPU that lacks memory for one way may have it for the next.
            match process::last_line(&mut command) {
                Ok(value) => add(&mut speeds, &value, batch)?,
                Err(problem) => println!("  FAILED: {problem}"),
            }
        }
        let flop = flop::count(&Graph::new(&network, signature)).step() as f64;
        for (label, speed) in &speeds {
            let Some(speed) = speed.as_f64() else { continue };
            let precision = label.split(", ").nth(1).unwrap_or_default();
            let share =
                peak.get(precision).and_then(Value::as_f64).map(|p| speed * flop / p / 1e12);
            let of_peak =
                share.map_or(String::new(), |s| format!(", {:.1}% of the peak", 100.0 * s));
            println!("  {label}: {speed:.0} images a second{of_peak}");
            report["share_of_peak"][&name][label] = json!(share.map(|s| round(s, 1e4)));
        }
        report["ratios"][&name] = ratios(&speeds);
        report["images_per_second"][&name] = Value::Object(speeds);
        if let Some(out) = &options.out {
            std::fs::write(out, format!("{report:#}\n"))?;
        }
    }
    println!("{report}");
    Ok(())
}

impl Options {
    /// Where the baseline reads what the networks are.
    fn work(&self) -> PathBuf {
        match &self.out {
            Some(out) => out.with_extension("networks.json"),
            None => workload::folder().join("networks.json"),
        }
    }

    /// This program for some of our own measurements.
    fn of_ours(&self, what: &str, device: Device) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--device", &name_of(device), "--steps", &self.steps.to_string()]);
        command.args(["--ours", what]).env("OMP_NUM_THREADS", "1");
        Ok(command)
    }
}

fn round(value: f64, places: f64) -> f64 {
    (value * places).round() / places
}

/// As PyTorch calls it, who knows no 'auto'.
fn name_of(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// At the paper's widths for a GPU, at the profiles' for a CPU.
fn networks(device: Device) -> Vec<(String, NetworkSpec, Signature)> {
    let paper = Shape::new(3, 32, 32);
    let mut all = workload::counted();
    all.retain(
        |(.., s)| {
            if device.is_cuda() { s.input == paper } else { s.input == Shape::new(1, 14, 14) }
        },
    );
    all
}

/// From seconds of a step to images a second, by label; `null` where something failed.
fn add(speeds: &mut Map<String, Value>, value: &Value, batch: i64) -> anyhow::Result<()> {
    let side = value["task"].as_str().map_or("ours", |_| "PyTorch");
    let seconds = value["seconds"].as_object().context("no times were printed")?;
    for (label, seconds) in seconds {
        let speed = seconds.as_f64().map(|seconds| (batch as f64 / seconds).round());
        speeds.insert(format!("{side}, {label}"), json!(speed));
    }
    Ok(())
}

/// Our fastest way over each of PyTorch's, in the same precision.
fn ratios(speeds: &Map<String, Value>) -> Value {
    let mut ratios = Map::new();
    for (label, theirs) in speeds {
        let (Some(theirs), Some((_, rest))) = (theirs.as_f64(), label.split_once("PyTorch, "))
        else {
            continue;
        };
        let precision = rest.split(", ").next().unwrap_or_default();
        let mine = |how: &str| speeds.get(&format!("ours, {precision}, {how}"))?.as_f64();
        for how in ["plain", "graphs"] {
            if let Some(mine) = mine(how) {
                ratios.insert(format!("{how} / {rest}"), json!(round(mine / theirs, 1e3)));
            }
        }
    }
    Value::Object(ratios)
}

/// The processes in which a network is measured.
fn measurements(
    options: &Options,
    device: Device,
    batch: i64,
    name: &str,
) -> anyhow::Result<Vec<Command>> {
    let batch = batch.to_string();
    let ways: &[&str] = if device.is_cuda() { &["plain", "graphs"] } else { &["plain"] };
    let mut all = Vec::new();
    for way in ways {
        let mut command = options.of_ours(way, device)?;
        command.args(["--network", name, "--batch", &batch]);
        all.push(command);
    }
    if let Some(python) = &options.python {
        let (precisions, rows) =
            if device.is_cuda() { ("strict,tf32", GPU_ROWS) } else { ("strict", CPU_ROWS) };
        let rows = options.rows.as_deref().unwrap_or(rows);
        let mut command = process::baseline(python, "throughput", &options.work());
        command.args(["--device", &name_of(device), "--network", name, "--batch", &batch]);
        command.args(["--count", &options.steps.to_string(), "--threads", "1"]);
        command.args(["--precision", precisions, "--rows", rows]);
        all.push(command);
    }
    Ok(all)
}

fn precisions(device: Device) -> &'static [(&'static str, Precision)] {
    let all = &[("strict", Precision::Strict), ("tf32", Precision::Tf32)];
    if device.is_cuda() { all } else { &all[..1] }
}

fn ours(options: &Options, device: Device, batch: i64, how: &str) -> anyhow::Result<Value> {
    let mut seconds = Map::new();
    for &(label, precision) in precisions(device) {
        let (label, time) = match how {
            "peak" => (label.to_owned(), product(device, precision)?),
            "plain" | "graphs" => {
                let all = networks(device);
                let (_, network, signature) = all
                    .iter()
                    .find(|(name, ..)| *name == options.network)
                    .with_context(|| format!("--network '{}': unknown", options.network))?;
                // Plain steps are no measurement of recorded ones.
                let refuse = |problem: &str| panic!("{problem}");
                let (gpu, cpu) =
                    (TorchDevice::new(device, how == "graphs", refuse), trainer::cpu(1));
                let place: &dyn backend::Device = if device.is_cuda() { &gpu } else { &cpu };
                let mut trainer =
                    Trainer::made_up(network, *signature, batch as usize, (place, precision))?;
                let time = trainer.time_block(options.steps, WARM_UP)?;
                (format!("{label}, {how}"), time)
            }
            other => bail!("--ours '{other}': plain, graphs or peak"),
        };
        seconds.insert(label, json!(time));
    }
    Ok(json!({ "seconds": seconds }))
}

/// Seconds of one product of large square `f32` matrices.
fn product(device: Device, precision: Precision) -> anyhow::Result<f64> {
    const REPEATS: u32 = 10;
    torch::use_precision(precision, device)?;
    let matrix = |scale: f64| {
        let ramp = Tensor::arange(PEAK_SIDE * PEAK_SIDE, (Kind::Float, device));
        (ramp * scale).sin().view([PEAK_SIDE, PEAK_SIDE])
    };
    let (a, b) = (matrix(0.3), matrix(0.7));
    let block = |count: u32| -> f64 {
        let start = Instant::now();
        let mut last = a.shallow_clone();
        for _ in 0..count {
            last = a.matmul(&b);
        }
        // Reading a number waits for all that the device has been given.
        let value = last.get(0).get(0).double_value(&[]);
        assert!(value.is_finite());
        start.elapsed().as_secs_f64() / f64::from(count)
    };
    block(3);
    Ok(block(REPEATS))
}

/// Operations a second (10^12) of the product, by precision.
fn peak(options: &Options, device: Device) -> anyhow::Result<Map<String, Value>> {
    let value = process::last_line(&mut options.of_ours("peak", device)?)?;
    let seconds = value["seconds"].as_object().context("no times were printed")?;
    let mut peak = Map::new();
    for (precision, seconds) in seconds {
        let seconds = seconds.as_f64().context("no time was printed")?;
        let tflops = round(2e-12 * (PEAK_SIDE as f64).powi(3) / seconds, 1e1);
        println!("peak, {precision}: {tflops} TFLOP/s");
        peak.insert(precision.clone(), json!(tflops));
    }
    Ok(peak)
}
