//! A hash of what a profile asks of an experiment: cells, settings, seeds, measurements. The
//! references record it (a protocol may), so that a later change of a declaration is seen. Images,
//! numerics and training code are not in it (they are in the keys of runs), and it also changes with
//! what changes no run: a level's id, the order of levels, another notation of the seeds.

use super::declare::Level;
use super::grid::combinations;
use super::profile::Profile;
use super::read::ProfileError;
use super::{Experiment, Template};
use crate::digest::sha256;
use crate::measure::MeasureSpec;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Hexadecimal digits of a hash that are recorded: 64 bits, which is ample against accidents.
const DIGITS: usize = 16;

/// The first hexadecimal digits of the SHA-256 of a value's JSON.
///
/// # Panics
/// If the value has a map whose keys are not text.
pub fn fingerprint(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("plain declarations are valid JSON");
    sha256(text.as_bytes())[..DIGITS].to_owned()
}

impl Profile {
    /// The fingerprint of each experiment of this profile, by the experiment's id; `tables` is the
    /// folder of declarations.
    ///
    /// # Errors
    /// If a declaration is missing or malformed.
    pub fn fingerprints(&self, tables: &Path) -> Result<BTreeMap<String, String>, ProfileError> {
        let experiments = self.experiments(tables, &[])?;
        let own = |experiment: &Experiment| {
            Ok((experiment.id.clone(), fingerprint(&self.hashed(experiment)?)))
        };
        experiments.iter().map(own).collect()
    }

    fn hashed<'a>(&self, experiment: &'a Experiment) -> Result<Hashed<'a>, ProfileError> {
        let cell = |levels: Vec<usize>| {
            let levels: Vec<&Level> =
                experiment.axes.iter().zip(&levels).map(|(axis, &l)| &axis.levels[l]).collect();
            let ids = levels.iter().map(|level| level.id.as_str()).collect();
            Ok((ids, self.template(experiment, &levels)?))
        };
        let cells = combinations(experiment).into_iter().map(cell);
        Ok(Hashed {
            seeds: self.seeds_of(experiment).to_string(),
            cells: cells.collect::<Result<_, ProfileError>>()?,
            measures: &experiment.measures,
        })
    }
}

/// What is hashed. The names of the fields and their order are part of it: a change of them changes
/// every fingerprint on record.
#[derive(Serialize)]
struct Hashed<'a> {
    /// As the profile writes them: `10`, or `20..30`.
    seeds: String,
    /// Level ids and settings of each cell.
    cells: Vec<(Vec<&'a str>, Template)>,
    measures: &'a BTreeMap<String, MeasureSpec>,
}
