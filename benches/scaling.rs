//! `make bench-scaling`: time and memory against data size, replication factor, width, seeds
//! and jobs, as `target/scaling/scaling.csv` and a figure (SVG, PNG).
//!
//! The first three are epochs of one run in a process of its own; seeds and jobs are whole
//! calls of `bgm reproduce` on a headline of four epochs a run. Memory is the peak resident
//! size, of the calls that of all their processes together.

mod common;

use anyhow::{Context, bail};
use bad_global_minima::backend::Device;
use bad_global_minima::report::figures;
use bad_global_minima::spec::{DataSpec, RunSpec};
use clap::Parser;
use common::chart::{self, Column};
use common::summary::median;
use common::{trainer, workload};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Parser)]
struct Options {
    /// Two values an axis, and tiny headlines: shows that everything works.
    #[arg(long)]
    short: bool,
    /// Epochs of one run, in this process: images, replication factor, width.
    #[arg(long, num_args = 3)]
    point: Option<Vec<u32>>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Images, replication factor and width of a run where they are not varied.
const BASE: [u32; 3] = [500, 1, 8];

/// One thing that is varied.
struct Axis {
    name: &'static str,
    title: &'static str,
    x_label: &'static str,
    values: &'static [u32],
    measure: Measure,
}

enum Measure {
    /// An epoch, with the value in this place of [`BASE`].
    Epoch(usize),
    /// The headline with so many seeds, two jobs.
    Seeds,
    /// Two seeds of it with so many jobs.
    Jobs,
}

const AXES: [Axis; 5] = [
    Axis {
        name: "images",
        title: "Data, an epoch",
        x_label: "training images",
        values: &[125, 250, 500, 1000, 2000],
        measure: Measure::Epoch(0),
    },
    Axis {
        name: "replication",
        title: "Copies, an epoch",
        x_label: "replication factor R",
        values: &[1, 2, 5, 10, 20],
        measure: Measure::Epoch(1),
    },
    Axis {
        name: "width",
        title: "Width, an epoch",
        x_label: "channels of the first stage",
        values: &[2, 4, 8, 16, 32],
        measure: Measure::Epoch(2),
    },
    Axis {
        name: "seeds",
        title: "Seeds, 2 jobs",
        x_label: "seeds of the short headline",
        values: &[1, 2, 4],
        measure: Measure::Seeds,
    },
    Axis {
        name: "jobs",
        title: "Jobs, 2 seeds",
        x_label: "jobs side by side",
        values: &[1, 2, 4],
        measure: Measure::Jobs,
    },
];

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(point) = &options.point {
        println!("{}", epoch_here([point[0], point[1], point[2]])?);
        return Ok(());
    }
    let folder = workload::repository().join("target/scaling");
    std::fs::create_dir_all(&folder)?;
    let tables = short_tables(&folder, options.short)?;
    let mut csv = "axis,value,seconds,bytes\n".to_owned();
    let mut columns = Vec::new();
    for axis in AXES {
        let count = if options.short { 2 } else { axis.values.len() };
        let mut points = Vec::new();
        for &value in &axis.values[..count] {
            let (seconds, bytes) = match axis.measure {
                Measure::Epoch(place) => {
                    let mut point = BASE;
                    point[place] = value;
                    epoch_apart(point)?
                }
                Measure::Seeds => reproduce(&folder, &tables, value, 2)?,
                Measure::Jobs => reproduce(&folder, &tables, 2, value)?,
            };
            let mebibytes = bytes / f64::from(1 << 20);
            println!("{} {value}: {seconds:.3} s, {mebibytes:.0} MiB", axis.name);
            csv += &format!("{},{value},{seconds:.4},{bytes:.0}\n", axis.name);
            points.push((f64::from(value), seconds, bytes));
        }
        let (title, x_label) = (axis.title.to_owned(), axis.x_label.to_owned());
        let falls = matches!(axis.measure, Measure::Jobs);
        columns.push(Column { title, x_label, points, falls });
    }
    let device = trainer::cpu(1).platform().device;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let how = format!(
        "ResNet18 on images of 14x14 pixels; 500 images, R = 1 and width 8 where they are not \
         varied; one thread a run. All scales are logarithmic. {device}, {cores} cores."
    );
    let svg = chart::draw("Time and memory of the program", &how, &columns);
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        println!("{}", path.display());
        std::fs::write(path, bytes)
    };
    write("scaling.csv", csv.as_bytes())?;
    write("scaling.svg", svg.as_bytes())?;
    write("scaling.png", &figures::rasterize(&svg)?)?;
    Ok(())
}

/// The fit of corrupted labels with another number of images, replication factor and width.
fn spec_of([images, replication, width]: [u32; 3]) -> anyhow::Result<RunSpec> {
    let mut spec = workload::pretraining()?;
    spec.network.width = width;
    if let DataSpec::Images(data) = &mut spec.data {
        data.train = images;
    }
    spec.train.corruption.as_mut().context("pretraining corrupts")?.replication = replication;
    Ok(spec)
}

fn epoch_here(point: [u32; 3]) -> anyhow::Result<Value> {
    let seconds = trainer::time_epochs(&spec_of(point)?, &workload::catalog(), 2)?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    Ok(json!({ "seconds": median(&seconds), "bytes": kibibytes(&status, "VmHWM:") * 1024.0 }))
}

/// Seconds of an epoch and peak memory of a process that trains a few.
fn epoch_apart(point: [u32; 3]) -> anyhow::Result<(f64, f64)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--point").args(point.map(|value| value.to_string()));
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    let value: Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| value[name].as_f64().with_context(|| format!("no {name}: {value}"));
    Ok((number("seconds")?, number("bytes")?))
}

/// The repository's tables with one more profile: quick's headline, four epochs a run.
fn short_tables(folder: &Path, trial: bool) -> anyhow::Result<PathBuf> {
    let (from, to) = (workload::repository().join("paper_tables"), folder.join("tables"));
    for part in ["", "profiles"] {
        std::fs::create_dir_all(to.join(part))?;
        for entry in std::fs::read_dir(from.join(part))?.flatten() {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), to.join(part).join(entry.file_name()))?;
            }
        }
    }
    let profile = "inherits = \"quick\"\nsummary = \"For bench-scaling.\"\n\
                   experiments = [\"table1_accuracy\"]\n\
                   [base.image.pretrain]\nepochs = 4\nevaluate_every = 4\n\
                   [base.image.train]\nepochs = 4\nevaluate_every = 4\n";
    let small = "[base.image.data.images]\ndataset = \"fashion-mnist-subset\"\ntrain = 50\n\
                 test = 50\nevaluate_on = \"test\"\npool = 2\n";
    let profile = profile.to_owned() + if trial { small } else { "" };
    std::fs::write(to.join("profiles/scaling.toml"), profile)?;
    Ok(to)
}

/// Seconds and peak memory of `bgm reproduce` with all its processes.
fn reproduce(folder: &Path, tables: &Path, seeds: u32, jobs: u32) -> anyhow::Result<(f64, f64)> {
    let store = folder.join("runs");
    if store.exists() {
        std::fs::remove_dir_all(&store)?;
    }
    let started = Instant::now();
    let mut child = Command::new(workload::repository().join("target/release/bgm"))
        .current_dir(workload::repository())
        .args(["--profile", "scaling", "--device", "cpu", "--quiet", "--tables"])
        .arg(tables)
        .args(["--seeds", &seeds.to_string(), "--store"])
        .arg(&store)
        .args(["reproduce", "--jobs", &jobs.to_string(), "--out"])
        .arg(folder.join("reproduction"))
        .stdout(Stdio::null())
        .spawn()
        .context("target/release/bgm: build it first, `make build`")?;
    let most = watch(&mut child)?;
    Ok((started.elapsed().as_secs_f64(), most))
}

/// Waits for a process; the most that it and those below it held at once.
fn watch(child: &mut Child) -> anyhow::Result<f64> {
    let mut most: f64 = 0.0;
    loop {
        most = most.max(resident(child.id()));
        match child.try_wait()? {
            None => std::thread::sleep(Duration::from_millis(20)),
            // Few seeds and epochs leave everything open (3).
            Some(status) if matches!(status.code(), Some(0 | 1 | 3)) => return Ok(most),
            Some(status) => bail!("bgm reproduce ended with {status}"),
        }
    }
}

/// Resident bytes of a process and all below it; one that has just ended holds nothing.
fn resident(process: u32) -> f64 {
    let folder = PathBuf::from(format!("/proc/{process}"));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let own = kibibytes(&read("status"), "VmRSS:") * 1024.0;
    let threads = std::fs::read_dir(folder.join("task")).into_iter().flatten().flatten();
    let children = threads
        .map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let below: f64 = children
        .flat_map(|text| {
            text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()
        })
        .map(resident)
        .sum();
    own + below
}

/// The number after `name` in the text of a `/proc/<process>/status`.
fn kibibytes(status: &str, name: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}
