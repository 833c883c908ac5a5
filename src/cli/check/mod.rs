//! `bgm check`: trains runs again in a scratch store and compares them, bit for bit, with what
//! is stored.

mod compare;
mod select;

use super::args::{Check, Global};
use super::reproduce::{execute, todo, watch_signals};
use super::session::Session;
use super::{CliError, device, worse};
use crate::backend::Platform;
use crate::cli::terminal::{note, output};
use crate::experiments::{KeyMaker, Plan, PlannedRun, cost};
use crate::spec::{Key, RunSpec};
use crate::store::{Lookup, Store, StoredRun};
use crate::verify::exit;
use select::Target;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub fn check(global: &Global, options: &Check) -> Result<u8, CliError> {
    watch_signals()?;
    let (session, targets) = select::targets(global, options)?;
    let here = device::first(global)?.platform();
    let (mut code, mut comparable) = (exit::SUCCESS, Vec::new());
    for target in targets {
        match stored(&session, &target, &here) {
            Ok(run) => comparable.push((target, run)),
            Err((reason, why)) => {
                output!("{}: {why}", target.name);
                code = worse(code, reason);
            }
        }
    }
    if comparable.is_empty() {
        return Ok(code);
    }
    let plan = plan(&session, comparable.iter().map(|(target, _)| target))?;
    let scratch = Scratch::open(options)?;
    if scratch.is(&session.store) {
        let problem = "is the store itself: a run compared with itself is always equal";
        return Err(CliError::Usage(format!("--scratch {} {problem}", scratch.path.display())));
    }
    let again = Session {
        catalog: session.catalog.clone(),
        store: Store::open(&scratch.path)?,
        plan,
        numerics: session.numerics.clone(),
        records: Vec::new(),
    };
    if !train(global, options, &scratch, &again)? {
        return Ok(exit::INTERRUPTED);
    }
    let (mut equal, of) = (0, comparable.len());
    for (target, run) in &comparable {
        let outcome = compare::target(&session, &again, target, run, &here);
        code = worse(code, outcome.code);
        equal += usize::from(outcome.code == exit::SUCCESS);
        output!("{}", outcome.text);
    }
    output!("{equal} of {of} trained again are equal, bit for bit");
    Ok(code)
}

/// What there is to compare a target with; otherwise an exit code, and why not.
fn stored(session: &Session, target: &Target, here: &Platform) -> Result<StoredRun, (u8, String)> {
    let evidence = session.evidence();
    match evidence.look_up(&target.key, &target.run.spec) {
        Lookup::Stored(run) => {
            let made = &run.environment.platform;
            if made.agrees(here) {
                return Ok(*run);
            }
            let why = format!(
                "nothing to compare with: it was made by {} on {}, and {} on {} gives other last \
                 bits; `bgm verify` compares within tolerances",
                made.numerics, made.device, here.numerics, here.device
            );
            Err((exit::INCOMPLETE, why))
        }
        Lookup::Damaged(problem) => Err((exit::ENVIRONMENT, format!("not compared: {problem}"))),
        Lookup::Partial | Lookup::Missing => {
            let files: Vec<String> =
                session.records.iter().map(|r| format!(" nor in {}", r.file.display())).collect();
            let why = format!(
                "nothing to compare with: run {} is not in {}{}",
                target.key.short(),
                session.store.root().display(),
                files.concat()
            );
            Err((exit::INCOMPLETE, why))
        }
    }
}

/// The targets with the runs before them; what the record has no measurement of is not measured.
fn plan<'a>(
    session: &Session,
    targets: impl Iterator<Item = &'a Target>,
) -> Result<Plan, CliError> {
    let mut keys = KeyMaker::new(&session.catalog);
    let (mut runs, mut order) = (BTreeMap::new(), Vec::new());
    for target in targets {
        let chain: Vec<&RunSpec> =
            std::iter::successors(Some(&target.run.spec), |spec| spec.parent()).collect();
        let mut parent: Option<Key> = None;
        for spec in chain.into_iter().rev() {
            let key = keys.key(spec)?;
            if !runs.contains_key(&key) {
                order.push(key.clone());
                let run = PlannedRun {
                    spec: spec.clone(),
                    parent: parent.clone(),
                    needed_by: Vec::new(),
                    measures: Vec::new(),
                };
                runs.insert(key.clone(), run);
            }
            if let Some(run) =
                runs.get_mut(&key).filter(|run| !run.needed_by.contains(&target.name))
            {
                run.needed_by.push(target.name.clone());
            }
            parent = Some(key);
        }
        if let Some(run) = runs.get_mut(&target.key) {
            run.measures.clone_from(&target.run.measures);
        }
    }
    Ok(Plan { experiments: Vec::new(), runs, order })
}

/// Makes what is not in the scratch store; `false` if it was interrupted.
fn train(
    global: &Global,
    options: &Check,
    scratch: &Scratch,
    again: &Session,
) -> Result<bool, CliError> {
    let global = Global { store: scratch.path.clone(), ..global.clone() };
    for key in &again.plan.order {
        if again.store.read(key).is_ok_and(|run| !run.has_weights()) {
            return Err(CliError::Usage(format!(
                "--scratch {}: run {} is there as a record, which was not trained there; give an \
                 empty folder",
                scratch.path.display(),
                key.short()
            )));
        }
    }
    let todo = todo(&global, again)?;
    if !global.quiet {
        let seconds: f64 = todo.iter().map(|key| cost::seconds(&again.plan.runs[key].spec)).sum();
        let there = again.plan.runs.len() - todo.len();
        if there > 0 {
            note!("{there} runs are in {} already", scratch.path.display());
        }
        note!("training {} runs again, about {seconds:.0} core-seconds", todo.len());
    }
    if todo.is_empty() {
        return Ok(true);
    }
    let outcome = execute(&global, options.jobs, again, &todo, &device::places(&global)?, None)?;
    if outcome.interrupted {
        note!("bgm: interrupted; {}", scratch.after_interruption());
        return Ok(false);
    }
    if let Some((key, why)) = outcome.failed.iter().next() {
        return Err(CliError::Environment(format!("run {key} could not be made again: {why}")));
    }
    Ok(true)
}

/// Where runs are made again.
struct Scratch {
    path: PathBuf,
    /// Removes the folder at the end, if it is a temporary one.
    temporary: Option<tempfile::TempDir>,
}

impl Scratch {
    fn open(options: &Check) -> Result<Scratch, CliError> {
        if let Some(path) = &options.scratch {
            return Ok(Scratch { path: path.clone(), temporary: None });
        }
        let folder = tempfile::Builder::new().prefix("bgm-check-").tempdir();
        let folder = folder.map_err(|e| {
            let place = std::env::temp_dir();
            CliError::Environment(format!("{}: {e}; --scratch names a folder", place.display()))
        })?;
        Ok(Scratch { path: folder.path().to_owned(), temporary: Some(folder) })
    }

    /// Whether it is the folder of a store.
    fn is(&self, store: &Store) -> bool {
        let place = |path| std::fs::canonicalize(path).ok();
        place(&*self.path).is_some() && place(&*self.path) == place(store.root())
    }

    fn after_interruption(&self) -> &'static str {
        match self.temporary {
            Some(_) => "what was trained is gone; with --scratch DIR it would be kept",
            None => "nothing is lost, the same command goes on from here",
        }
    }
}
