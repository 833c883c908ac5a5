//! Claims as texts.

use crate::report::words::Effect;
use crate::report::{ReportContext, words};
use crate::verify::outcome::{ClaimOutcome, ClaimPart, Premise, Verdict};

/// A claim.
pub struct ClaimView<'a> {
    pub claim: &'a ClaimOutcome,
    pub verdict: &'static str,
    pub icon: &'static str,
    pub effect: Effect,
    /// What the verdict says of the paper.
    pub bearing: &'static str,
    pub level: String,
    pub direction: String,
    pub standing: String,
    pub sensitivity: String,
    pub premises: Vec<PremiseView<'a>>,
    pub blessed: &'static str,
    /// Whether the page has a section on its experiment.
    pub is_here: bool,
    pub parts: Vec<PartView<'a>>,
}

/// A premise of a claim.
pub struct PremiseView<'a> {
    pub premise: &'a Premise,
    /// What is required, in words.
    pub required: String,
    pub mean: String,
    pub lowest: String,
    pub decay: String,
}

impl<'a> PremiseView<'a> {
    fn new(premise: &'a Premise) -> PremiseView<'a> {
        let bounds = [
            premise.mean_at_least.map(|bound| format!("mean at least {bound}")),
            premise.at_least.map(|bound| format!("every seed at least {bound}")),
        ];
        PremiseView {
            premise,
            required: bounds.into_iter().flatten().collect::<Vec<_>>().join(", "),
            mean: premise.mean.map_or_else(String::new, |value| format!("{value:.2}")),
            lowest: premise.lowest.map_or_else(String::new, |value| format!("{value:.2}")),
            decay: words::decay(premise.decay),
        }
    }
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
            bearing: words::bearing(claim.bears),
            level: format!("{:.0}%", 100.0 * claim.level),
            direction: words::direction(claim),
            standing: words::standing(claim),
            sensitivity: words::sensitivity(claim),
            premises: claim.premises.iter().map(PremiseView::new).collect(),
            blessed: claim.blessed.map_or("none", words::verdict),
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
