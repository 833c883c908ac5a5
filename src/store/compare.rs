//! Two results of one spec, bit for bit: where they part.

use super::{StoredRun, paths};
use crate::experiments::evaluation::figures;
use crate::measure::Measured;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One thing that two results do not share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Such as `evaluation 4 (epoch 6), test_loss`.
    pub what: String,
    /// Its value in the stored run or record.
    pub stored: String,
    /// Its value in the run that was made again.
    pub again: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} in the record, {} now", self.what, self.stored, self.again)
    }
}

fn difference(
    what: impl Into<String>,
    stored: impl fmt::Display,
    again: impl fmt::Display,
) -> Difference {
    Difference { what: what.into(), stored: stored.to_string(), again: again.to_string() }
}

/// Where the metrics of two runs of one spec part first, and which of their weights differ;
/// empty if both have the same bits.
pub fn runs(stored: &StoredRun, again: &StoredRun) -> Vec<Difference> {
    let mut found: Vec<Difference> = metrics(stored, again).into_iter().collect();
    let (theirs, ours) = (stored.result_hashes(), again.result_hashes());
    let names: BTreeSet<&str> = theirs.keys().chain(ours.keys()).copied().collect();
    for name in names {
        let hash = |of: &BTreeMap<&str, &str>| {
            of.get(name).map_or_else(|| "none".to_owned(), |hash| hash[..16].to_owned())
        };
        // Metrics have been named by their values; by their hash only where the text differs.
        let named = name == paths::METRICS && !found.is_empty();
        if theirs.get(name) != ours.get(name) && !named {
            found.push(difference(format!("SHA-256 of {name}"), hash(&theirs), hash(&ours)));
        }
    }
    found
}

/// The first number of two runs' metrics that differs.
fn metrics(stored: &StoredRun, again: &StoredRun) -> Option<Difference> {
    let (theirs, ours) = (&stored.metrics, &again.metrics);
    let pairs = theirs.evaluations.iter().zip(&ours.evaluations);
    for (place, (a, b)) in pairs.enumerate() {
        for ((field, a_value), (_, b_value)) in figures(a).into_iter().zip(figures(b)) {
            if a_value.to_bits() != b_value.to_bits() {
                let what = format!("evaluation {} (epoch {}), {field}", place + 1, a.epoch);
                return Some(difference(what, a_value, b_value));
            }
        }
    }
    let (a, b) = (theirs.evaluations.len(), ours.evaluations.len());
    if a != b {
        return Some(difference("number of evaluations", a, b));
    }
    if theirs.epochs != ours.epochs {
        return Some(difference("epochs", theirs.epochs, ours.epochs));
    }
    let (a, b) = (theirs.status, ours.status);
    (a != b).then(|| difference("status", format!("{a:?}"), format!("{b:?}")))
}

/// The first number in which two results of a measurement, called `name`, differ.
pub fn measured(name: &str, stored: &Measured, again: &Measured) -> Option<Difference> {
    let (theirs, ours) = (numbers(stored), numbers(again));
    for (number, a) in &theirs {
        let Some(b) = ours.get(number) else {
            return Some(difference(format!("{name}, {number}"), a, "none"));
        };
        if a.to_bits() != b.to_bits() {
            return Some(difference(format!("{name}, {number}"), a, b));
        }
    }
    let (number, b) = ours.iter().find(|(number, _)| !theirs.contains_key(*number))?;
    Some(difference(format!("{name}, {number}"), "none", b))
}

/// All numbers of a measurement by name: `hessian_max`, `grid[17]`.
fn numbers(measured: &Measured) -> BTreeMap<String, f64> {
    let values = measured.values.iter().map(|(name, value)| (name.clone(), *value));
    let series = measured.series.iter().flat_map(|(name, values)| {
        values.iter().enumerate().map(move |(place, value)| (format!("{name}[{place}]"), *value))
    });
    values.chain(series).collect()
}
