//! `bgm reproduce`: run what is missing, verify, report.

use super::args::{Global, Reproduce};
use super::child::ChildExecutor;
use super::progress::Progress;
use super::session::{self, Session};
use super::{Failure, report};
use crate::experiments::cost;
use crate::experiments::space::Space;
use crate::schedule::{self, Outcome};
use crate::spec::Key;
use crate::store::Lookup;
use crate::verify::exit;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

pub fn reproduce(global: &Global, options: &Reproduce) -> Result<u8, Failure> {
    let session = Session::open(global)?;
    let device = session::device(global)?;
    let todo = todo(global, &session)?;
    if !todo.is_empty() {
        let outcome = execute(global, options, &session, &todo, device)?;
        if outcome.interrupted {
            eprintln!("bgm: interrupted; nothing is lost, the same command goes on from here");
            return Ok(exit::INTERRUPTED);
        }
        for (key, why) in &outcome.failed {
            eprintln!("bgm: run {key} failed: {why}");
        }
    }
    let results = session.results();
    let (verification, platform) = session::verification(global, &results, options.strict)?;
    report::write(global, &options.out, &session, (&results, &verification), &platform)?;
    Ok(verification.exit)
}

/// Runs that are not in the store, or not measured; damaged ones are named.
fn todo(global: &Global, session: &Session) -> Result<BTreeSet<Key>, Failure> {
    let mut todo = BTreeSet::new();
    for (key, lookup) in session.look_up_all() {
        let planned = &session.plan.runs[&key];
        match lookup {
            Lookup::Stored(run) => {
                let kept = |id: &str| session.store.measured(&key, id, &run.result_hash);
                let missing =
                    planned.measures.iter().any(|m| !matches!(kept(&m.id()), Ok(Some(_))));
                if missing {
                    todo.insert(key);
                }
            }
            Lookup::Damaged(problem) => {
                eprintln!(
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

fn execute(
    global: &Global,
    options: &Reproduce,
    session: &Session,
    todo: &BTreeSet<Key>,
    device: tch::Device,
) -> Result<Outcome, Failure> {
    ctrlc::set_handler(|| {
        // The children get the signal too; a second one ends everything at once.
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
    })
    .map_err(|e| Failure::Environment(format!("signals: {e}")))?;
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = options.jobs.unwrap_or_else(cores);
    if jobs == 0 {
        return Err(Failure::Usage("--jobs 0: there must be at least one".to_owned()));
    }
    let spaces = todo.iter().map(|key| Space::of(&session.plan.runs[key].spec));
    session::check_space(&session.store, Space::together(spaces, jobs))?;
    let device = match device {
        tch::Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    };
    if !global.quiet {
        eprintln!(
            "{} of {} runs to do, {jobs} at a time on {device}",
            todo.len(),
            session.plan.runs.len()
        );
    }
    let executor = ChildExecutor { global, device, stop: &STOP };
    let progress =
        Progress::new(&session.plan, todo, &|run| cost::seconds(&run.spec), global.quiet);
    let outcome = schedule::execute(&session.plan, todo, jobs, &executor, &progress);
    progress.end();
    Ok(outcome)
}
