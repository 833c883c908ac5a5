//! What verification says, in the forms that the JSON, JUnit, terminal and report share.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Does the evidence support a claim?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Supported,
    Refuted,
    Inconclusive,
}

/// The verdict on one claim, with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClaimOutcome {
    pub id: String,
    pub verdict: Verdict,
    /// The estimated effect, in the metric's unit.
    pub statistic: Option<f64>,
    /// Its interval at the claim's level.
    pub interval: Option<[f64; 2]>,
    pub margin: f64,
    /// Seeds that the verdict rests on.
    pub n: usize,
    /// In words: why this verdict.
    pub reason: String,
    /// What the claim says.
    pub statement: String,
    /// Who says or asks it.
    pub source: String,
    /// How the statistic reads: `random - adversarial, test accuracy (points)`.
    pub statistic_label: String,
    /// Why the margin is what it is.
    pub margin_reason: String,
    /// The verdict that was blessed for this profile, if any.
    pub blessed: Option<Verdict>,
    /// Experiment whose table or figure shows the evidence.
    pub experiment: String,
    /// Smaller verdicts that this one is made of (each cell of C3, say): name, verdict, reason.
    pub parts: Vec<ClaimPart>,
}

/// One part of a claim that consists of several.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClaimPart {
    pub name: String,
    /// Level id by axis, where the part is one of a grid's.
    pub cell: BTreeMap<String, String>,
    pub verdict: Verdict,
    pub statistic: Option<f64>,
    pub interval: Option<[f64; 2]>,
    pub reason: String,
}

/// How a value compares with the blessed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegressionStatus {
    /// Same platform, same bits for every seed.
    Exact,
    /// Another platform (or other seeds), within tolerance.
    Within,
    /// The same, with a tolerance so wide that passing says next to nothing.
    Weak,
    /// Outside tolerance, or other bits on the same platform.
    Outside,
    /// The reference has it and this store does not.
    Missing,
    /// Too few seeds here or in the reference.
    TooFew,
    /// A run behind it, here or in the reference, diverged, did not fit what it was to fit,
    /// or gave no number: whatever it compares, it is not as it should be.
    Excluded,
}

/// One compared number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegressionOutcome {
    pub experiment: String,
    pub cell: String,
    pub metric: String,
    pub status: RegressionStatus,
    /// Mean of this run's seeds.
    pub value: Option<f64>,
    /// Mean of the blessed seeds.
    pub expected: Option<f64>,
    /// Largest difference of means that passes.
    pub tolerance: Option<f64>,
    /// Smallest true shift of the mean that this comparison finds with probability 0.8.
    pub detectable: Option<f64>,
    /// In words, where the status alone does not say it.
    pub note: String,
}

/// The outcome of `bgm verify`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    pub profile: String,
    /// Exit code.
    pub exit: u8,
    pub claims: Vec<ClaimOutcome>,
    pub regression: Vec<RegressionOutcome>,
    /// What the reference holds and this verification lacks, a sentence each.
    pub lacking: Vec<String>,
}
