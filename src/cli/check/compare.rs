//! What a check says of one run.

use super::select::Target;
use crate::backend::Platform;
use crate::cli::session::Session;
use crate::cli::worse;
use crate::measure::MeasureSpec;
use crate::spec::Key;
use crate::store::{StoredRun, compare};
use crate::verify::exit;
use std::fmt::Display;

/// The result for one target.
pub struct Outcome {
    pub code: u8,
    /// The verdict, then indented lines: where both were made, if they differ, and one for each
    /// difference.
    pub text: String,
}

impl Outcome {
    /// Adds an indented line and makes the code `code` if that is worse.
    fn add(&mut self, code: u8, line: impl Display) {
        self.code = worse(self.code, code);
        self.text += &format!("\n  {line}");
    }
}

/// Compares a run that was made again, and the runs that it starts from, with what is stored of
/// them. `session` has the store and the records to compare with, `again` the scratch store in which
/// everything was trained anew, and `here` is this machine.
pub fn target(
    session: &Session,
    again: &Session,
    target: &Target,
    stored: &StoredRun,
    here: &Platform,
) -> Outcome {
    let mut found = Outcome { code: exit::SUCCESS, text: String::new() };
    for key in before(again, &target.key) {
        match (session.evidence().read(&key), again.store.read(&key)) {
            (Ok(stored), Ok(trained)) => {
                for difference in compare::runs(&stored, &trained) {
                    let line = format!("the run before it, {}: {difference}", key.short());
                    found.add(exit::DEPARTURE, line);
                }
            }
            // A run before it that is not stored does not matter: every bit of it is in this one.
            (Err(_), Ok(_)) if !session.evidence().holds(&key) => {}
            (Err(problem), _) | (_, Err(problem)) => {
                let line = format!("the run before it, {}: not compared: {problem}", key.short());
                found.add(exit::ENVIRONMENT, line);
            }
        }
    }
    let mut measured = 0;
    match again.store.read(&target.key) {
        Ok(trained) => {
            for difference in compare::runs(stored, &trained) {
                found.add(exit::DEPARTURE, difference);
            }
            measured = measurements(session, again, target, (stored, &trained), &mut found);
        }
        Err(problem) => found.add(exit::ENVIRONMENT, format!("not compared: {problem}")),
    }
    let evaluations = stored.metrics.evaluations.len();
    let verdict = match found.code {
        exit::SUCCESS => {
            format!(
                "equal, bit for bit (weights, {evaluations} evaluations, {measured} measurements)"
            )
        }
        exit::DEPARTURE => format!(
            "DIFFERS from {}\n  made on {}, {}, commit {}\n  made now on {}, {}",
            session.evidence().origin(&target.key).display(),
            stored.environment.platform.device,
            stored.environment.platform.numerics,
            stored.environment.commit,
            here.device,
            here.numerics
        ),
        _ => "not compared in full".to_owned(),
    };
    Outcome { text: format!("{}: {verdict}{}", target.name, found.text), ..found }
}

/// Keys of the runs before a run, the eldest first.
fn before(again: &Session, key: &Key) -> Vec<Key> {
    let parent = |key: &Key| again.plan.runs.get(key)?.parent.clone();
    let mut keys: Vec<Key> = std::iter::successors(parent(key), parent).collect();
    keys.reverse();
    keys
}

/// A measurement as an experiment calls it.
fn name(session: &Session, measure: &MeasureSpec) -> String {
    let mut declared =
        session.plan.experiments.iter().flat_map(|(experiment, _)| &experiment.measures);
    let name = declared.find(|(_, spec)| *spec == measure).map(|(name, _)| name.clone());
    format!("measurement {}", name.unwrap_or_else(|| measure.id()))
}

/// Compares measurements, and counts those that there were to compare.
fn measurements(
    session: &Session,
    again: &Session,
    target: &Target,
    (stored, trained): (&StoredRun, &StoredRun),
    found: &mut Outcome,
) -> usize {
    let mut compared = 0;
    for measure in &target.run.measures {
        let (id, name) = (measure.id(), name(session, measure));
        let before = session.evidence().measured(&target.key, &id, &stored.result_hash);
        match (before, again.store.measured(&target.key, &id, &trained.result_hash)) {
            (Ok(Some(before)), Ok(Some(now))) => {
                compared += 1;
                if let Some(difference) = compare::measured(&name, &before, &now) {
                    found.add(exit::DEPARTURE, difference);
                }
            }
            (Ok(None), _) => {
                let line = format!("{name}: nothing to compare with, it is not stored");
                found.add(exit::INCOMPLETE, line);
            }
            (Err(problem), _) | (_, Err(problem)) => {
                found.add(exit::ENVIRONMENT, format!("{name}: not compared: {problem}"));
            }
            (_, Ok(None)) => {
                found.add(exit::ENVIRONMENT, format!("{name}: it was not made again"));
            }
        }
    }
    compared
}
