//! What a claim is judged by: the seeds of its parts' cells, and the verdict that they give at
//! a margin.

use super::claims::{Claim, MIN_SEEDS, Part, Scale};
use super::estimate::{Estimate, PooledSpread, Term, Variance};
use super::outcome::Verdict;
use super::predicate::{Levels, Test};
use crate::experiments::results::{CellResult, ExperimentResult};
use crate::spec::Key;
use std::collections::{BTreeMap, BTreeSet};

/// Which bounds a margin gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Above,
    Equivalent,
    NotWorse,
}

impl Kind {
    fn of(test: &Test) -> Kind {
        match test {
            Test::Above(_) | Test::Trend(_) => Kind::Above,
            Test::Equivalent(_) => Kind::Equivalent,
            Test::NotWorse(_) | Test::Best(_) => Kind::NotWorse,
        }
    }

    /// Between which bounds the effect must lie; both on the scale of the test.
    pub fn bounds(self, margin: f64) -> [f64; 2] {
        match self {
            Kind::Above => [margin, f64::INFINITY],
            Kind::Equivalent => [-margin, margin],
            Kind::NotWorse => [-margin, f64::INFINITY],
        }
    }

    /// Where the effect must lie, in words.
    pub fn words(self, margin: f64, scale: Scale) -> String {
        let short = |x: f64| {
            let text = format!("{x:.3}");
            text.trim_end_matches('0').trim_end_matches('.').replace('-', "\u{2212}")
        };
        let least = if scale == Scale::Ratio { 1.0 / margin } else { -margin };
        match self {
            Kind::Above => format!("above {}", short(margin)),
            Kind::Equivalent => format!("between {} and {}", short(least), short(margin)),
            Kind::NotWorse => format!("above {}", short(least)),
        }
    }
}

/// A part with the seeds of its cells.
pub struct Evidence {
    pub part: Part,
    pub direction: String,
    pub kind: Kind,
    /// The weighted cells, or why there are none.
    pub terms: Result<Vec<Term>, String>,
    pooled: Option<PooledSpread>,
    variance: Variance,
    pub cells: Vec<Levels>,
}

impl Evidence {
    /// The cells that a part of a claim looks at, with their seeds.
    pub fn of(claim: &Claim, part: Part, result: &ExperimentResult) -> Evidence {
        let experiment = &result.experiment;
        let metric = part.metric.clone().unwrap_or_else(|| claim.metric.clone());
        let cells = part.test.cells(experiment);
        let direction = part.test.direction(experiment, claim.scale == Scale::Ratio);
        let term = |(weight, cell): &(f64, Levels)| {
            let found = find(result, cell)?;
            let is_lost = |sample: &&(u64, f64)| !sample.1.is_finite();
            if let Some((seed, _)) = found.samples(&metric).iter().find(is_lost) {
                return Err(format!("{metric} of seed {seed} is no number"));
            }
            let samples = samples(found, &metric);
            let scaled = samples.into_iter().map(|(seed, v)| (seed, claim.scale.inward(v)));
            let samples: Vec<(u64, f64)> = scaled.collect();
            match samples.iter().find(|(_, value)| !value.is_finite()) {
                Some((seed, _)) => Err(format!("{metric} of seed {seed} has no logarithm")),
                None => Ok(Term { weight: *weight, samples }),
            }
        };
        let named = cells.as_ref().map(|cells| cells.iter().map(|(_, c)| c.clone()).collect());
        let named = named.unwrap_or_default();
        let terms = cells.and_then(|cells| cells.iter().map(term).collect());
        let pooled = (claim.variance == Variance::Pooled).then(|| {
            let values = |cell: &CellResult| -> Vec<f64> {
                let samples = samples(cell, &metric).into_iter();
                samples.map(|(_, value)| claim.scale.inward(value)).collect()
            };
            let groups: Vec<Vec<f64>> = result.cells.iter().map(values).collect();
            PooledSpread::of(groups.iter().map(Vec::as_slice))
        });
        Evidence {
            kind: Kind::of(&part.test),
            direction,
            terms,
            pooled: pooled.flatten(),
            variance: claim.variance,
            cells: named,
            part,
        }
    }

    /// The effect, with one seed left out if asked for; `None` with too few seeds.
    fn estimate(&self, without: Option<u64>) -> Option<Estimate> {
        let terms = self.terms.as_ref().ok()?;
        let estimate = Estimate::of(terms, self.variance, self.pooled, without)?;
        (estimate.n >= MIN_SEEDS).then_some(estimate)
    }

    /// Whether it has a say in the verdict.
    pub fn is_heard(&self) -> bool {
        !self.part.beside
    }

    /// Seeds of the cell that has the fewest.
    pub fn n(&self) -> usize {
        let terms = self.terms.as_deref().unwrap_or_default();
        terms.iter().map(|term| term.samples.len()).min().unwrap_or(0)
    }
}

impl Claim {
    /// The runs of the cells that the verdict rests on, of whatever `results` say of them; the
    /// runs that those start from are not among them. Empty without the claim's experiment.
    pub fn runs(&self, results: &[ExperimentResult]) -> BTreeSet<Key> {
        let Some(result) = results.iter().find(|r| r.experiment.id == self.experiment) else {
            return BTreeSet::new();
        };
        let parts: Vec<Part> = self.part.iter().flat_map(|part| part.expanded(result)).collect();
        let metrics = parts.iter().filter_map(|part| part.metric.as_ref());
        // A gap is one of two cells, and a pooled spread one of all.
        let all = self.variance == Variance::Pooled
            || metrics.chain([&self.metric]).any(|metric| metric.starts_with("gap."));
        let named = parts.iter().flat_map(|part| part.test.cells(&result.experiment));
        let named = named.flatten().map(|(_, cell)| cell);
        let required = self.require.iter().filter_map(|requirement| requirement.cell.clone());
        let named: Vec<&CellResult> =
            named.chain(required).filter_map(|cell| result.cell(&cell)).collect();
        let cells = if all { result.cells.iter().collect() } else { named };
        cells.iter().flat_map(|cell| cell.seeds.iter().map(|seed| seed.key.clone())).collect()
    }
}

/// All parts of a claim with their seeds.
pub struct Evidences {
    pub parts: Vec<Evidence>,
    pub level: f64,
    pub scale: Scale,
}

impl Evidences {
    /// The estimates of all parts, with one seed left out if asked for.
    pub fn estimates(&self, without: Option<u64>) -> Vec<Option<Estimate>> {
        self.parts.iter().map(|part| part.estimate(without)).collect()
    }

    /// Seeds of all cells.
    pub fn seeds(&self) -> Vec<u64> {
        let terms = self.parts.iter().flat_map(|p| p.terms.as_deref().unwrap_or_default());
        let mut seeds: Vec<u64> = terms.flat_map(|t| t.samples.iter().map(|s| s.0)).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// Level of the intervals that refute: looking at many parts must not refute by chance.
    pub fn strict_level(&self) -> f64 {
        let heard = self.parts.iter().filter(|part| part.is_heard()).count();
        1.0 - (1.0 - self.level) / heard.max(1) as f64
    }

    /// The verdict on one part at a margin.
    pub fn part_verdict(&self, kind: Kind, estimate: Option<&Estimate>, margin: f64) -> Verdict {
        let Some(estimate) = estimate else { return Verdict::Inconclusive };
        let bounds = kind.bounds(self.scale.inward(margin));
        decide(estimate.interval(self.level), estimate.interval(self.strict_level()), bounds)
    }

    /// The verdict on the claim at a margin.
    pub fn verdict(&self, estimates: &[Option<Estimate>], margin: f64) -> Verdict {
        let one = |(part, estimate): (&Evidence, &Option<Estimate>)| {
            self.part_verdict(part.kind, estimate.as_ref(), margin)
        };
        let heard = self.parts.iter().zip(estimates).filter(|(part, _)| part.is_heard());
        combine(heard.map(one))
    }
}

/// Values of seeds whose runs nothing is wrong with.
pub fn samples(cell: &CellResult, metric: &str) -> Vec<(u64, f64)> {
    let sound = |&(seed, value): &(u64, f64)| value.is_finite() && !cell.is_poisoned(seed);
    cell.samples(metric).into_iter().filter(sound).collect()
}

/// A cell that a verdict may rest on.
///
/// # Errors
/// If the profile does not have it, or one of its runs is poisoned: leaving that one out
/// would choose the seeds by their outcome.
pub fn find<'a>(
    result: &'a ExperimentResult,
    cell: &BTreeMap<String, String>,
) -> Result<&'a CellResult, String> {
    let found = result.cell(cell).ok_or_else(|| {
        format!("experiment {} has no cell {cell:?} in this profile", result.experiment.id)
    })?;
    match found.poison().into_iter().next() {
        Some(poison) => Err(format!("{poison}, so nothing can rest on this cell")),
        None => Ok(found),
    }
}

fn combine(verdicts: impl Iterator<Item = Verdict> + Clone) -> Verdict {
    if verdicts.clone().any(|v| v == Verdict::Refuted) {
        Verdict::Refuted
    } else if verdicts.clone().all(|v| v == Verdict::Supported) && verdicts.count() > 0 {
        Verdict::Supported
    } else {
        Verdict::Inconclusive
    }
}

/// Supported if the interval lies between the bounds; refuted if the wide one lies outside.
fn decide(interval: [f64; 2], wide: [f64; 2], [low, high]: [f64; 2]) -> Verdict {
    if low < interval[0] && interval[1] < high {
        Verdict::Supported
    } else if wide[1] < low || wide[0] > high {
        Verdict::Refuted
    } else {
        Verdict::Inconclusive
    }
}
