//! What a check says of one run.

use super::select::Target;
use crate::backend::Platform;
use crate::cli::session::Session;
use crate::cli::store::worse;
use crate::measure::MeasureSpec;
use crate::spec::Key;
use crate::store::{StoredRun, compare};
use crate::verify::exit;

/// The result for one target.
pub struct Outcome {
    pub code: u8,
    /// One line, and one more for each difference.
    pub text: String,
}

/// Compares a run that was made again with what is stored of it, the runs before it included.
pub fn target(
    session: &Session,
    again: &Session,
    target: &Target,
    stored: &StoredRun,
    here: &Platform,
) -> Outcome {
    let mut lines = Vec::new();
    let mut code = exit::SUCCESS;
    for key in before(again, &target.key) {
        match (session.evidence().read(&key), again.store.read(&key)) {
            (Ok(theirs), Ok(ours)) => {
                for difference in compare::runs(&theirs, &ours) {
                    code = exit::DEPARTURE;
                    lines.push(format!("the run before it, {}: {difference}", key.short()));
                }
            }
            // That nothing is stored of it does not matter: this one starts from it.
            (Err(_), Ok(_)) => {}
            (_, Err(problem)) => {
                code = worse(code, exit::ENVIRONMENT);
                lines.push(format!("not compared: {problem}"));
            }
        }
    }
    let mut measured = 0;
    match again.store.read(&target.key) {
        Ok(ours) => {
            for difference in compare::runs(stored, &ours) {
                code = exit::DEPARTURE;
                lines.push(difference.to_string());
            }
            let (found, worst) = measurements(session, again, target, (stored, &ours), &mut lines);
            measured = found;
            code = worse(code, worst);
        }
        Err(problem) => {
            code = worse(code, exit::ENVIRONMENT);
            lines.push(format!("not compared: {problem}"));
        }
    }
    let evaluations = stored.metrics.evaluations.len();
    let verdict = match code {
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
    let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    Outcome { code, text: format!("{}: {verdict}{lines}", target.name) }
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
    let declared = session.plan.experiments.iter().flat_map(|(experiment, _)| &experiment.measures);
    let name =
        declared.into_iter().find(|(_, spec)| *spec == measure).map(|(name, _)| name.clone());
    format!("measurement {}", name.unwrap_or_else(|| measure.id()))
}

/// Compares measurements: how many there were to compare, and an exit code.
fn measurements(
    session: &Session,
    again: &Session,
    target: &Target,
    (stored, ours): (&StoredRun, &StoredRun),
    lines: &mut Vec<String>,
) -> (usize, u8) {
    let (mut compared, mut code) = (0, exit::SUCCESS);
    for measure in &target.run.measures {
        let (id, name) = (measure.id(), name(session, measure));
        let theirs = session.evidence().measured(&target.key, &id, &stored.result_hash);
        match (theirs, again.store.measured(&target.key, &id, &ours.result_hash)) {
            (Ok(Some(theirs)), Ok(Some(ours))) => {
                compared += 1;
                if let Some(difference) = compare::measured(&name, &theirs, &ours) {
                    code = exit::DEPARTURE;
                    lines.push(difference.to_string());
                }
            }
            (Ok(None), _) => {
                code = worse(code, exit::INCOMPLETE);
                lines.push(format!("{name}: nothing to compare with, it is not stored"));
            }
            (Err(problem), _) | (_, Err(problem)) => {
                code = worse(code, exit::ENVIRONMENT);
                lines.push(format!("{name}: not compared: {problem}"));
            }
            (_, Ok(None)) => {
                code = worse(code, exit::ENVIRONMENT);
                lines.push(format!("{name}: it was not made again"));
            }
        }
    }
    (compared, code)
}
