//! A hash of what an experiment runs in a profile: cells, sizes, seeds, measurements. Two
//! declarations with one hash make the same runs.

use super::declare::Level;
use super::grid::combinations;
use super::profile::{Profile, ProfileError};
use super::{Experiment, Template};
use crate::digest::sha256;
use crate::measure::MeasureSpec;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Digits of a hash that are written down.
const DIGITS: usize = 16;

/// The first digits of the SHA-256 of a value's JSON.
pub fn fingerprint(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("plain declarations are valid JSON");
    sha256(text.as_bytes())[..DIGITS].to_owned()
}

impl Profile {
    /// The hash of every experiment of this profile, by its id.
    ///
    /// # Errors
    /// If a declaration is missing or malformed.
    pub fn fingerprints(&self, tables: &Path) -> Result<BTreeMap<String, String>, ProfileError> {
        let experiments = self.experiments(tables, &[])?;
        let own = |experiment: &Experiment| {
            Ok((experiment.id.clone(), fingerprint(&self.runs_of(experiment)?)))
        };
        experiments.iter().map(own).collect()
    }

    fn runs_of<'a>(&self, experiment: &'a Experiment) -> Result<Runs<'a>, ProfileError> {
        let cell = |levels: Vec<usize>| {
            let levels: Vec<&Level> =
                experiment.axes.iter().zip(&levels).map(|(axis, &l)| &axis.levels[l]).collect();
            let ids = levels.iter().map(|level| level.id.as_str()).collect();
            Ok((ids, self.template(experiment, &levels)?))
        };
        let cells = combinations(experiment).into_iter().map(cell);
        Ok(Runs {
            seeds: self.seeds_of(experiment).to_string(),
            cells: cells.collect::<Result<_, ProfileError>>()?,
            measures: &experiment.measures,
        })
    }
}

/// What is hashed.
#[derive(Serialize)]
struct Runs<'a> {
    seeds: String,
    /// Level ids and settings of each cell.
    cells: Vec<(Vec<&'a str>, Template)>,
    measures: &'a BTreeMap<String, MeasureSpec>,
}
