//! Verdicts as soon as the last run that they rest on has ended, while others are still trained.

use super::session::Session;
use crate::experiments::aggregate::{RunRecord, Runs, aggregate};
use crate::experiments::results::Measured;
use crate::report;
use crate::spec::{Key, RunSpec};
use crate::verify::claims::{Claim, Claims};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// The claims that runs to be made will decide.
pub struct Early<'a> {
    session: &'a Session,
    /// Place in the claims file of the first claim that a run bears on.
    places: BTreeMap<Key, usize>,
    undecided: Mutex<Vec<Undecided<'a>>>,
}

struct Undecided<'a> {
    claim: &'a Claim,
    /// The runs that are still to be made.
    missing: BTreeSet<Key>,
}

/// Before anything is trained.
struct NoRuns;

impl Runs for NoRuns {
    fn run(&self, _: &Key, _: &RunSpec) -> Option<RunRecord> {
        None
    }

    fn measured(&self, _: &Key, _: &str, _: &str) -> Option<Measured> {
        None
    }
}

impl<'a> Early<'a> {
    /// The claims to which a run of `todo` is still missing.
    pub fn new(session: &'a Session, claims: &'a Claims, todo: &BTreeSet<Key>) -> Early<'a> {
        let empty = aggregate(&session.plan, &NoRuns);
        let (mut places, mut undecided) = (BTreeMap::new(), Vec::new());
        for (place, claim) in claims.claim.iter().enumerate() {
            let runs = claim.runs(&empty);
            let missing: BTreeSet<Key> = runs.intersection(todo).cloned().collect();
            for key in &missing {
                places.entry(key.clone()).or_insert(place);
            }
            if !missing.is_empty() {
                undecided.push(Undecided { claim, missing });
            }
        }
        Early { session, places, undecided: Mutex::new(undecided) }
    }

    /// How soon a run is wanted: that of an earlier claim before that of a later one, and that
    /// of no claim last.
    pub fn place(&self, key: &Key) -> usize {
        self.places.get(key).copied().unwrap_or(usize::MAX)
    }

    /// The verdicts that can be given now that this run is there, one a line.
    pub fn after(&self, key: &Key) -> Vec<String> {
        let mut undecided = self.undecided.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in undecided.iter_mut() {
            entry.missing.remove(key);
        }
        let decided: Vec<&Claim> =
            undecided.extract_if(.., |entry| entry.missing.is_empty()).map(|e| e.claim).collect();
        drop(undecided);
        let verdict = |claim: &Claim| {
            let results = self.session.results_of(&claim.experiment);
            Some(report::verdict_line(&claim.evaluate(&results)?.outcome))
        };
        decided.into_iter().filter_map(verdict).collect()
    }
}
