//! Verdicts: what the seeds say of a claim's parts, and of the claim.

use super::claims::{Claim, FEWEST_SEEDS, Part, Scale};
use super::estimate::{Estimate, PooledSpread, Term, Variance};
use super::outcome::{ClaimOutcome, ClaimPart, Forecast, Verdict};
use super::predicate::{Levels, Test};
use super::{premise, sensitivity};
use crate::experiments::results::{CellResult, ExperimentResult};
use std::collections::BTreeMap;

/// Numbers of seeds past which a forecast says nothing.
const MOST_SEEDS: usize = 1000;

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
}

impl Kind {
    /// Where the effect must lie, in words.
    fn words(self, margin: f64, scale: Scale) -> String {
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
    part: Part,
    direction: String,
    pub kind: Kind,
    /// The weighted cells, or why there are none.
    terms: Result<Vec<Term>, String>,
    pooled: Option<PooledSpread>,
    variance: Variance,
    pub cells: Vec<Levels>,
}

impl Evidence {
    fn of(claim: &Claim, part: Part, result: &ExperimentResult) -> Evidence {
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
        (estimate.n >= FEWEST_SEEDS).then_some(estimate)
    }

    /// Whether it has a say in the verdict.
    pub fn is_heard(&self) -> bool {
        !self.part.beside
    }

    /// Seeds of the cell that has the fewest.
    fn n(&self) -> usize {
        let terms = self.terms.as_deref().unwrap_or_default();
        terms.iter().map(|term| term.samples.len()).min().unwrap_or(0)
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

/// The verdict on a claim; the flags tell what is lacking from evidence that does not decide.
pub struct Evaluated {
    pub outcome: ClaimOutcome,
    /// Runs are missing, few or excluded.
    pub incomplete: bool,
    /// A premise does not hold.
    pub premise_fails: bool,
}

impl Claim {
    /// Judges the claim; `None` if its experiment is not among the results.
    pub fn evaluate(&self, results: &[ExperimentResult]) -> Option<Evaluated> {
        let result = results.iter().find(|r| r.experiment.id == self.experiment)?;
        let parts = self.part.iter().flat_map(|part| part.expanded(result));
        let parts = parts.map(|part| Evidence::of(self, part, result)).collect();
        let evidences = Evidences { parts, level: self.level, scale: self.scale };
        let estimates = evidences.estimates(None);
        let premises = premise::all(self, &evidences, result);
        let broken = premises.iter().find(|premise| !premise.holds);
        let verdict = match broken {
            Some(_) => Verdict::Inconclusive,
            None => evidences.verdict(&estimates, self.margin),
        };
        let judged: Vec<ClaimPart> = evidences
            .parts
            .iter()
            .zip(&estimates)
            .map(|(part, estimate)| self.part_outcome(&evidences, part, *estimate))
            .collect();
        let deciding = self.deciding(&evidences, &estimates, &judged, verdict);
        let telling = deciding.map(|place| &judged[place]);
        let reason = match broken {
            Some(premise) => premise.note.clone(),
            None => reason(&judged, telling),
        };
        let forecast = deciding
            .filter(|_| verdict == Verdict::Inconclusive && broken.is_none())
            .and_then(|place| self.forecast(&evidences, place, estimates[place]?));
        let sensitivity = match broken {
            Some(_) => Default::default(),
            None => sensitivity::of(&evidences, &estimates, self.margin),
        };
        let heard = || evidences.parts.iter().zip(&estimates).filter(|(part, _)| part.is_heard());
        let lacks = heard().any(|(_, estimate)| estimate.is_none());
        let incomplete = verdict == Verdict::Inconclusive
            && (lacks || broken.is_some_and(|premise| premise.n == 0));
        let premise_fails = broken.is_some();
        let outcome = ClaimOutcome {
            id: self.id.clone(),
            verdict,
            bears: self.counts.bearing(verdict),
            statistic: telling.and_then(|part| part.statistic),
            interval: telling.and_then(|part| part.interval),
            level: self.level,
            direction: telling.map(|part| part.direction.clone()).unwrap_or_default(),
            bounds: telling.map(|part| part.bounds).unwrap_or_default(),
            must_be: telling.map(|part| part.must_be.clone()).unwrap_or_default(),
            margin: self.margin,
            n: judged.iter().filter(|part| !part.beside).map(|part| part.n).min().unwrap_or(0),
            deciding_part: telling.filter(|_| judged.len() > 1).map(|part| part.name.clone()),
            variance: self.variance,
            reason,
            sensitivity,
            forecast,
            statement: self.statement.clone(),
            source: self.source.clone(),
            statistic_label: self.statistic.clone(),
            margin_reason: self.margin_reason.clone(),
            experiment: self.experiment.clone(),
            premises,
            parts: judged,
            ..ClaimOutcome::default()
        };
        Some(Evaluated { outcome, incomplete, premise_fails })
    }

    fn part_outcome(
        &self,
        evidences: &Evidences,
        evidence: &Evidence,
        estimate: Option<Estimate>,
    ) -> ClaimPart {
        let bounds = evidence.kind.bounds(self.scale.inward(self.margin));
        let verdict = evidences.part_verdict(evidence.kind, estimate.as_ref(), self.margin);
        let outward = |x: f64| self.scale.outward(x);
        let interval = estimate.map(|estimate| estimate.interval(self.level));
        let reason = match (&evidence.terms, interval) {
            (Err(problem), _) => problem.clone(),
            (Ok(_), None) => format!(
                "{} seeds with all runs there; a verdict needs at least {FEWEST_SEEDS}: run with \
                 more --seeds",
                evidence.n()
            ),
            (Ok(_), Some(interval)) => self.sentence(verdict, interval, bounds),
        };
        ClaimPart {
            name: evidence.part.name.clone(),
            beside: evidence.part.beside,
            cell: evidence.part.place.clone(),
            direction: evidence.direction.clone(),
            verdict,
            statistic: estimate.map(|estimate| outward(estimate.effect)),
            interval: interval.map(|interval| interval.map(outward)),
            bounds: bounds.map(|bound| bound.is_finite().then(|| outward(bound))),
            must_be: evidence.kind.words(self.margin, self.scale),
            n: estimate.map_or(evidence.n(), |estimate| estimate.n),
            reason,
            estimate,
        }
    }

    /// `the 95% interval [1.20, 3.40] does not lie above 2.00`.
    fn sentence(&self, verdict: Verdict, interval: [f64; 2], bounds: [f64; 2]) -> String {
        let show = |x: f64| format!("{:.2}", self.scale.outward(x));
        let [low, high] = interval.map(show);
        let aim = match bounds {
            [bound, f64::INFINITY] => format!("above {}", show(bound)),
            [from, to] => format!("between {} and {}", show(from), show(to)),
        };
        let how = match (verdict, bounds[1].is_finite()) {
            (Verdict::Supported, _) => format!("lies {aim}"),
            (Verdict::Refuted, false) => format!("lies below {}", show(bounds[0])),
            (Verdict::Refuted, true) => format!("lies outside of what is {aim}"),
            (Verdict::Inconclusive, _) => format!("does not tell whether the effect lies {aim}"),
        };
        format!("the {:.0}% interval [{low}, {high}] {how}", 100.0 * self.level)
    }

    /// Place of the part that decides: of those that have the claim's verdict, the one whose
    /// interval lies farthest out of its bounds (or least far within), in standard errors.
    fn deciding(
        &self,
        evidences: &Evidences,
        estimates: &[Option<Estimate>],
        judged: &[ClaimPart],
        verdict: Verdict,
    ) -> Option<usize> {
        let slack = |place: usize| {
            let Some(estimate) = estimates[place] else { return f64::NEG_INFINITY };
            let bounds = evidences.parts[place].kind.bounds(self.scale.inward(self.margin));
            let [low, high] = estimate.interval(self.level);
            let room = (low - bounds[0]).min(bounds[1] - high);
            if estimate.standard_error > 0.0 { room / estimate.standard_error } else { room * 1e9 }
        };
        let heard = (0..judged.len()).filter(|&place| !judged[place].beside);
        let same = heard.clone().filter(|&place| judged[place].verdict == verdict);
        let least = |places: &mut dyn Iterator<Item = usize>| {
            places.min_by(|&a, &b| slack(a).total_cmp(&slack(b)))
        };
        least(&mut { same }).or_else(|| least(&mut { heard }))
    }

    /// Seeds that would decide the part: support it if its effect lies within the bounds,
    /// refute it (at the corrected level) if not.
    fn forecast(&self, all: &Evidences, place: usize, estimate: Estimate) -> Option<Forecast> {
        let bounds = all.parts[place].kind.bounds(self.scale.inward(self.margin));
        let inside = bounds[0] < estimate.effect && estimate.effect < bounds[1];
        let level = if inside { self.level } else { all.strict_level() };
        let seeds = |power| estimate.seeds_for(power, level, bounds, MOST_SEEDS);
        Some(Forecast { power_80: seeds(0.8), power_90: seeds(0.9) })
    }
}

fn reason(judged: &[ClaimPart], telling: Option<&ClaimPart>) -> String {
    let why = telling.map(|part| part.reason.clone()).unwrap_or_default();
    let heard: Vec<&ClaimPart> = judged.iter().filter(|part| !part.beside).collect();
    if heard.len() < 2 {
        return why;
    }
    let count = |v: Verdict| heard.iter().filter(|part| part.verdict == v).count();
    let name = telling.map(|part| part.name.as_str()).unwrap_or_default();
    format!(
        "of {} parts {} supported, {} refuted, {} inconclusive; “{name}”: {why}",
        heard.len(),
        count(Verdict::Supported),
        count(Verdict::Refuted),
        count(Verdict::Inconclusive)
    )
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
