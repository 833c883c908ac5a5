//! What verification says, in the forms that the JSON, JUnit, terminal and report share.

use super::estimate::{Estimate, Variance};
use super::exit;
use super::protocol::ProtocolOutcome;
use crate::experiments::dose::Dose;
use crate::experiments::results::Fit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the JSON of `bgm verify`: raised whenever a field changes its meaning or goes.
pub const SCHEMA: u32 = 2;

/// Does the evidence support a claim?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Supported,
    Refuted,
    #[default]
    Inconclusive,
}

/// What a verdict says of the paper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bearing {
    ForThePaper,
    AgainstThePaper,
    /// Of a control that a reviewer asked for; the paper claims nothing there.
    AboutAControl,
    /// An inconclusive verdict.
    #[default]
    Nothing,
}

/// How a verdict stands to the blessed one: what the exit code and JUnit are made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The blessed verdict.
    AsBlessed,
    /// No verdict was blessed, or one of a claim that is another one now.
    #[default]
    Unblessed,
    /// Into or out of inconclusive, with an effect no farther from the blessed one than
    /// chance allows.
    WithinChance,
    /// Supported turned refuted or back, an effect that moved by more than chance allows,
    /// another outcome of the very same numbers, or a blessed verdict that does not follow from the
    /// blessed values.
    Departed,
    /// Runs or seeds are missing, excluded, or not fitted.
    Incomplete,
    /// Refuted, where `--strict` asks for support.
    Unsupported,
    /// Inconclusive, where `--strict` asks for a decision.
    Undecided,
}

impl Standing {
    /// The exit code that this alone would lead to.
    pub fn exit(self) -> u8 {
        match self {
            Standing::AsBlessed | Standing::WithinChance => exit::SUCCESS,
            Standing::Departed | Standing::Unsupported => exit::DEPARTURE,
            Standing::Unblessed | Standing::Incomplete | Standing::Undecided => exit::INCOMPLETE,
        }
    }
}

/// The verdict on one claim, with its evidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClaimOutcome {
    pub id: String,
    pub verdict: Verdict,
    /// What the verdict says of the paper.
    pub bears: Bearing,
    pub standing: Standing,
    /// In words, where the standing needs them.
    pub standing_note: String,
    /// The estimated effect, in the metric's unit; of several parts, that of the deciding one.
    pub statistic: Option<f64>,
    /// Its interval at the claim's level.
    pub interval: Option<[f64; 2]>,
    /// Confidence of the interval: each side is a one-sided test at half of the rest.
    pub level: f64,
    /// Which way the effect is taken: `Random minus Adversarial (Vanilla SGD)`.
    pub direction: String,
    /// Between which bounds the effect must lie, with their sign.
    pub bounds: [Option<f64>; 2],
    /// The same in words: `above 3`, `between −2 and 2`.
    pub must_be: String,
    pub margin: f64,
    /// Seeds of the cell that has the fewest.
    pub n: usize,
    /// Of several parts, the one that decides: the weakest of a supported claim, the one that
    /// refutes a refuted one.
    pub deciding_part: Option<String>,
    pub variance: Variance,
    /// In words: why this verdict.
    pub reason: String,
    pub premises: Vec<Premise>,
    pub sensitivity: Sensitivity,
    /// Seeds that would decide an inconclusive claim.
    pub forecast: Option<Forecast>,
    /// What the claim says.
    pub statement: String,
    /// Who says or asks it.
    pub source: String,
    /// What the statistic is, with its unit: `test accuracy (points)`.
    pub statistic_label: String,
    /// Why the margin is what it is.
    pub margin_reason: String,
    /// The verdict that was blessed for this profile, if any.
    pub blessed: Option<Verdict>,
    /// Experiment whose table or figure shows the evidence.
    pub experiment: String,
    /// Smaller verdicts that this one is made of (each cell of C3, say).
    pub parts: Vec<ClaimPart>,
}

/// One part of a claim.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClaimPart {
    pub name: String,
    /// Shown with its interval, without a say in the claim's verdict.
    pub beside: bool,
    /// Level id by axis, where the part is one of a grid's.
    pub cell: BTreeMap<String, String>,
    pub direction: String,
    pub verdict: Verdict,
    pub statistic: Option<f64>,
    pub interval: Option<[f64; 2]>,
    pub bounds: [Option<f64>; 2],
    pub must_be: String,
    pub n: usize,
    pub reason: String,
    /// On the scale of the test: logarithms of ratios.
    pub estimate: Option<Estimate>,
}

/// Something that must hold of a cell before a verdict rests on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Premise {
    pub cell: String,
    pub metric: String,
    /// Bound of every seed.
    pub at_least: Option<f64>,
    /// Bound of the mean.
    pub mean_at_least: Option<f64>,
    pub mean: Option<f64>,
    pub lowest: Option<f64>,
    pub n: usize,
    pub holds: bool,
    /// The weight decay that the cell was given, where that is a number.
    pub decay: Option<Dose>,
    /// Why it does not hold or cannot be told.
    pub note: String,
}

/// How firmly a verdict stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sensitivity {
    /// The margin, nearest to the declared one, at which the verdict would be another.
    pub turns_at: Option<f64>,
    /// Of the verdicts with any one seed left out, the one farthest from this.
    pub left_out: Option<LeftOut>,
}

/// The verdict without one seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LeftOut {
    pub verdict: Verdict,
    pub seed: u64,
}

/// Seeds a cell that lead to a decision with a power of 80% and 90%, should effect and spread
/// stay as they are; `None` past 1,000.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Forecast {
    pub power_80: Option<usize>,
    pub power_90: Option<usize>,
}

/// How a value compares with the blessed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegressionStatus {
    /// Same numerics, same bits for every seed that is blessed.
    Exact,
    /// Other numerics (or other seeds), and no farther apart than chance allows.
    Within,
    /// The same, by a comparison that cannot see a shift of the margin that the claims on
    /// this metric use.
    TooWeak,
    /// Farther apart than chance allows, or other bits on the same numerics.
    Outside,
    /// The reference has it and this store does not.
    Missing,
    /// Too few seeds here or in the reference.
    TooFew,
    /// A run behind it, here or in the reference, diverged, did not fit what it was to fit,
    /// or gave no number: whatever it compares, it is not as it should be.
    Excluded,
}

impl RegressionStatus {
    /// The exit code that this alone would lead to. A weak comparison proves nothing and
    /// holds up nothing; the report counts it.
    pub fn exit(self) -> u8 {
        match self {
            RegressionStatus::Exact | RegressionStatus::Within | RegressionStatus::TooWeak => {
                exit::SUCCESS
            }
            RegressionStatus::Outside => exit::DEPARTURE,
            RegressionStatus::Missing | RegressionStatus::TooFew | RegressionStatus::Excluded => {
                exit::INCOMPLETE
            }
        }
    }
}

/// One compared number, or all cells of an experiment together.
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
    /// Smallest margin of the experiment's claims on this metric (of all claims on it, if the
    /// experiment has none), in the metric's unit.
    pub margin: Option<f64>,
    /// Probability of such a difference by chance, corrected for the number of comparisons.
    pub probability: Option<f64>,
    /// In words, where the status alone does not say it.
    pub note: String,
}

impl RegressionOutcome {
    /// Whether it has the blessed bits of the blessed seeds, no fewer and no more: then there is
    /// nothing to note.
    pub fn is_as_blessed(&self) -> bool {
        self.status == RegressionStatus::Exact && self.note.is_empty()
    }
}

/// What a cell is before anything is compared: whether it is a minimum, and under how much
/// weight decay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellOutcome {
    pub experiment: String,
    pub cell: String,
    pub train_accuracy: Option<Fit>,
    pub decay: Option<Dose>,
}

/// The outcome of `bgm verify`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// [`SCHEMA`].
    pub schema: u32,
    pub profile: String,
    /// Exit code.
    pub exit: u8,
    pub claims: Vec<ClaimOutcome>,
    pub regression: Vec<RegressionOutcome>,
    /// Every cell of the results.
    pub cells: Vec<CellOutcome>,
    /// What the reference or the plan holds and this verification lacks, a sentence each.
    pub lacking: Vec<String>,
    /// How the numbers are compared, bit for bit or within tolerances, and why; empty without a
    /// reference.
    pub basis: String,
    /// How claims and sizes stand to what was declared before the runs, where that is known.
    pub protocol: Option<ProtocolOutcome>,
}

impl Verification {
    /// The exit code of its parts together: a departure comes before what is incomplete.
    pub fn exit_of(
        claims: &[ClaimOutcome],
        regression: &[RegressionOutcome],
        lacking: &[String],
    ) -> u8 {
        let claims = claims.iter().map(|claim| claim.standing.exit());
        let codes: Vec<u8> = claims.chain(regression.iter().map(|r| r.status.exit())).collect();
        if codes.contains(&exit::DEPARTURE) {
            exit::DEPARTURE
        } else if codes.contains(&exit::INCOMPLETE) || !lacking.is_empty() {
            exit::INCOMPLETE
        } else {
            exit::SUCCESS
        }
    }
}
