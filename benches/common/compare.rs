//! What criterion measured, and whether this program is slower than the last one.
//!
//! Criterion's own comparison holds today's times against times of another day, and on a shared
//! machine the same program gives times that differ by a third. Here the last *program* is
//! kept, and both are measured in turn; what is judged is the ratio of each round.

use super::summary::median;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Probability that some benchmark of an unchanged program is called slower, over all of them.
const FALSE_ALARM: f64 = 0.05;
/// A slow-down by this much must not pass unseen, as a relative change.
pub const WORTH_KNOWING: f64 = 0.25;

/// Seconds of each benchmark, by its name, in one round.
pub type Times = BTreeMap<String, f64>;

/// Criterion's `sample.json`: nanoseconds of some numbers of iterations.
#[derive(Deserialize)]
struct Sample {
    iters: Vec<f64>,
    times: Vec<f64>,
}

impl Sample {
    /// Seconds of an iteration in the fastest of the samples: what disturbs a measurement only
    /// ever adds to it.
    fn seconds(&self) -> Option<f64> {
        let each = self.times.iter().zip(&self.iters).map(|(time, count)| time / count * 1e-9);
        each.filter(|seconds| seconds.is_finite() && *seconds > 0.0).min_by(f64::total_cmp)
    }
}

/// Folders below criterion's folder that hold a result.
fn folders(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        if folder.join("new/sample.json").is_file() {
            found.push(folder);
            continue;
        }
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        open.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    found
}

/// The times that criterion wrote below its folder `root`.
///
/// # Errors
/// If a file cannot be read or is not in criterion's format; the error names it.
pub fn times(root: &Path) -> anyhow::Result<Times> {
    let mut all = Times::new();
    for folder in folders(root) {
        let path = folder.join("new/sample.json");
        let wrong = |problem: String| anyhow::anyhow!("{}: {problem}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
        let sample: Sample = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let seconds = sample.seconds().ok_or_else(|| wrong("holds no time".to_owned()))?;
        let name = folder.strip_prefix(root).unwrap_or(&folder).display().to_string();
        all.insert(name, seconds);
    }
    Ok(all)
}

/// How one benchmark's time changed, as a ratio: 1.1 is slower by 10%.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    pub low: f64,
    pub estimate: f64,
    pub high: f64,
}

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of the interval lies beyond the noise.
    Slower,
    Faster,
    /// Had it been slower by [`WORTH_KNOWING`], an interval this wide would not have shown it.
    TooNoisy,
    /// Slower, but perhaps by less than the noise bound.
    Little,
    Same,
}

impl Verdict {
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Slower => "SLOWER",
            Verdict::Faster => "faster",
            Verdict::TooNoisy => "too noisy to tell",
            Verdict::Little => "a little slower",
            Verdict::Same => "",
        }
    }
}

impl Change {
    /// The verdict, where a relative change up to `noise` says nothing.
    pub fn verdict(&self, noise: f64) -> Verdict {
        match self {
            c if c.low > 1.0 + noise => Verdict::Slower,
            c if c.high < 1.0 / (1.0 + noise) => Verdict::Faster,
            c if c.low / c.estimate * (1.0 + WORTH_KNOWING) < 1.0 + noise => Verdict::TooNoisy,
            c if c.low > 1.0 => Verdict::Little,
            _ => Verdict::Same,
        }
    }
}

/// Compares round by round: an interval of the median ratio that assumes nothing of how times
/// are distributed (a machine that others share disturbs single rounds badly), only that the
/// rounds are independent, at a level at which one false alarm among all benchmarks has at most
/// the probability [`FALSE_ALARM`]. `None` for what was measured on both sides in fewer rounds
/// than [`fewest`].
pub fn changes(last: &[Times], now: &[Times]) -> BTreeMap<String, Option<Change>> {
    let names: Vec<&String> = now.first().map(|times| times.keys().collect()).unwrap_or_default();
    let error = error_of_each(names.len());
    let of = |name: &str| {
        let rounds = last.iter().zip(now);
        let ratio = |(last, now): (&Times, &Times)| Some(now.get(name)? / last.get(name)?);
        let mut ratios: Vec<f64> = rounds.filter_map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        let outer = outside(ratios.len(), error).checked_sub(1)?;
        let (low, high) = (ratios[outer], ratios[ratios.len() - 1 - outer]);
        Some(Change { low, estimate: median(&ratios), high })
    };
    names.into_iter().map(|name| (name.clone(), of(name))).collect()
}

/// Probability of a false alarm that each of so many benchmarks may have.
fn error_of_each(benchmarks: usize) -> f64 {
    FALSE_ALARM / benchmarks.max(1) as f64
}

/// Rounds below which there is no interval for so many benchmarks.
pub fn fewest(benchmarks: usize) -> usize {
    let error = error_of_each(benchmarks);
    (1..).find(|&count| outside(count, error) > 0).unwrap_or(usize::MAX)
}

/// Whether a program may take the place of the one it was compared with: no benchmark of either
/// is missing, and none is slower, be it a little, or may be. Small losses do not add up unseen.
pub fn may_replace(changes: &BTreeMap<String, Option<Change>>, gone: usize, noise: f64) -> bool {
    let fine = |change: &Option<Change>| {
        let verdict = change.map(|change| change.verdict(noise));
        matches!(verdict, Some(Verdict::Same | Verdict::Faster))
    };
    gone == 0 && !changes.is_empty() && changes.values().all(fine)
}

/// The largest `k` for which the `k`-th smallest of `count` values lies above their
/// distribution's median with a probability of at most `error`: that of fewer than `k` heads
/// among `count` coins. 0 if there is none.
fn outside(count: usize, error: f64) -> usize {
    let (mut heads, mut total) = (0.5f64.powi(count as i32), 0.0);
    for k in 0..count / 2 {
        total += heads;
        if total > error {
            return k;
        }
        heads *= (count - k) as f64 / (k + 1) as f64;
    }
    count / 2
}
