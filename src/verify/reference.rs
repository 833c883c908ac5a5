//! Blessed reference values: `expected/<profile>.toml`, raw values per seed, with where and
//! how they were made.

pub use super::blessed_verdict::{BlessedPart, BlessedVerdict};
use super::claims::{Claim, Claims};
use super::files::{ReferenceError, read};
use super::outcome::{ClaimOutcome, SCHEMA, Standing, Verification};
use super::protocol::ProtocolStamp;
pub use super::reference_value::{MIN_REFERENCE_SEEDS, ReferenceValue, tolerances};
use crate::backend::Platform;
use crate::experiments::text;
use crate::spec::TRAINING_SEMANTICS;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

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
