//! Blessed reference values: `expected/<profile>.toml`, raw values per seed, with where and
//! how they were made.

use super::claims::{Claim, Claims};
use super::estimate::Estimate;
use super::files::{ReferenceError, read};
use super::outcome::{ClaimOutcome, ClaimPart, SCHEMA, Standing, Verdict, Verification};
use super::protocol::ProtocolStamp;
use super::stats;
use crate::backend::Platform;
use crate::experiments::{Metric, text};
use crate::spec::TRAINING_SEMANTICS;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A reference of fewer seeds gives no tolerance.
pub const MIN_REFERENCE_SEEDS: usize = 3;

/// First line of a reference's file.
const HEADER: &str =
    "# Blessed reference values, raw per seed. Made by `bgm bless`; do not edit.\n";

/// What a profile's runs gave when they were blessed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    pub profile: String,
    /// Why these values were blessed.
    pub reason: String,
    /// Day of the blessing, `YYYY-MM-DD`.
    pub date: String,
    /// Commits of the programs that made the runs, separated by commas.
    pub commit: String,
    pub semantics: u32,
    pub platform: Platform,
    /// The protocol that was declared before the runs were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<ProtocolStamp>,
    /// Blessed verdict of each claim, by its id.
    pub verdicts: BTreeMap<String, BlessedVerdict>,
    #[serde(default, rename = "value")]
    pub values: Vec<ReferenceValue>,
}

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

/// Blessed values of one metric of one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceValue {
    pub experiment: String,
    pub cell: String,
    pub metric: String,
    pub seeds: Vec<u64>,
    pub values: Vec<f64>,
    /// Seeds whose run diverged, did not fit what it was to fit, or gave no number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excluded: Vec<u64>,
    /// What the metric declared when this was blessed ([`tolerances`]), so that a declaration that
    /// is loosened later loosens no comparison.
    pub resolution: f64,
    pub max_spread: f64,
}

/// Which differences of a metric are rounding, and how far seeds with these values may spread, as
/// the metric declares it.
pub fn tolerances(metric: &Metric, values: &[f64]) -> (f64, f64) {
    let half = || if values.is_empty() { 0.0 } else { 0.5 * stats::mean(values).abs() };
    (metric.resolution, metric.max_spread.unwrap_or_else(half))
}

impl ReferenceValue {
    /// Mean over the seeds; `None` if all are excluded.
    pub fn mean(&self) -> Option<f64> {
        (!self.values.is_empty()).then(|| stats::mean(&self.values))
    }

    /// All seeds that were blessed, with and without a value, sorted.
    fn all_seeds(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.seeds.iter().chain(&self.excluded).copied().collect();
        all.sort_unstable();
        all
    }

    /// `experiment [cell] metric`.
    pub fn name(&self) -> String {
        format!("{} [{}] {}", self.experiment, self.cell, self.metric)
    }

    fn check(&self) -> Result<(), String> {
        let (seeds, values) = (self.seeds.len(), self.values.len());
        if seeds != values {
            return Err(format!("{seeds} seeds but {values} values"));
        }
        if let Some(place) = self.values.iter().position(|value| !value.is_finite()) {
            let (seed, value) = (self.seeds[place], self.values[place]);
            return Err(format!("values: that of seed {seed} is {value}, which is no number"));
        }
        for (field, value) in [("resolution", self.resolution), ("max_spread", self.max_spread)] {
            if !value.is_finite() || value < 0.0 {
                return Err(format!("{field} = {value}: it must be a number from 0 up"));
            }
        }
        let all = self.all_seeds();
        match all.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("seeds: {} stands there twice", pair[0])),
            None if all.len() < MIN_REFERENCE_SEEDS => Err(format!(
                "seeds: there are {}, and a reference needs {MIN_REFERENCE_SEEDS}",
                all.len()
            )),
            None => Ok(()),
        }
    }
}

impl Reference {
    /// The reference of a profile below `expected`, if there is one.
    ///
    /// # Errors
    /// If it is there and malformed.
    pub fn of_profile(expected: &Path, profile: &str) -> Result<Option<Reference>, ReferenceError> {
        let path = expected.join(format!("{profile}.toml"));
        if !path.exists() {
            return Ok(None);
        }
        let reference: Reference = read(&path)?;
        let checked = reference.check(profile);
        checked.map_err(|problem| ReferenceError::Format { path, problem })?;
        Ok(Some(reference))
    }

    /// The text of a reference's file.
    ///
    /// # Errors
    /// If [`Reference::of_profile`] would refuse it.
    pub fn to_text(&self) -> Result<String, String> {
        let text = toml::to_string(self).map_err(|e| e.to_string())?;
        text::parse::<Reference>(&text)?.check(&self.profile)?;
        Ok(format!("{HEADER}{text}"))
    }

    /// Whether it is a reference of `profile` that this program can compare with.
    fn check(&self, profile: &str) -> Result<(), String> {
        let reference = self;
        if reference.profile != profile {
            let own = &reference.profile;
            return Err(format!("profile = '{own}' is not '{profile}', the file's name"));
        }
        if reference.semantics > TRAINING_SEMANTICS {
            return Err(format!(
                "semantics = {}: a later program made it, this one knows {TRAINING_SEMANTICS}",
                reference.semantics
            ));
        }
        let mut names = BTreeSet::new();
        let mut cells = BTreeMap::new();
        for (id, verdict) in &reference.verdicts {
            let numbers =
                verdict.parts.iter().flat_map(|p| [p.effect, p.standard_error, p.degrees]);
            let numbers =
                numbers.chain(verdict.statistic).chain(verdict.interval.into_iter().flatten());
            if { numbers }.any(|number| !number.is_finite()) {
                return Err(format!("verdicts.{id}: a number that is none"));
            }
        }
        for value in &reference.values {
            let named = |what: String| format!("{}: {what}", value.name());
            value.check().map_err(named)?;
            if !names.insert((&value.experiment, &value.cell, &value.metric)) {
                return Err(named("stands there twice".to_owned()));
            }
            // Every number of a cell comes from the same runs.
            let seeds = value.all_seeds();
            let cell = cells.entry((&value.experiment, &value.cell)).or_insert(seeds.clone());
            if *cell != seeds {
                return Err(named(format!("seeds: {seeds:?}, another metric has {cell:?}")));
            }
        }
        Ok(())
    }

    /// The blessed verdicts as a verification shows them, for a reader without the runs.
    pub fn as_verification(&self, claims: &Claims) -> Verification {
        let outcome = |claim: &Claim| {
            let blessed = self.verdicts.get(&claim.id)?.clone();
            Some(ClaimOutcome {
                id: claim.id.clone(),
                verdict: blessed.verdict,
                statistic: blessed.statistic,
                interval: blessed.interval,
                level: claim.level,
                margin: claim.margin,
                n: blessed.n,
                deciding_part: blessed.deciding_part,
                direction: blessed.direction,
                must_be: blessed.must_be,
                reason: blessed.reason,
                statement: claim.statement.clone(),
                source: claim.source.clone(),
                statistic_label: claim.statistic.clone(),
                margin_reason: claim.margin_reason.clone(),
                blessed: Some(blessed.verdict),
                bears: claim.counts.bearing(blessed.verdict),
                standing: Standing::AsBlessed,
                experiment: claim.experiment.clone(),
                ..ClaimOutcome::default()
            })
        };
        Verification {
            schema: SCHEMA,
            profile: self.profile.clone(),
            exit: 0,
            claims: claims.claim.iter().filter_map(outcome).collect(),
            regression: Vec::new(),
            cells: Vec::new(),
            lacking: Vec::new(),
            basis: String::new(),
            protocol: None,
        }
    }

    /// The blessed values of one metric of one cell.
    pub fn value(&self, experiment: &str, cell: &str, metric: &str) -> Option<&ReferenceValue> {
        self.values
            .iter()
            .find(|v| v.experiment == experiment && v.cell == cell && v.metric == metric)
    }
}
