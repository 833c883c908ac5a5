//! A blessed verdict: as a reference keeps it.

use super::estimate::Estimate;
use super::outcome::{ClaimOutcome, ClaimPart, Verdict};
use serde::{Deserialize, Serialize};

/// A verdict with the evidence that it was given on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlessedVerdict {
    /// Experiment that the claim looks at.
    pub experiment: String,
    pub verdict: Verdict,
    pub n: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistic: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deciding_part: Option<String>,
    /// Which way the effect is taken, and where it must lie.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub direction: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub must_be: String,
    pub reason: String,
    /// Effects of the parts that have one.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "part")]
    pub parts: Vec<BlessedPart>,
}

/// The effect of one part of a claim, on the scale of its test (logarithms of ratios).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlessedPart {
    pub name: String,
    pub effect: f64,
    pub standard_error: f64,
    pub degrees: f64,
    pub n: usize,
}

impl BlessedPart {
    pub fn estimate(&self) -> Estimate {
        let BlessedPart { effect, standard_error, degrees, n, .. } = *self;
        Estimate { effect, standard_error, degrees, n }
    }
}

impl From<&ClaimOutcome> for BlessedVerdict {
    fn from(outcome: &ClaimOutcome) -> BlessedVerdict {
        let part = |part: &ClaimPart| {
            let Estimate { effect, standard_error, degrees, n } = part.estimate?;
            let name = part.name.clone();
            Some(BlessedPart { name, effect, standard_error, degrees, n })
        };
        BlessedVerdict {
            experiment: outcome.experiment.clone(),
            verdict: outcome.verdict,
            n: outcome.n,
            statistic: outcome.statistic,
            interval: outcome.interval,
            deciding_part: outcome.deciding_part.clone(),
            direction: outcome.direction.clone(),
            must_be: outcome.must_be.clone(),
            reason: outcome.reason.clone(),
            parts: outcome.parts.iter().filter_map(part).collect(),
        }
    }
}
