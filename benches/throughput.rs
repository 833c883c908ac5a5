//! `make bench-throughput`: images a second of each network on a device, ours and PyTorch's.
//!
//! On a GPU: at the paper's widths, in strict `f32` and in TF32, with and without CUDA graphs.
//! On a CPU: at the profiles' widths, one thread each; it has neither of the two. Each
//! measurement is a process of its own. The last line is JSON.

mod common;

use anyhow::{Context, bail};
use bad_global_minima::models::Signature;
use bad_global_minima::spec::NetworkSpec;
use bad_global_minima::torch::{self, Precision};
use bad_global_minima::train::replay::Stepper;
use clap::Parser;
use common::trainer::Trainer;
use common::{process, workload};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use tch::Device;

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
    /// Steps that are timed together.
    #[arg(long, default_value_t = 50)]
    steps: u32,
    /// One measurement of ours in this process: precision, and whether to use CUDA graphs.
    #[arg(long, num_args = 2, hide = true)]
    ours: Option<Vec<String>>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Steps before the clock starts; more than are made before a graph is recorded.
const WARM_UP: u32 = 8;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    torch::initialize()?;
    let device = torch::device(&options.device)?;
    let batch = options.batch.unwrap_or(if device.is_cuda() { 128 } else { 25 });
    if let Some(how) = &options.ours {
        println!("{}", ours(&options, device, batch, how)?);
        return Ok(());
    }
    let platform = torch::platform(device);
    println!("{}, libtorch {}, batches of {batch}", platform.device, platform.libtorch);
    let work = workload::folder().join("networks.json");
    std::fs::create_dir_all(workload::folder())?;
    let described = json!({ "classes": workload::CLASSES, "networks": workload::described() });
    std::fs::write(&work, described.to_string())?;
    let mut all = Map::new();
    for (name, ..) in networks(device).iter().filter(|(n, ..)| n.contains(&options.network)) {
        println!("{name}:");
        let mut row = Map::new();
        for (label, mut command) in measurements(&options, device, batch, (name, &work))? {
            // A GPU that lacks memory for one way may have it for the next.
            match process::last_line(&mut command) {
                Ok(value) => {
                    let seconds = value["seconds"].as_f64().context("no time was printed")?;
                    let speed = batch as f64 / seconds;
                    println!(
                        "  {label}: {speed:.0} images a second, {:.3} ms a step",
                        1e3 * seconds
                    );
                    row.insert(label, json!(speed.round()));
                }
                Err(problem) => {
                    println!("  {label}: FAILED: {problem}");
                    row.insert(label, Value::Null);
                }
            }
        }
        all.insert(name.clone(), Value::Object(row));
    }
    println!("{}", json!({ "device": platform.device, "images_per_second": all }));
    Ok(())
}

/// At the paper's widths for a GPU, at the profiles' for a CPU.
fn networks(device: Device) -> Vec<(String, NetworkSpec, Signature)> {
    let mut all = workload::counted();
    all.retain(|(.., signature)| device.is_cuda() != (signature.input == [1, 14, 14]));
    all
}

/// What is measured of a network, in which processes.
fn measurements(
    options: &Options,
    device: Device,
    batch: i64,
    (name, work): (&str, &Path),
) -> anyhow::Result<Vec<(String, Command)>> {
    let precisions: &[&str] = if device.is_cuda() { &["strict", "tf32"] } else { &["strict"] };
    let graphs: &[&str] = if device.is_cuda() { &["plain", "graphs"] } else { &["plain"] };
    let (batch, steps) = (batch.to_string(), options.steps.to_string());
    // PyTorch knows no 'auto'.
    let device_name = match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    };
    let shared = ["--device", &device_name, "--network", name, "--batch", &batch];
    let mut all = Vec::new();
    for precision in precisions {
        for graph in graphs {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(shared).args(["--steps", &steps, "--ours", precision, graph]);
            command.env("OMP_NUM_THREADS", "1");
            all.push((format!("ours, {precision}, {graph}"), command));
        }
        let Some(python) = &options.python else { continue };
        for layout in ["contiguous", "channels_last"] {
            let mut command = process::baseline(python, "throughput", work);
            command.args(shared).args(["--count", &steps, "--layout", layout, "--threads", "1"]);
            command.args(["--precision", precision]);
            all.push((format!("PyTorch, {precision}, {layout}"), command));
        }
    }
    Ok(all)
}

fn ours(options: &Options, device: Device, batch: i64, how: &[String]) -> anyhow::Result<Value> {
    let [precision, graphs] = how else { bail!("--ours: a precision, and 'graphs' or 'plain'") };
    let precision = match precision.as_str() {
        "strict" => Precision::Strict,
        "tf32" => Precision::Tf32,
        other => bail!("--ours: no precision '{other}'"),
    };
    let all = networks(device);
    let (_, network, signature) = all
        .iter()
        .find(|(name, ..)| *name == options.network)
        .with_context(|| format!("--network '{}': unknown", options.network))?;
    let mut trainer = Trainer::made_up(network, *signature, batch, (device, precision))?;
    let mut stepper =
        if graphs == "graphs" { Stepper::replaying(device) } else { Stepper::plain() };
    let seconds = trainer.time_block(&mut stepper, options.steps, WARM_UP)?;
    Ok(json!({ "seconds": seconds }))
}
