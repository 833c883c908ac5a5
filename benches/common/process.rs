//! Measurements that are processes of their own.

use super::workload;
use anyhow::{Context, bail};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// A task of the PyTorch baseline on what the file `work` describes.
pub fn baseline(python: &Path, task: &str, work: &Path) -> Command {
    let mut command = Command::new(python);
    let script = workload::repository().join(workload::BASELINE);
    command.arg("-B").arg(script).arg(task).arg("--work").arg(work);
    command
}

/// Runs a process and reads the last line of its output as JSON; the lines before are passed on.
///
/// # Errors
/// If it fails, or prints no JSON.
pub fn last_line(command: &mut Command) -> anyhow::Result<Value> {
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
    if !before.is_empty() {
        println!("{before}");
    }
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    serde_json::from_str(last).with_context(|| format!("{command:?} printed '{last}'"))
}
