//! Verdicts: what the seeds say of a claim's parts, and of the claim.

use super::claims::{Claim, MIN_SEEDS};
use super::estimate::Estimate;
use super::evidence::{Evidence, Evidences};
use super::outcome::{ClaimOutcome, ClaimPart, Forecast, Verdict};
use super::{premise, sensitivity};
use crate::experiments::results::ExperimentResult;

/// Numbers of seeds past which a forecast says nothing.
const MAX_FORECAST_SEEDS: usize = 1000;

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
                "{} seeds with all runs there; a verdict needs at least {MIN_SEEDS}: run with \
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
        let seeds = |power| estimate.seeds_for(power, level, bounds, MAX_FORECAST_SEEDS);
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
