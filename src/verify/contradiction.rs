//! Whether the blessed verdicts follow from the blessed values: where they do not, the reference was
//! edited, or a claim was changed.

use super::claims::{Claim, Claims};
use super::reference::{BlessedPart, BlessedVerdict, Reference};
use super::rejudge::results;
use crate::experiments::Plan;
use crate::experiments::results::ExperimentResult;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// Why a blessed verdict does not follow from the blessed values.
#[derive(Clone, Debug, PartialEq)]
pub struct Contradiction {
    /// What is different, in words.
    pub what: String,
    /// Whether the claim is another one than when it was blessed; otherwise somebody has edited
    /// the reference.
    pub claim_changed: bool,
}

/// The blessed verdicts that do not follow from the blessed values, by the id of the claim.
/// `changed` says which claims are known to be other ones than when they were blessed. Left out are
/// claims on experiments whose numbers are not just those that the reference holds: these are
/// missing, and named where numbers are compared.
pub fn contradictions(
    reference: &Reference,
    plan: &Plan,
    claims: &Claims,
    changed: &dyn Fn(&str) -> bool,
) -> BTreeMap<String, Contradiction> {
    let results = results(reference, plan);
    let whole: Vec<&str> = results
        .iter()
        .filter(|result| is_whole(result, reference))
        .map(|result| result.experiment.id.as_str())
        .collect();
    let wrong = |claim: &Claim| {
        let blessed = reference.verdicts.get(&claim.id)?;
        if !whole.contains(&claim.experiment.as_str()) {
            return None;
        }
        let judged = BlessedVerdict::from(&claim.evaluate(&results)?.outcome);
        let what = difference(blessed, &judged)?;
        Some((claim.id.clone(), Contradiction { what, claim_changed: changed(&claim.id) }))
    };
    claims.claim.iter().filter_map(wrong).collect()
}

/// Whether the reference holds what an experiment declares, no less and no more.
fn is_whole(result: &ExperimentResult, reference: &Reference) -> bool {
    let experiment = &result.experiment;
    let compared = || experiment.metrics.iter().filter(|metric| metric.regression);
    let numbers = result.cells.iter().flat_map(|cell| {
        let own = compared().filter(|metric| experiment.applies_to(metric, &cell.levels));
        own.map(|metric| (result.cell_name(cell), metric.name.clone()))
    });
    let held = reference.values.iter().filter(|value| value.experiment == experiment.id);
    let held: BTreeSet<_> = held.map(|value| (value.cell.clone(), value.metric.clone())).collect();
    numbers.collect::<BTreeSet<_>>() == held
}

/// What a blessed verdict has other than one that was judged again, words for the reason aside.
pub fn difference(blessed: &BlessedVerdict, judged: &BlessedVerdict) -> Option<String> {
    let words = |name: &str, blessed: &dyn Debug, judged: &dyn Debug| {
        let (blessed, judged) = (format!("{blessed:?}"), format!("{judged:?}"));
        (blessed != judged).then(|| format!("{name} is {blessed}, judged again {judged}"))
    };
    let numbers = |name: &str, blessed: &[f64], judged: &[f64]| {
        let same = blessed.len() == judged.len()
            && blessed.iter().zip(judged).all(|(a, b)| is_close(*a, *b));
        (!same).then(|| format!("{name} is {blessed:?}, judged again {judged:?}"))
    };
    let flat = |verdict: &BlessedVerdict| verdict.interval.map_or(Vec::new(), |i| i.to_vec());
    let statistic = |verdict: &BlessedVerdict| Vec::from_iter(verdict.statistic);
    let parts = |verdict: &BlessedVerdict| -> Vec<(String, usize)> {
        verdict.parts.iter().map(|part| (part.name.clone(), part.n)).collect()
    };
    let effects = |verdict: &BlessedVerdict| -> Vec<f64> {
        let of = |p: &BlessedPart| [p.effect, p.standard_error, p.degrees];
        verdict.parts.iter().flat_map(of).collect()
    };
    words("experiment", &blessed.experiment, &judged.experiment)
        .or_else(|| words("verdict", &blessed.verdict, &judged.verdict))
        .or_else(|| words("n", &blessed.n, &judged.n))
        .or_else(|| words("deciding_part", &blessed.deciding_part, &judged.deciding_part))
        .or_else(|| words("direction", &blessed.direction, &judged.direction))
        .or_else(|| words("must_be", &blessed.must_be, &judged.must_be))
        .or_else(|| numbers("statistic", &statistic(blessed), &statistic(judged)))
        .or_else(|| numbers("interval", &flat(blessed), &flat(judged)))
        .or_else(|| words("part", &parts(blessed), &parts(judged)))
        .or_else(|| numbers("part", &effects(blessed), &effects(judged)))
}

/// Equal but for the last digits: logarithms may differ there between systems.
fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}
