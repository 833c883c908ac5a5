//! Compares a run of criterion with the baseline that an earlier run saved.
//!
//! Criterion writes, for each benchmark, `change/estimates.json`: the relative change with a
//! confidence interval. It does not end with an error when something got slower; this does.

use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Name of the baseline that the last run without a slow-down left.
pub const BASELINE: &str = "last";

/// The relative change of one benchmark's median time.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub name: String,
    pub low: f64,
    pub estimate: f64,
    pub high: f64,
}

impl Change {
    /// Whether all of the interval lies above `noise`, a relative change.
    pub fn is_slower(&self, noise: f64) -> bool {
        self.low > noise
    }

    /// Whether all of it lies below.
    pub fn is_faster(&self, noise: f64) -> bool {
        self.high < -noise
    }
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    confidence_interval: Interval,
    point_estimate: f64,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// Reads criterion's estimates of a change.
///
/// # Errors
/// If the text is not in criterion's format.
pub fn parse(name: &str, text: &str) -> Result<Change, serde_json::Error> {
    let Estimates { median } = serde_json::from_str(text)?;
    Ok(Change {
        name: name.to_owned(),
        low: median.confidence_interval.lower_bound,
        estimate: median.point_estimate,
        high: median.confidence_interval.upper_bound,
    })
}

/// Folders of single benchmarks below criterion's folder: those with a result.
fn folders(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        if folder.join("new/estimates.json").is_file() {
            found.push(folder);
            continue;
        }
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        open.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    found.sort();
    found
}

fn is_since(path: &Path, since: SystemTime) -> bool {
    path.metadata().and_then(|m| m.modified()).is_ok_and(|time| time >= since)
}

/// The changes that were measured since a time.
///
/// # Errors
/// If a file of criterion cannot be read; the error names it.
pub fn changes(root: &Path, since: SystemTime) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::new();
    for folder in folders(root) {
        let path = folder.join("change/estimates.json");
        if is_since(&path, since) {
            let name = folder.strip_prefix(root).unwrap_or(&folder).display().to_string();
            let text = std::fs::read_to_string(&path)?;
            let change = parse(&name, &text);
            changes.push(change.map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?);
        }
    }
    Ok(changes)
}

/// Makes what was measured since a time the baseline, as criterion's `--save-baseline` does.
///
/// # Errors
/// If the disk refuses.
pub fn save(root: &Path, since: SystemTime) -> anyhow::Result<usize> {
    let mut saved = 0;
    for folder in folders(root) {
        let (from, to) = (folder.join("new"), folder.join(BASELINE));
        if !is_since(&from.join("estimates.json"), since) {
            continue;
        }
        std::fs::create_dir_all(&to)?;
        for entry in std::fs::read_dir(&from)?.flatten() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        saved += 1;
    }
    Ok(saved)
}
