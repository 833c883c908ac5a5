//! The headline, ours and theirs: whole grids of runs.

use super::common::summary::Summary;
use super::common::workload;
use super::{Conductor, LAYOUTS, Probed, Times, show};
use anyhow::{Context, bail};
use bad_global_minima::experiments::Plan;
use bad_global_minima::spec::Key;
use bad_global_minima::store::Store;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The runs of the headline.
pub struct Grid<'a> {
    pub profile: &'a str,
    pub seeds: u32,
    /// Ours at a time.
    pub jobs: usize,
}

/// The headline as ours ran it.
pub struct Headline {
    title: String,
    /// Seconds from nothing, and when everything is stored.
    cold: f64,
    stored: f64,
    /// What the baseline is to do.
    work: PathBuf,
}

impl Conductor {
    /// The headline, ours: cold, then from the store.
    pub fn headline(&self, grid: &Grid<'_>) -> anyhow::Result<Headline> {
        let plan = workload::plan(grid.profile, &[workload::HEADLINE], Some(grid.seeds))?;
        let store = self.folder.join("runs");
        if store.exists() {
            std::fs::remove_dir_all(&store)?;
        }
        let cold = self.reproduce(&store, grid)?;
        let stored = self.reproduce(&store, grid)?;
        let (runs, accuracies) = trained(&plan, &store)?;
        println!("headline: mean test accuracy, ours {:.1}%", mean_of(&accuracies));
        let Grid { profile, seeds, jobs } = grid;
        let count = runs.len();
        let title =
            format!("the {profile} headline, {seeds} seeds, {count} runs: ours {jobs} at a time");
        Ok(Headline { title, cold, stored, work: self.work(&workload::sota()?, &runs)? })
    }

    /// Theirs in each layout, each with an option of its own: seconds, ours first, and what each
    /// of theirs was, in words.
    fn theirs_beside(
        &self,
        ours: &Headline,
        options: [[&str; 2]; 2],
    ) -> anyhow::Result<(Vec<Vec<f64>>, Vec<String>)> {
        let (mut all, mut names) = (vec![vec![ours.cold]], Vec::new());
        for (layout, option) in LAYOUTS.into_iter().zip(options) {
            let options = [&["--layout", layout], &option[..]].concat();
            let value = self.theirs("headline", &ours.work, &options)?;
            let times: Times = serde_json::from_value(value)?;
            let last = times.other.get("accuracies").cloned().unwrap_or_default();
            let last: Accuracies = serde_json::from_value(last)?;
            let threads = &times.other["threads"];
            let name = format!("PyTorch {}, {threads} thread(s)", options.join(" "));
            println!("headline: mean test accuracy, {name} {:.1}%", mean_of(&last));
            all.push(times.seconds);
            names.push(name);
        }
        Ok((all, names))
    }

    pub fn one_after_another(
        &self,
        ours: &Headline,
        probed: &[Probed; 2],
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let workers = probed.each_ref().map(|probed| probed.at_default.workers.to_string());
        let options = workers.each_ref().map(|workers| ["--workers", workers]);
        let (all, names) = self.theirs_beside(ours, options)?;
        let title = format!("{}, theirs one after another", ours.title);
        let [first, second] = show(&title, &all, &names);
        (summary.headline_ratio, summary.headline_ratio_channels_last) = (first, second);
        let stored = [vec![ours.stored], all[1].clone()];
        let [again, _] = show("the same from the store", &stored, &names[..1]);
        summary.headline_stored_ratio = again;
        Ok(())
    }

    pub fn in_parallel(
        &self,
        ours: &Headline,
        jobs: usize,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let processes = jobs.to_string();
        let (all, names) = self.theirs_beside(ours, [["--processes", &processes]; 2])?;
        let title = format!("{}, theirs {jobs} seeds at a time", ours.title);
        let [first, second] = show(&title, &all, &names);
        (summary.parallel_ratio, summary.parallel_ratio_channels_last) = (first, second);
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
