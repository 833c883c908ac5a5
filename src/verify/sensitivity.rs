//! How firmly a verdict stands: the margin at which it would turn, and what it would be
//! without any one of the seeds.

use super::estimate::Estimate;
use super::evidence::Evidences;
use super::outcome::{LeftOut, Sensitivity, Verdict};

/// Of a claim with these estimates at a margin.
pub fn of(all: &Evidences, estimates: &[Option<Estimate>], margin: f64) -> Sensitivity {
    let verdict = all.verdict(estimates, margin);
    if lacks(all, estimates) {
        return Sensitivity::default();
    }
    Sensitivity {
        turns_at: turns_at(all, estimates, margin, verdict),
        left_out: left_out(all, margin, verdict),
    }
}

/// Whether a part that has a say has no estimate.
fn lacks(all: &Evidences, estimates: &[Option<Estimate>]) -> bool {
    all.parts.iter().zip(estimates).any(|(part, e)| part.is_heard() && e.is_none())
}

/// The nearest margin at which the verdict is another. A verdict can only turn where an end
/// of some part's interval, or of the wider one that refutes, meets a bound.
fn turns_at(
    all: &Evidences,
    estimates: &[Option<Estimate>],
    margin: f64,
    verdict: Verdict,
) -> Option<f64> {
    let (inward, outward) = (|x| all.scale.inward(x), |x| all.scale.outward(x));
    let levels = [all.level, all.strict_level()];
    let ends = estimates.iter().flatten().flat_map(|e| levels.map(|l| e.interval(l))).flatten();
    let mut candidates: Vec<f64> = ends.flat_map(|end| [end, -end]).collect();
    let here = inward(margin);
    candidates.sort_by(|a, b| (a - here).abs().total_cmp(&(b - here).abs()));
    let step = |x: f64| 1e-9 * x.abs().max(1.0);
    candidates.into_iter().find_map(|x| {
        let beyond = if x < here { x - step(x) } else { x + step(x) };
        let turns = all.verdict(estimates, outward(beyond)) != verdict;
        turns.then(|| outward(x))
    })
}

/// The verdict farthest from this one when a single seed is left out of every cell.
fn left_out(all: &Evidences, margin: f64, verdict: Verdict) -> Option<LeftOut> {
    let rank = |verdict: Verdict| match verdict {
        Verdict::Supported => 2i32,
        Verdict::Inconclusive => 1,
        Verdict::Refuted => 0,
    };
    let without = |seed: u64| {
        let estimates = all.estimates(Some(seed));
        (!lacks(all, &estimates))
            .then(|| LeftOut { verdict: all.verdict(&estimates, margin), seed })
    };
    let distance = |left: &LeftOut| (rank(left.verdict) - rank(verdict)).abs();
    let all: Vec<LeftOut> = all.seeds().into_iter().filter_map(without).collect();
    // The first seed of those that change the most.
    let most = all.iter().map(distance).max()?;
    all.into_iter().find(|left| distance(left) == most)
}
