//! Making a reference from results, and showing what it changes.

use super::claims::{Claims, FEWEST_SEEDS};
use super::reference::{BlessedVerdict, Reference, ReferenceValue};
use super::stats;
use crate::experiments::results::ExperimentResult;
use crate::spec::TRAINING_SEMANTICS;
use crate::torch::Platform;
use std::collections::BTreeMap;

/// Results that cannot be blessed.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum BlessError {
    #[error("{0} runs are not in the store: `bgm reproduce` makes them")]
    Missing(usize),
    #[error("{experiment} has {seeds} seeds, a reference needs at least {FEWEST_SEEDS}")]
    TooFew { experiment: String, seeds: usize },
}

/// How a reference came to be.
pub struct Provenance {
    pub profile: String,
    pub reason: String,
    pub date: String,
    pub commit: String,
    pub platform: Platform,
}

/// Makes a reference from complete results. Values of experiments that are not among the
/// results are kept from `previous`.
///
/// # Errors
/// If runs are missing or seeds are too few.
pub fn make(
    results: &[ExperimentResult],
    claims: &Claims,
    provenance: Provenance,
    previous: Option<&Reference>,
) -> Result<Reference, BlessError> {
    let seeds = || results.iter().flat_map(|r| &r.cells).flat_map(|c| &c.seeds);
    let missing = seeds().filter(|seed| seed.run.is_none()).count();
    if missing > 0 {
        return Err(BlessError::Missing(missing));
    }
    let mut values = Vec::new();
    for result in results {
        for cell in &result.cells {
            if cell.seeds.len() < FEWEST_SEEDS {
                let experiment = result.experiment.id.clone();
                return Err(BlessError::TooFew { experiment, seeds: cell.seeds.len() });
            }
            let experiment = &result.experiment;
            let compared = experiment.metrics.iter().filter(|m| m.regression);
            for metric in compared.filter(|m| experiment.applies_to(m, &cell.levels)) {
                let (seeds, raw) = cell.samples(&metric.name).into_iter().unzip();
                values.push(ReferenceValue {
                    experiment: result.experiment.id.clone(),
                    cell: result.cell_name(cell),
                    metric: metric.name.clone(),
                    seeds,
                    values: raw,
                });
            }
        }
    }
    let mut verdicts = BTreeMap::new();
    let covered = |experiment: &str| results.iter().any(|r| r.experiment.id == experiment);
    if let Some(previous) = previous {
        let kept = previous.values.iter().filter(|v| !covered(&v.experiment));
        values.extend(kept.cloned());
        verdicts = previous.verdicts.clone();
    }
    for claim in &claims.claim {
        if let Some(evaluated) = claim.evaluate(results, None) {
            let outcome = evaluated.outcome;
            let blessed = BlessedVerdict {
                verdict: outcome.verdict,
                n: outcome.n,
                statistic: outcome.statistic,
                interval: outcome.interval,
                reason: outcome.reason,
            };
            verdicts.insert(claim.id.clone(), blessed);
        }
    }
    Ok(Reference {
        profile: provenance.profile,
        reason: provenance.reason,
        date: provenance.date,
        commit: provenance.commit,
        semantics: TRAINING_SEMANTICS,
        platform: provenance.platform,
        verdicts,
        values,
    })
}

/// What a new reference changes, one line a change.
pub fn changes(old: Option<&Reference>, new: &Reference) -> Vec<String> {
    let Some(old) = old else {
        return vec![format!("new reference: {} numbers", new.values.len())];
    };
    let mut lines = Vec::new();
    for (id, verdict) in &new.verdicts {
        match old.verdicts.get(id) {
            Some(before) if before.verdict == verdict.verdict => {}
            Some(before) => {
                lines.push(format!("verdict {id}: {:?} -> {:?}", before.verdict, verdict.verdict));
            }
            None => lines.push(format!("verdict {id}: new, {:?}", verdict.verdict)),
        }
    }
    for value in &new.values {
        let name = format!("{} [{}] {}", value.experiment, value.cell, value.metric);
        match old.value(&value.experiment, &value.cell, &value.metric) {
            Some(before) if before == value => {}
            Some(before) => lines.push(format!(
                "{name}: {:.4} (n {}) -> {:.4} (n {})",
                stats::mean(&before.values),
                before.values.len(),
                stats::mean(&value.values),
                value.values.len()
            )),
            None => lines.push(format!("{name}: new, {:.4}", stats::mean(&value.values))),
        }
    }
    let gone = |v: &&ReferenceValue| new.value(&v.experiment, &v.cell, &v.metric).is_none();
    for value in old.values.iter().filter(gone) {
        lines.push(format!("{} [{}] {}: removed", value.experiment, value.cell, value.metric));
    }
    lines
}
