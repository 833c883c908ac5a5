//! `bgm reproduce`: run what is missing, verify, report.

use super::args::{EngineName, Global, Reproduce};
use super::child::{ChildExecutor, Children};
use super::device::{self, Place};
use super::early::Early;
use super::progress::Progress;
use super::session::{self, Bar, Session};
use super::{CliError, report, signals};
use crate::cli::terminal::note;
use crate::experiments::memory::Memory;
use crate::experiments::space::Space;
use crate::experiments::{PlannedRun, cost};
use crate::schedule::devices::Devices;
use crate::schedule::order::Order;
use crate::schedule::worker::unmeasured;
use crate::schedule::{self, Outcome};
use crate::spec::Key;
use crate::store::{Lookup, paths};
use crate::verify::exit;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of a GPU's memory that a process takes before it computes anything: CUDA's context and
/// the kernels of libtorch and cuDNN.
const GPU_CONTEXT: u64 = 1 << 30;

static CHILDREN: Children = Children::new();
/// Whether runs are being made. Whatever else this program does loses nothing by ending.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Lets runs that are being made save before a signal ends the program. To be called first of
/// all: a signal may come at any time, and no thread may be there before.
pub fn watch_signals() -> Result<(), CliError> {
    signals::watch(|| {
        if !RUNNING.load(Ordering::SeqCst) {
            signals::end();
        }
        CHILDREN.stop();
    })
}

pub fn reproduce(global: &Global, options: &Reproduce) -> Result<u8, CliError> {
    watch_signals()?;
    // Whatever can be wrong after the runs is looked at before them.
    let bar = Bar::read(global)?;
    let (places, platform) = (device::places(global)?, device::first(global)?.platform());
    let session = Session::open(global)?;
    session::check_writable(&options.out)?;
    let todo = todo(global, &session)?;
    let mut environment = false;
    if !todo.is_empty() {
        session::check_writable(&paths::logs(session.store.root()))?;
        let early = Early::new(&session, bar.claims(), &todo);
        let outcome = execute(global, options.jobs, &session, &todo, &places, Some(&early))?;
        if outcome.interrupted {
            note!("bgm: interrupted; nothing is lost, the same command goes on from here");
            return Ok(exit::INTERRUPTED);
        }
        for (key, why) in &outcome.failed {
            note!("bgm: run {key} failed: {why}");
        }
        environment = outcome.environment;
    }
    let results = session.results();
    let verification = bar.judge(global, &session.plan, (&results, &platform), options.strict);
    report::write(global, &options.out, &session, (&results, &verification), &platform)?;
    // A departure is one whatever else went wrong.
    let is_environment = environment && verification.exit != exit::DEPARTURE;
    Ok(if is_environment { exit::ENVIRONMENT } else { verification.exit })
}

/// Runs that are not in the store, or not measured; damaged ones are named.
pub fn todo(global: &Global, session: &Session) -> Result<BTreeSet<Key>, CliError> {
    let mut todo = BTreeSet::new();
    for (key, lookup) in session.look_up_all() {
        let planned = &session.plan.runs[&key];
        match lookup {
            Lookup::Stored(run) => {
                let hash = &run.result_hash;
                if !unmeasured(&session.store, &key, hash, &planned.measures).is_empty() {
                    todo.insert(key);
                }
            }
            Lookup::Damaged(problem) => {
                note!(
                    "bgm: {problem}; it is run again, the damaged one is kept in {}/damaged",
                    global.store.display()
                );
                todo.insert(key);
            }
            Lookup::Partial | Lookup::Missing => drop(todo.insert(key)),
        }
    }
    Ok(todo)
}

/// As many of `jobs` as a GPU has memory for: where it runs short, cuDNN takes other algorithms,
/// which give other bits.
fn jobs_that_fit(place: &Place, jobs: usize, session: &Session, todo: &BTreeSet<Key>) -> usize {
    let Some(memory) = place.memory() else { return jobs };
    let largest = todo.iter().map(|key| {
        let run = &session.plan.runs[key];
        let measures = run.measures.iter().map(|m| Memory::of_measure(&run.spec, m));
        measures.fold(Memory::of_run(&run.spec), Memory::or).on_gpu
    });
    let each = largest.max().unwrap_or(0).saturating_add(GPU_CONTEXT).saturating_mul(2);
    let fit = usize::try_from(memory / each).unwrap_or(jobs).max(1);
    if fit < jobs {
        note!("bgm: {} has memory for {fit} runs at a time, not {jobs}", place.name);
    }
    jobs.min(fit)
}

/// Makes the runs of `todo` in the session's store, which must be the one of `global`, and gives
/// the verdicts of `early` as soon as there are.
pub fn execute(
    global: &Global,
    jobs: Option<usize>,
    session: &Session,
    todo: &BTreeSet<Key>,
    places: &[Place],
    early: Option<&Early<'_>>,
) -> Result<Outcome, CliError> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let on_gpu = places.iter().any(Place::is_gpu);
    let jobs = jobs.unwrap_or_else(|| if on_gpu { 1 } else { cores() });
    if jobs == 0 {
        return Err(CliError::Usage("--jobs 0: there must be at least one".to_owned()));
    }
    // Each run keeps a core busy; more side by side would only take memory.
    let jobs = jobs.min(cores());
    let jobs = places.iter().map(|p| jobs_that_fit(p, jobs, session, todo)).min().unwrap_or(jobs);
    let engine = places.first().map_or(EngineName::Portable, |place| place.engine);
    let names: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
    let models = device::models(global, places)?;
    if models.len() > 1 {
        let models: Vec<String> = models.into_iter().collect();
        return Err(CliError::Environment(format!(
            "these GPUs are of several models ({}), whose runs are not the same: --device cuda:N \
             takes one",
            models.join(", ")
        )));
    }
    let place = names.join(", ");
    let devices = Devices::new(names, jobs);
    let jobs = devices.capacity();
    let spaces = todo.iter().map(|key| Space::of(&session.plan.runs[key].spec));
    session::check_space(&session.store, Space::together(spaces, jobs))?;
    if !global.quiet {
        note!(
            "{} of {} runs to do, {jobs} at a time on {place}",
            todo.len(),
            session.plan.runs.len()
        );
    }
    let failed_on = Mutex::default();
    let executor = ChildExecutor { global, engine, devices, children: &CHILDREN, failed_on };
    let seconds = |run: &PlannedRun| cost::seconds(&run.spec);
    let place = |key: &Key| early.map_or(0, |early| early.place(key));
    let plan = (&session.plan, &Order::new(&session.plan, todo, jobs, &seconds, &place));
    let verdicts = |key: &Key| early.map_or_else(Vec::new, |early| early.after(key));
    let progress = Progress::new((&session.plan, todo), &seconds, &verdicts, global.quiet);
    RUNNING.store(true, Ordering::SeqCst);
    let outcome = schedule::execute(plan, todo, jobs, &executor, &progress);
    RUNNING.store(false, Ordering::SeqCst);
    progress.end();
    Ok(outcome)
}
