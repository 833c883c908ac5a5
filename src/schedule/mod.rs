//! Runs jobs side by side on one machine, parents before children, each in a process of its
//! own: one that dies takes no other along. A run has one thread, and more once fewer runs than
//! cores are left.

pub mod context;
pub mod devices;
pub mod order;
pub mod simulate;
mod watch;
pub mod worker;

use crate::experiments::{Plan, PlannedRun};
use crate::spec::Key;
use order::Order;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Times that a run that failed is tried again, from its last checkpoint.
pub const RETRIES: u32 = 2;

/// Does one run; in tests, pretends to.
pub trait Executor: Sync {
    /// Makes the run and its measurements, with this many threads where they change no bit;
    /// `progress` is told (epoch, most epochs).
    ///
    /// # Errors
    /// Why it failed, in words.
    fn execute(
        &self,
        key: &Key,
        run: &PlannedRun,
        threads: usize,
        progress: &dyn Fn(u32, u32),
    ) -> Result<(), RunFailure>;
}

/// Outcome of a run that did not finish, as far as the scheduler needs to know: whether to try
/// again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunFailure {
    /// Worth another try.
    Transient(String),
    /// Will fail again.
    Permanent(String),
    /// Will fail again unless something outside the program changes: a disk, a data set.
    Environment(String),
    /// The user wants to stop.
    Interrupted,
}

impl RunFailure {
    fn reason(self) -> String {
        match self {
            RunFailure::Transient(why)
            | RunFailure::Permanent(why)
            | RunFailure::Environment(why) => why,
            RunFailure::Interrupted => "interrupted".to_owned(),
        }
    }
}

/// Is told what happens.
pub trait Monitor: Sync {
    fn started(&self, key: &Key, run: &PlannedRun);
    fn progress(&self, key: &Key, epoch: u32, most: u32);
    fn finished(&self, key: &Key);
    fn retried(&self, key: &Key, why: &str);
    fn failed(&self, key: &Key, why: &str);
}

/// What became of the runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub finished: usize,
    /// Runs that failed for good, with why; runs that wait for them are named too.
    pub failed: BTreeMap<Key, String>,
    /// Whether one of them failed for something outside the program.
    pub environment: bool,
    pub interrupted: bool,
}

struct State<'a> {
    /// Not begun, in the order of the plan.
    waiting: Vec<&'a Key>,
    running: BTreeSet<&'a Key>,
    outcome: Outcome,
    jobs: usize,
}

impl State<'_> {
    /// Threads of a run that begins now: the cores that no other run can use.
    fn threads(&self, plan: &Plan) -> usize {
        let pending: BTreeSet<&Key> = self.waiting.iter().chain(&self.running).copied().collect();
        let is_ready = |key: &&&Key| {
            plan.runs[**key].parent.as_ref().is_none_or(|parent| !pending.contains(parent))
        };
        let side_by_side = self.running.len() + self.waiting.iter().filter(is_ready).count();
        (self.jobs / side_by_side.max(1)).max(1)
    }
}

/// Makes every run of `todo` (keys of the plan that are not in the store), at most `jobs` at
/// a time, in `order`. Runs of `plan` outside `todo` count as there.
pub fn execute(
    (plan, order): (&Plan, &Order<'_>),
    todo: &BTreeSet<Key>,
    jobs: usize,
    executor: &dyn Executor,
    monitor: &dyn Monitor,
) -> Outcome {
    let waiting = plan.order.iter().filter(|key| todo.contains(key)).collect();
    let state =
        Mutex::new(State { waiting, running: BTreeSet::new(), outcome: Outcome::default(), jobs });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        // A worker without a run would only wait.
        for _ in 0..jobs.clamp(1, todo.len().max(1)) {
            scope.spawn(|| work((plan, order), &state, &changed, executor, monitor));
        }
    });
    state.into_inner().unwrap_or_else(PoisonError::into_inner).outcome
}

fn locked<'a, 'b>(state: &'a Mutex<State<'b>>) -> MutexGuard<'a, State<'b>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work<'a>(
    (plan, order): (&'a Plan, &Order<'_>),
    state: &Mutex<State<'a>>,
    changed: &Condvar,
    executor: &dyn Executor,
    monitor: &dyn Monitor,
) {
    loop {
        let mut now = locked(state);
        let key = loop {
            if now.outcome.interrupted || now.waiting.is_empty() {
                return;
            }
            match next(plan, order, &mut now) {
                Some(key) => break key,
                None if now.waiting.is_empty() => return,
                None => now = changed.wait(now).unwrap_or_else(PoisonError::into_inner),
            }
        };
        now.running.insert(key);
        let threads = now.threads(plan);
        drop(now);
        let run = &plan.runs[key];
        monitor.started(key, run);
        let result = attempt((key, run, threads), executor, monitor);
        let mut now = locked(state);
        now.running.remove(key);
        match result {
            Ok(()) => {
                now.outcome.finished += 1;
                monitor.finished(key);
            }
            Err(RunFailure::Interrupted) => now.outcome.interrupted = true,
            Err(failure) => {
                now.outcome.environment |= matches!(failure, RunFailure::Environment(_));
                let why = failure.reason();
                monitor.failed(key, &why);
                now.outcome.failed.insert(key.clone(), why);
            }
        }
        changed.notify_all();
    }
}

/// Takes the waiting run that is to begin, of those whose parents are there; drops those
/// whose parent failed.
fn next<'a>(plan: &'a Plan, order: &Order<'_>, now: &mut State<'a>) -> Option<&'a Key> {
    let State { waiting, running, outcome, .. } = now;
    let parent = |key: &Key| plan.runs[key].parent.as_ref();
    // Parents come before children in the order, so one pass sees whole chains.
    waiting.retain(|key| match parent(key).filter(|p| outcome.failed.contains_key(*p)) {
        None => true,
        Some(parent) => {
            let why = format!("starts from run {}, which failed", parent.short());
            outcome.failed.insert((*key).clone(), why);
            false
        }
    });
    let pending: BTreeSet<&Key> = waiting.iter().chain(running.iter()).copied().collect();
    let chosen = order.choose(waiting, |key| parent(key).is_none_or(|p| !pending.contains(p)))?;
    Some(waiting.remove(chosen))
}

fn attempt(
    (key, run, threads): (&Key, &PlannedRun, usize),
    executor: &dyn Executor,
    monitor: &dyn Monitor,
) -> Result<(), RunFailure> {
    let mut tries = 0;
    loop {
        let progress = |epoch, most| monitor.progress(key, epoch, most);
        match executor.execute(key, run, threads, &progress) {
            Err(RunFailure::Transient(why)) if tries < RETRIES => {
                tries += 1;
                monitor.retried(key, &why);
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Catalog;
    use crate::experiments::{Profile, Seeds};
    use std::path::Path;

    #[test]
    fn runs_share_the_cores_that_no_other_can_use() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tables = root.join("paper_tables");
        let profile = Profile::read(&tables, "smoke").expect("a profile of the repository");
        let catalog = Catalog::new(root.join("data"));
        let only = ["table1_accuracy".to_owned()];
        let plan = Plan::new(&profile, &tables, &catalog, &only, Some(&Seeds::first(1)));
        let plan = plan.expect("a plan");
        let parent = plan.runs.values().find_map(|run| run.parent.as_ref()).expect("a chain");
        let children: Vec<&Key> = plan
            .order
            .iter()
            .filter(|key| plan.runs[*key].parent.as_ref() == Some(parent))
            .collect();
        assert_eq!(children.len(), 2);
        let threads = |waiting: &[&Key], running: &[&Key], jobs| {
            let running = running.iter().copied().collect();
            let outcome = Outcome::default();
            State { waiting: waiting.to_vec(), running, outcome, jobs }.threads(&plan)
        };
        // Nothing can begin beside a run that all others wait for.
        assert_eq!(threads(&children, &[parent], 4), 4);
        assert_eq!(threads(&children[1..], &children[..1], 4), 2);
        assert_eq!(threads(&[], &children, 4), 2);
        assert_eq!(threads(&[], &children[..1], 4), 4);
        assert_eq!(threads(&children[1..], &children[..1], 2), 1);
        assert_eq!(threads(&[], &children, 1), 1);
    }
}
