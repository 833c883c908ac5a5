//! Each run in a process of its own: `bgm run` called by `bgm reproduce`.

use super::args::{EngineName, Global};
use super::program::program;
use super::{CliError, session};
use crate::cli::terminal::note;
use crate::experiments::{PlannedRun, cost};
use crate::measure::MeasureSpec;
use crate::schedule::devices::Devices;
use crate::schedule::{Executor, RunFailure};
use crate::spec::{Key, RunSpec};
use crate::store::paths;
use crate::verify::exit;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// A run and what it is measured for, as handed to a child.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    pub spec: RunSpec,
    pub measures: Vec<MeasureSpec>,
}

/// What stands in the place of a spec file for a job on standard input.
const STDIN: &str = "-";

/// Reads what `bgm run` is to do: a job on standard input, a spec file or a key.
pub fn read_job(global: &Global, target: &str) -> Result<Job, CliError> {
    if target != STDIN {
        return Ok(Job { spec: session::find_spec(global, target)?, measures: Vec::new() });
    }
    let job: Job = serde_json::from_reader(std::io::stdin().lock())
        .map_err(|e| CliError::Usage(format!("job on standard input: {e}")))?;
    job.spec.check().map_err(|e| CliError::Usage(format!("job on standard input: {e}")))?;
    Ok(job)
}

/// The children that run, and whether they are to end.
pub struct Children {
    stop: AtomicBool,
    running: Mutex<BTreeSet<u32>>,
}

impl Children {
    pub const fn new() -> Children {
        Children { stop: AtomicBool::new(false), running: Mutex::new(BTreeSet::new()) }
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Asks every child to save and end. They may not have got the signal that this process
    /// got: it may have been sent to this process alone.
    pub fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.stop.store(true, Ordering::SeqCst);
        running.iter().for_each(|&pid| terminate(pid));
    }

    /// Takes note of a child, which must not have been waited for.
    fn begun(&self, pid: u32) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(pid);
        if self.is_stopping() {
            terminate(pid);
        }
    }

    /// A child ends; to be called before it is waited for, since its id may come again then.
    fn ends(&self, pid: u32) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
    }
}

fn terminate(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        // One that is gone already needs no signal.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// Starts a child for each run.
pub struct ChildExecutor<'a> {
    pub global: &'a Global,
    pub engine: EngineName,
    /// Chosen here, so that children do not choose for themselves.
    pub devices: Devices,
    pub children: &'a Children,
    /// Where a run failed: it is tried again elsewhere, if there is another device.
    pub failed_on: Mutex<BTreeMap<Key, String>>,
}

impl ChildExecutor<'_> {
    fn start(
        &self,
        key: &Key,
        run: &PlannedRun,
        device: &str,
        threads: usize,
    ) -> Result<(std::process::Child, PathBuf), RunFailure> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |e: std::io::Error| RunFailure::Environment(format!("{}: {e}", path.display()))
        };
        let log = paths::log(&self.global.store, key, &std::process::id().to_string());
        let folder = paths::logs(&self.global.store);
        std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
        // Further attempts write below the first.
        let file = File::options().create(true).append(true).open(&log).map_err(failed(&log))?;
        let program = program().map_err(failed(Path::new("this program")))?;
        let job = Job { spec: run.spec.clone(), measures: run.measures.clone() };
        let mut child = Command::new(&program)
            .arg0("bgm")
            .args(["run", STDIN, "--progress-json"])
            .args(["--store".as_ref(), self.global.store.as_os_str()])
            .args(["--data".as_ref(), self.global.data.as_os_str()])
            .args(["--engine", self.engine.name(), "--device", device])
            .args(["--threads", &threads.to_string()])
            .args(self.global.no_cuda_graphs.then_some("--no-cuda-graphs"))
            .env("OMP_NUM_THREADS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(failed(&program))?;
        if let Some(mut input) = child.stdin.take() {
            let text = serde_json::to_vec(&job).unwrap_or_default();
            // A child that is gone already, or has no job, says why by its status.
            drop(input.write_all(&text));
        }
        Ok((child, log))
    }
}

/// Says what a child had to say although all went well, each thing once.
fn repeat_warnings(log: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    for line in log.lines().filter(|line| line.starts_with("bgm: ")) {
        if said.insert(line.to_owned()) {
            note!("{line}");
        }
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
        threads: usize,
        progress: &dyn Fn(u32, u32),
    ) -> Result<(), RunFailure> {
        let failed = |map: &Mutex<BTreeMap<Key, String>>| {
            map.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
        };
        let place = self.devices.take(failed(&self.failed_on).as_deref());
        if self.children.is_stopping() {
            return Err(RunFailure::Interrupted);
        }
        let threads = self.global.threads.unwrap_or(threads.min(cost::useful_threads(&run.spec)));
        let spawned = self.start(key, run, place.device(), threads);
        let (mut child, log) = spawned?;
        self.children.begun(child.id());
        if let Some(out) = child.stdout.take() {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Ok(Line { epoch, most }) = serde_json::from_str(&line) {
                    progress(epoch, most);
                }
            }
        }
        self.children.ends(child.id());
        let status = child.wait().map_err(|e| RunFailure::Transient(e.to_string()))?;
        if status.success() {
            repeat_warnings(&std::fs::read_to_string(&log).unwrap_or_default());
            // Of no more use: the run is in its place. Left over, they would do no harm.
            drop(std::fs::remove_file(&log));
            return Ok(());
        }
        if self.children.is_stopping() {
            if status.code() == Some(i32::from(exit::INTERRUPTED)) {
                drop(std::fs::remove_file(&log));
            }
            return Err(RunFailure::Interrupted);
        }
        let mut failed_on = self.failed_on.lock().unwrap_or_else(PoisonError::into_inner);
        failed_on.insert(key.clone(), place.device().to_owned());
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let last = text.lines().last().unwrap_or("no message, as if the disk were full").to_owned();
        let why = format!("{status}: {last} (log: {})", log.display());
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Err(match code {
            Some(exit::USAGE) => RunFailure::Permanent(why),
            Some(exit::ENVIRONMENT) => RunFailure::Environment(why),
            _ => RunFailure::Transient(why),
        })
    }
}
