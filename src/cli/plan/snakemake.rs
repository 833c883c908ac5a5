//! `bgm plan --format snakemake`: the plan for an engine that schedules across machines.

use super::super::args::{Global, Plan as Options};
use super::super::child;
use super::super::session::Session;
use super::super::{CliError, device};
use crate::experiments::graph::{Graph, Job, Kind, Speed};
use crate::schedule::worker::unmeasured;
use crate::spec::Key;
use crate::store::{Lookup, Store};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// These need nothing filled in: they read jobs.json.
const FILES: [(&str, &str); 3] = [
    ("Snakefile", include_str!("../../../templates/snakemake/Snakefile")),
    ("profiles/local/config.yaml", include_str!("../../../templates/snakemake/local.yaml")),
    ("profiles/slurm/config.yaml", include_str!("../../../templates/snakemake/slurm.yaml")),
];

/// The list of all jobs, which these files read.
const JOBS: &str = "jobs.json";

/// A time limit is this many times the most that a run is estimated to take, and
/// [`GRACE_MINUTES`] more: other machines are slower.
const SLOWER: f64 = 4.0;
const GRACE_MINUTES: f64 = 10.0;
/// Memory asked for is this many times what is estimated.
const ROOMIER: f64 = 1.5;

/// A job in jobs.json.
#[derive(Serialize)]
struct JobJson<'a> {
    needs: Vec<&'a str>,
    mem_mb: u64,
    minutes: u64,
    /// What the job is expected to take.
    seconds: f64,
}

#[derive(Serialize)]
struct PlanJson<'a> {
    bgm: PathBuf,
    /// Where the store and the data are, and which device: of every job.
    store_options: Vec<String>,
    /// These, and what is looked at: of verification and report.
    profile_options: Vec<String>,
    gpus: u32,
    /// Of a job that fails or reaches the time limit.
    retries: u64,
    most_minutes: u32,
    /// By rule and name.
    jobs: BTreeMap<&'a str, JobJson<'a>>,
}

/// What was written.
pub struct Written {
    folder: PathBuf,
    jobs: usize,
    done: usize,
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written { folder, jobs, done } = self;
        let folder = folder.display();
        write!(
            f,
            "{folder}: {jobs} jobs, {done} of them done; cd {folder} && snakemake --profile \
             profiles/local (or profiles/slurm)"
        )
    }
}

fn io_failure(path: &Path) -> impl FnOnce(Error) -> CliError {
    let path = path.display().to_string();
    move |e| CliError::Environment(format!("{path}: {e}; choose another folder with --out"))
}

/// Writes the Snakefile, its profiles and its jobs.
pub fn write(
    global: &Global,
    options: &Options,
    session: &Session,
    graph: &Graph,
    speed: Speed,
    lookups: &BTreeMap<Key, Lookup>,
) -> Result<Written, CliError> {
    let Some(out) = &options.out else {
        return Err(CliError::Usage("--format snakemake needs a folder: --out DIR".to_owned()));
    };
    refuse_foreign(out)?;
    let on_gpu = matches!(speed, Speed::Device(_));
    let names: Vec<String> = graph.jobs.iter().map(|j| name(j, speed, options)).collect();
    let entry = |job: &Job| JobJson {
        needs: job.needs.iter().map(|&place| names[place].as_str()).collect(),
        mem_mb: megabytes(job, on_gpu),
        minutes: minutes(speed.seconds(job.most_work())),
        seconds: (speed.seconds(job.work()) * 10.0).round() / 10.0,
    };
    let json = |e: serde_json::Error| CliError::Environment(format!("plan as JSON: {e}"));
    let mut jobs = BTreeMap::new();
    for (job, name) in graph.jobs.iter().zip(&names) {
        jobs.insert(name.as_str(), entry(job));
        let file = name.split_once('/').map_or(name.as_str(), |(_, file)| file);
        let path = out.join("jobs").join(format!("{file}.json"));
        let call = child::Job { spec: job.spec.clone(), measures: job.measures.clone() };
        put(&path, &serde_json::to_vec(&call).map_err(json)?)?;
    }
    let store_options = store_options(global, on_gpu)?;
    let plan = PlanJson {
        bgm: std::env::current_exe().map_err(io_failure(Path::new("bgm")))?,
        profile_options: profile_options(global, &store_options)?,
        store_options,
        gpus: u32::from(on_gpu),
        retries: u64::from(options.retries) + further_jobs(&jobs, options.time_limit),
        most_minutes: options.time_limit,
        jobs,
    };
    for (name, text) in FILES {
        put(&out.join(name), text.as_bytes())?;
    }
    put(&out.join(JOBS), &serde_json::to_vec_pretty(&plan).map_err(json)?)?;
    let done = mark_done(&out.join("done"), &session.store, graph, &names, lookups)?;
    Ok(Written { folder: out.clone(), jobs: names.len(), done })
}

/// Refuses to overwrite what was not written here, which the Snakefile's first line tells.
fn refuse_foreign(out: &Path) -> Result<(), CliError> {
    let [(name, ours), ..] = FILES;
    let snakefile = out.join(name);
    match std::fs::read(&snakefile) {
        Ok(bytes) => {
            let first = ours.lines().next().unwrap_or_default();
            let is_ours = bytes.starts_with(first.as_bytes());
            return if is_ours { Ok(()) } else { Err(foreign(&snakefile)) };
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(io_failure(&snakefile)(e)),
    }
    let others = FILES.iter().map(|(name, _)| *name).chain([JOBS]).map(|name| out.join(name));
    { others }.find(|path| path.exists()).map_or(Ok(()), |path| Err(foreign(&path)))
}

fn foreign(path: &Path) -> CliError {
    let path = path.display();
    CliError::Usage(format!(
        "{path} is not from `bgm plan`: choose another folder with --out, or remove it"
    ))
}

/// Rule and name of a job: the end of the path of what Snakemake knows of it.
fn name(job: &Job, speed: Speed, options: &Options) -> String {
    let (rule, end) = match job.kind {
        Kind::Pretrain => ("pretrain", ""),
        Kind::Train => ("train", ""),
        Kind::Measure => ("measure", ".measure"),
    };
    let short = speed.seconds(job.work()) < options.group_below;
    format!("{}/{}{end}", if short { "short" } else { rule }, job.key)
}

fn megabytes(job: &Job, on_gpu: bool) -> u64 {
    let memory = job.memory();
    let bytes = if on_gpu { memory.beside_gpu } else { memory.on_cpu };
    (ROOMIER * bytes as f64 / 1e6 / 100.0).ceil() as u64 * 100
}

fn minutes(most_seconds: f64) -> u64 {
    (SLOWER * most_seconds / 60.0 + GRACE_MINUTES).ceil() as u64
}

/// Jobs that the longest run takes besides its first, if none may take longer than `limit`.
fn further_jobs(jobs: &BTreeMap<&str, JobJson<'_>>, limit: u32) -> u64 {
    let longest = jobs.values().map(|job| job.minutes).max().unwrap_or(1);
    longest.div_ceil(u64::from(limit)).saturating_sub(1)
}

/// A folder's whole path as text: jobs do not begin where this program did.
fn whole(path: &Path) -> Result<String, CliError> {
    let whole = std::path::absolute(path).map_err(io_failure(path))?;
    let text = whole.to_str().map(str::to_owned);
    text.ok_or_else(|| CliError::Usage(format!("{}: no name in UTF-8", path.display())))
}

fn store_options(global: &Global, on_gpu: bool) -> Result<Vec<String>, CliError> {
    // A job sees the one GPU that it was given. Without one it must not look for any.
    let device_name = if on_gpu { "cuda:0" } else { "cpu" };
    let numerics = device::numerics(global)?;
    let engine = if numerics.is_portable() { "portable" } else { "libtorch" };
    let (store, data) = (whole(&global.store)?, whole(&global.data)?);
    let options = ["--store", &store, "--data", &data, "--engine", engine, "--device", device_name];
    let graphs = (global.no_cuda_graphs && on_gpu).then_some("--no-cuda-graphs");
    Ok(options.into_iter().chain(graphs).map(str::to_owned).collect())
}

fn profile_options(global: &Global, store_options: &[String]) -> Result<Vec<String>, CliError> {
    let mut options = store_options.to_vec();
    let mut add = |name: &str, value: String| options.extend([name.to_owned(), value]);
    add("--tables", whole(&global.tables)?);
    add("--expected", whole(&global.expected)?);
    add("--profile", global.profile.clone());
    if !global.only.is_empty() {
        add("--only", global.only.join(","));
    }
    if let Some(seeds) = &global.seeds {
        add("--seeds", seeds.to_string());
    }
    Ok(options)
}

/// Writes a file, unless it is there with that content: what reads it may be at work.
fn put(path: &Path, content: &[u8]) -> Result<(), CliError> {
    if std::fs::read(path).is_ok_and(|there| there == content) {
        return Ok(());
    }
    let write = || match std::fs::write(path, content) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
            std::fs::write(path, content)
        }
        outcome => outcome,
    };
    write().map_err(io_failure(path))
}

/// Whether a file is called as those that jobs leave in done/. Others, unfinished ones among
/// them, are somebody else's: the folder may have been there before.
fn is_of_a_job(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.strip_suffix(".measure").unwrap_or(name).parse::<Key>().is_ok()
}

/// Makes done/ say what the store says: jobs whose run is stored and measured are done, others
/// are not. How many are.
fn mark_done(
    folder: &Path,
    store: &Store,
    graph: &Graph,
    names: &[String],
    lookups: &BTreeMap<Key, Lookup>,
) -> Result<usize, CliError> {
    let mut done = BTreeSet::new();
    for (job, name) in graph.jobs.iter().zip(names) {
        let found;
        let lookup = match lookups.get(&job.key) {
            Some(lookup) => lookup,
            None => {
                found = store.look_up(&job.key, &job.spec);
                &found
            }
        };
        let Lookup::Stored(run) = lookup else { continue };
        if unmeasured(store, &job.key, &run.result_hash, &job.measures).is_empty() {
            let path = folder.join(name);
            put(&path, format!("{} {}\n", job.key, run.result_hash).as_bytes())?;
            done.insert(path);
        }
    }
    for rule in ["pretrain", "train", "measure", "short"] {
        let entries = std::fs::read_dir(folder.join(rule));
        let stale = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        for path in stale.filter(|path| !done.contains(path) && is_of_a_job(path)) {
            std::fs::remove_file(&path).map_err(io_failure(&path))?;
        }
    }
    Ok(done.len())
}
