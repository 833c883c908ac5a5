//! What is measured: runs that the profiles declare, so that a benchmark is of the real work.

use super::flop::{self, Count};
use anyhow::Context;
use bad_global_minima::corrupt::{CorruptionSpec, ZeroOutUnit};
use bad_global_minima::data::Catalog;
use bad_global_minima::experiments::{Plan, Profile, Seeds};
use bad_global_minima::models::graph::{Graph, Shape, Signature};
use bad_global_minima::spec::{Arch, NetworkSpec, RunSpec};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The table that is the paper's headline.
pub const HEADLINE: &str = "table1_accuracy";
/// The embedded images.
pub const DATASET: &str = "fashion-mnist-subset";
pub const CLASSES: usize = 10;

/// What the baseline and the declarations lie in: the nearest folder above this program that has
/// the baseline, so that a program which was carried elsewhere with it finds it; else where it
/// was built.
pub fn repository() -> &'static Path {
    static FOUND: LazyLock<PathBuf> = LazyLock::new(|| {
        let program = std::env::current_exe().unwrap_or_default();
        let has_baseline = |folder: &&Path| folder.join(BASELINE).exists();
        let above = program.ancestors().skip(1).find(has_baseline);
        above.unwrap_or(Path::new(env!("CARGO_MANIFEST_DIR"))).to_owned()
    });
    &FOUND
}

/// The same work in PyTorch.
pub const BASELINE: &str = "benches/pytorch_baseline.py";

/// Where benchmarks write.
pub fn folder() -> PathBuf {
    repository().join("target/bench")
}

pub fn catalog() -> Catalog {
    Catalog::new(repository().join("data"))
}

/// The plan of some experiments of a profile.
///
/// # Errors
/// If the repository's declarations cannot be read.
pub fn plan(profile: &str, only: &[&str], seeds: Option<u32>) -> anyhow::Result<Plan> {
    let tables = repository().join("paper_tables");
    let only: Vec<String> = only.iter().map(|id| (*id).to_owned()).collect();
    Ok(Plan::new(
        &Profile::read(&tables, profile)?,
        &tables,
        &catalog(),
        &only,
        seeds.map(Seeds::first).as_ref(),
    )?)
}

/// The run of seed 0 in the first cell that has these levels, by their ids.
///
/// # Errors
/// If there is no such cell.
pub fn cell(plan: &Plan, experiment: &str, levels: &[&str]) -> anyhow::Result<RunSpec> {
    let found = plan.experiments.iter().find(|(e, _)| e.id == experiment);
    let (experiment, cells) = found.with_context(|| format!("no experiment {experiment}"))?;
    let has = |ids: &[&str]| levels.iter().all(|level| ids.contains(level));
    let cell = cells.iter().find(|cell| {
        let ids = experiment.axes.iter().zip(&cell.levels);
        has(&ids.map(|(axis, &level)| axis.levels[level].id.as_str()).collect::<Vec<_>>())
    });
    let cell = cell.with_context(|| format!("{}: no cell {levels:?}", experiment.id))?;
    Ok(plan.runs[&cell.runs[0].1].spec.clone())
}

/// SOTA SGD from random weights: the headline's run with all regularizers.
///
/// # Errors
/// As [`cell`].
pub fn sota() -> anyhow::Result<RunSpec> {
    cell(&plan("quick", &[HEADLINE], Some(1))?, HEADLINE, &["random", "sota"])
}

/// The fit of corrupted labels before it.
///
/// # Errors
/// As [`cell`].
pub fn pretraining() -> anyhow::Result<RunSpec> {
    let chain = cell(&plan("quick", &[HEADLINE], Some(1))?, HEADLINE, &["adversarial", "sota"])?;
    chain.parent().cloned().context("an adversarial initialization is a run")
}

/// SOTA SGD of each network at the size of the embedded images.
///
/// # Errors
/// As [`cell`].
pub fn networks() -> anyhow::Result<Vec<(&'static str, RunSpec)>> {
    const TABLE: &str = "table1_networks";
    let plan = plan("desk", &[TABLE, "fig1_toy"], Some(1))?;
    let mut runs = vec![("toy", cell(&plan, "fig1_toy", &["regularized_adversarial"])?)];
    for name in ["resnet18", "resnet50", "vgg16", "densenet40"] {
        runs.push((name, cell(&plan, TABLE, &[name, "random", "sota"])?));
    }
    Ok(runs)
}

/// Algorithm 1 at R = 10.
pub fn corruption() -> CorruptionSpec {
    CorruptionSpec { replication: 10, zero_out: 0.1, unit: ZeroOutUnit::Values, random_labels: 1.0 }
}

/// The paper's network at the size of Fashion-MNIST, whose step is held against the peak.
pub const FULL_WIDTH: NetworkSpec =
    NetworkSpec { arch: Arch::Resnet18, width: 64, batch_norm: true };
pub const FULL_SIZE: Signature = Signature { input: Shape::new(1, 28, 28), outputs: CLASSES };
pub const FULL_BATCH: usize = 128;

/// The networks whose operations are counted, with what they see: at the profiles' sizes, and
/// at the paper's.
pub fn counted() -> Vec<(String, NetworkSpec, Signature)> {
    let small = Signature { input: Shape::new(1, 14, 14), outputs: CLASSES };
    let paper = Signature { input: Shape::new(3, 32, 32), outputs: CLASSES };
    let widths = [
        (Arch::Resnet18, "resnet18", 8, 64),
        (Arch::Resnet50, "resnet50", 4, 64),
        (Arch::Vgg16, "vgg16", 8, 64),
        (Arch::Densenet40, "densenet40", 4, 12),
    ];
    let named = |name: &str, arch, width, input: Signature| {
        let Shape { channels, height, width: side } = input.input;
        let name = format!("{name}, width {width}, {channels}x{height}x{side}");
        (name, NetworkSpec { arch, width, batch_norm: true }, input)
    };
    let mut all = Vec::new();
    for (arch, name, narrow, wide) in widths {
        all.push(named(name, arch, narrow, small));
        all.push(named(name, arch, wide, FULL_SIZE));
        all.push(named(name, arch, wide, paper));
    }
    all
}

/// The same for another program to read.
pub fn described() -> Vec<Value> {
    let describe = |(name, network, signature): (String, NetworkSpec, Signature)| {
        let Shape { channels, height, width } = signature.input;
        json!({ "name": name, "arch": network.arch, "width": network.width,
                "input": [channels, height, width] })
    };
    counted().into_iter().map(describe).collect()
}

/// Operations of the network of [`FULL_WIDTH`] on one image.
pub fn full_count() -> Count {
    flop::count(&Graph::new(&FULL_WIDTH, FULL_SIZE))
}
