//! A bar on a terminal, a line now and then elsewhere; both on standard error.

use crate::cli::terminal::{self, note};
use crate::experiments::{Plan, PlannedRun};
use crate::schedule::Monitor;
use crate::spec::Key;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// Steps of the bar in one second of estimated work.
const STEPS: f64 = 10.0;

/// What can be said once a run is there, line by line.
type Verdicts<'a> = &'a (dyn Fn(&Key) -> Vec<String> + Sync);

/// Shows how far a set of runs has come, and which verdicts can be given.
pub struct Progress<'a> {
    plan: &'a Plan,
    verdicts: Verdicts<'a>,
    bar: ProgressBar,
    quiet: bool,
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    /// Estimated seconds of each run that is to be done.
    cost: BTreeMap<Key, f64>,
    /// Fraction done of each.
    done: BTreeMap<Key, f64>,
    finished: usize,
    last_line: Instant,
}

impl<'a> Progress<'a> {
    pub fn new(
        (plan, todo): (&'a Plan, &BTreeSet<Key>),
        cost: &dyn Fn(&PlannedRun) -> f64,
        verdicts: Verdicts<'a>,
        quiet: bool,
    ) -> Self {
        let cost: BTreeMap<Key, f64> =
            todo.iter().map(|key| (key.clone(), cost(&plan.runs[key]))).collect();
        let length = (cost.values().sum::<f64>() * STEPS) as u64;
        let (bar, terminal) = terminal::bar(Some(length.max(1)), quiet);
        let style = ProgressStyle::with_template(
            "{spinner} {wide_bar:.cyan/blue} {percent:>3}%  {elapsed} gone, {eta} left  {msg}",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        let state = State { cost, done: BTreeMap::new(), finished: 0, last_line: Instant::now() };
        Progress { plan, verdicts, bar, quiet, terminal, state: Mutex::new(state) }
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, text: String) {
        if self.terminal {
            self.bar.println(text);
        } else if !self.quiet {
            note!("{text}");
        }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let total: f64 = state.cost.values().sum();
        let gone: f64 =
            state.done.iter().map(|(key, part)| part * state.cost.get(key).unwrap_or(&0.0)).sum();
        self.bar.set_position((gone * STEPS) as u64);
        let runs = format!("{}/{} runs", state.finished, state.cost.len());
        self.bar.set_message(runs.clone());
        if !self.terminal && state.last_line.elapsed() >= LINE_EVERY {
            state.last_line = Instant::now();
            let elapsed = self.bar.elapsed().as_secs_f64();
            let left = if gone > 0.0 { elapsed * (total - gone) / gone } else { 0.0 };
            drop(state);
            let percent = 100.0 * gone / total.max(1e-9);
            self.say(format!(
                "{runs}, {percent:.0}% of the work, {elapsed:.0} s gone, about {left:.0} s left"
            ));
        }
    }

    fn name(&self, key: &Key) -> String {
        let run = &self.plan.runs[key];
        format!("{} (seed {}, for {})", key.short(), run.spec.seed, run.needed_by.join(", "))
    }
}

impl Monitor for Progress<'_> {
    fn started(&self, _: &Key, _: &PlannedRun) {
        self.update(|_| {});
    }

    fn progress(&self, key: &Key, epoch: u32, most: u32) {
        let part = f64::from(epoch) / f64::from(most.max(1));
        self.update(|state| {
            state.done.insert(key.clone(), part);
        });
    }

    fn finished(&self, key: &Key) {
        self.update(|state| {
            state.finished += 1;
            state.done.insert(key.clone(), 1.0);
        });
        for verdict in (self.verdicts)(key) {
            self.say(verdict);
        }
    }

    fn retried(&self, key: &Key, why: &str) {
        self.say(format!("run {} failed, once more from its checkpoint: {why}", self.name(key)));
    }

    fn failed(&self, key: &Key, why: &str) {
        self.say(format!("run {} failed: {why}", self.name(key)));
    }
}
