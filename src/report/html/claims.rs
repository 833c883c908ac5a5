//! Claims as texts.

use crate::report::words::Effect;
use crate::report::{ReportContext, words};
use crate::verify::outcome::{ClaimOutcome, ClaimPart, Verdict};

/// A claim.
pub struct ClaimView<'a> {
    pub claim: &'a ClaimOutcome,
    pub verdict: &'static str,
    pub icon: &'static str,
    pub effect: Effect,
    pub margin: String,
    pub blessed: &'static str,
    pub departs: bool,
    /// Whether the page has a section on its experiment.
    pub is_here: bool,
    pub parts: Vec<PartView<'a>>,
}

/// A part of a claim.
pub struct PartView<'a> {
    pub part: &'a ClaimPart,
    pub verdict: &'static str,
    pub icon: &'static str,
    pub effect: Effect,
}

impl<'a> ClaimView<'a> {
    pub fn new(claim: &'a ClaimOutcome, context: &ReportContext<'_>) -> ClaimView<'a> {
        let part = |part: &'a ClaimPart| PartView {
            part,
            verdict: words::verdict(part.verdict),
            icon: words::icon(part.verdict),
            effect: words::effect(part.statistic, part.interval),
        };
        ClaimView {
            claim,
            verdict: words::verdict(claim.verdict),
            icon: words::icon(claim.verdict),
            effect: words::effect(claim.statistic, claim.interval),
            margin: words::margin(claim.margin),
            blessed: claim.blessed.map_or("none", words::verdict),
            departs: words::departs(claim),
            is_here: context.results.iter().any(|r| r.experiment.id == claim.experiment),
            parts: claim.parts.iter().map(part).collect(),
        }
    }
}

/// How many claims have each verdict, with the verdict's word and mark.
pub fn verdict_counts(claims: &[ClaimOutcome]) -> Vec<(usize, &'static str, &'static str)> {
    let verdicts = [Verdict::Supported, Verdict::Refuted, Verdict::Inconclusive];
    let count = |verdict| {
        let count = claims.iter().filter(|claim| claim.verdict == verdict).count();
        (count, words::verdict(verdict), words::icon(verdict))
    };
    verdicts.map(count).to_vec()
}
