//! Each run in a process of its own: `bgm run` called by `bgm reproduce`.

use super::args::Global;
use super::{Failure as CliFailure, session};
use crate::experiments::PlannedRun;
use crate::measure::MeasureSpec;
use crate::schedule::{Executor, Failure};
use crate::spec::{Key, RunSpec};
use crate::store::paths;
use crate::verify::exit;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// A run and what it is measured for, as handed to a child.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    pub spec: RunSpec,
    pub measures: Vec<MeasureSpec>,
}

/// Reads what `bgm run` is to do: a job file, a spec file or a key.
pub fn read_job(global: &Global, target: &str) -> Result<Job, CliFailure> {
    if target.ends_with(".job.json") {
        let text = std::fs::read_to_string(target)
            .map_err(|e| CliFailure::Environment(format!("{target}: {e}")))?;
        return serde_json::from_str(&text)
            .map_err(|e| CliFailure::Usage(format!("{target}: {e}")));
    }
    Ok(Job { spec: session::find_spec(global, target)?, measures: Vec::new() })
}

/// Starts a child for each run.
pub struct ChildExecutor<'a> {
    pub global: &'a Global,
    /// Resolved once, so that children do not choose for themselves.
    pub device: String,
    /// Set when the user wants to stop.
    pub stop: &'a AtomicBool,
}

impl ChildExecutor<'_> {
    fn start(
        &self,
        key: &Key,
        run: &PlannedRun,
    ) -> std::io::Result<(std::process::Child, PathBuf)> {
        let (job, log) = (paths::job(&self.global.store, key), paths::log(&self.global.store, key));
        std::fs::create_dir_all(self.global.store.join("logs"))?;
        let content = Job { spec: run.spec.clone(), measures: run.measures.clone() };
        std::fs::write(&job, serde_json::to_vec(&content)?)?;
        let child = Command::new(std::env::current_exe()?)
            .arg("run")
            .arg(&job)
            .arg("--progress-json")
            .args(["--store".as_ref(), self.global.store.as_os_str()])
            .args(["--data".as_ref(), self.global.data.as_os_str()])
            .args(["--device", &self.device])
            .env("OMP_NUM_THREADS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()?;
        Ok((child, log))
    }
}

/// One line of a child's progress.
#[derive(Deserialize)]
struct Line {
    epoch: u32,
    most: u32,
}

impl Executor for ChildExecutor<'_> {
    fn execute(
        &self,
        key: &Key,
        run: &PlannedRun,
        progress: &dyn Fn(u32, u32),
    ) -> Result<(), Failure> {
        if self.stop.load(Ordering::SeqCst) {
            return Err(Failure::Interrupted);
        }
        let spawned = self.start(key, run);
        let (mut child, log) =
            spawned.map_err(|e| Failure::Permanent(format!("cannot start: {e}")))?;
        if let Some(out) = child.stdout.take() {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Ok(Line { epoch, most }) = serde_json::from_str(&line) {
                    progress(epoch, most);
                }
            }
        }
        let status = child.wait().map_err(|e| Failure::Transient(e.to_string()))?;
        if status.success() {
            // Of no more use: the run is in its place. Left over, they would do no harm.
            drop(std::fs::remove_file(&log));
            drop(std::fs::remove_file(paths::job(&self.global.store, key)));
            return Ok(());
        }
        if self.stop.load(Ordering::SeqCst) {
            return Err(Failure::Interrupted);
        }
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let last = text.lines().last().unwrap_or("no message").to_owned();
        let why = format!("{status}: {last} (log: {})", log.display());
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Err(match code {
            Some(exit::USAGE | exit::ENVIRONMENT) => Failure::Permanent(why),
            _ => Failure::Transient(why),
        })
    }
}
