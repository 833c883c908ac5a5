//! Making a reference from results, and showing what it changes.

use super::claims::Claims;
use super::protocol::ProtocolStamp;
use super::reference::{
    BlessedVerdict, MIN_REFERENCE_SEEDS, Reference, ReferenceValue, tolerances,
};
use crate::backend::Platform;
use crate::experiments::results::ExperimentResult;
use crate::spec::TRAINING_SEMANTICS;
use std::collections::BTreeMap;

/// Results that cannot be blessed.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum BlessError {
    #[error("{0} runs are not in the store: `bgm reproduce` makes them")]
    Missing(usize),
    #[error("{experiment} has {seeds} seeds, a reference needs at least {MIN_REFERENCE_SEEDS}")]
    TooFew { experiment: String, seeds: usize },
    #[error(
        "the reference keeps values of {experiment}, which were made {made}, and these runs were \
         not: a reference comes from one platform and one training semantics; bless the whole \
         profile here, without --only"
    )]
    Mixed { experiment: String, made: String },
}

/// How a reference came to be.
pub struct Provenance {
    pub profile: String,
    pub reason: String,
    pub date: String,
    pub commit: String,
    pub platform: Platform,
    pub protocol: Option<ProtocolStamp>,
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
    if let Some(previous) = previous
        && let Some(kept) = kept(previous, results).next()
        && (!previous.platform.agrees(&provenance.platform)
            || previous.semantics != TRAINING_SEMANTICS)
    {
        let (device, semantics) = (&previous.platform.device, previous.semantics);
        let made = format!("on {device} at semantics {semantics}");
        return Err(BlessError::Mixed { experiment: kept.experiment.clone(), made });
    }
    let mut values = Vec::new();
    for result in results {
        for cell in &result.cells {
            if cell.seeds.len() < MIN_REFERENCE_SEEDS {
                let experiment = result.experiment.id.clone();
                return Err(BlessError::TooFew { experiment, seeds: cell.seeds.len() });
            }
            let experiment = &result.experiment;
            let compared = experiment.metrics.iter().filter(|m| m.regression);
            for metric in compared.filter(|m| experiment.applies_to(m, &cell.levels)) {
                let is_sound =
                    |&(seed, value): &(u64, f64)| value.is_finite() && !cell.is_poisoned(seed);
                let samples = cell.samples(&metric.name);
                let (seeds, raw): (Vec<u64>, Vec<f64>) =
                    samples.into_iter().filter(is_sound).unzip();
                let all = cell.seeds.iter().map(|seed| seed.seed);
                let excluded = all.filter(|seed| !seeds.contains(seed)).collect();
                let (resolution, max_spread) = tolerances(metric, &raw);
                values.push(ReferenceValue {
                    experiment: result.experiment.id.clone(),
                    cell: result.cell_name(cell),
                    metric: metric.name.clone(),
                    seeds,
                    values: raw,
                    excluded,
                    resolution,
                    max_spread,
                });
            }
        }
    }
    let mut verdicts = BTreeMap::new();
    if let Some(previous) = previous {
        values.extend(kept(previous, results).cloned());
        // A verdict of a claim that is judged anew, or that is no longer declared, goes.
        let kept = previous.verdicts.iter().filter(|(_, v)| !covers(results, &v.experiment));
        verdicts = kept.map(|(id, verdict)| (id.clone(), verdict.clone())).collect();
    }
    for claim in &claims.claim {
        if let Some(evaluated) = claim.evaluate(results) {
            verdicts.insert(claim.id.clone(), BlessedVerdict::from(&evaluated.outcome));
        }
    }
    Ok(Reference {
        profile: provenance.profile,
        reason: provenance.reason,
        date: provenance.date,
        commit: provenance.commit,
        semantics: TRAINING_SEMANTICS,
        platform: provenance.platform,
        protocol: provenance.protocol,
        verdicts,
        values,
    })
}

/// The values of a reference that results say nothing of, and that stay therefore.
pub fn kept<'a>(
    previous: &'a Reference,
    results: &'a [ExperimentResult],
) -> impl Iterator<Item = &'a ReferenceValue> {
    previous.values.iter().filter(|value| !covers(results, &value.experiment))
}

fn covers(results: &[ExperimentResult], experiment: &str) -> bool {
    results.iter().any(|result| result.experiment.id == experiment)
}
