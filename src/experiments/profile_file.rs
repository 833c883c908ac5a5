//! One file of a profile, as it is written, and the checks of its names.

use super::declare::Experiment;
use super::fields::set;
use super::read::{ProfileError, names};
use super::{Seeds, Template, check};
use crate::spec::Arch;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Dotted fields and their values, by experiment, axis and level.
pub(super) type Sets = BTreeMap<String, BTreeMap<String, BTreeMap<String, toml::Table>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileFile {
    #[serde(default)]
    pub inherits: Option<String>,
    #[serde(default)]
    pub summary: String,
    /// Whether the runs are meant for a GPU.
    #[serde(default)]
    pub gpu: Option<bool>,
    #[serde(default)]
    pub seeds: BTreeMap<String, Seeds>,
    #[serde(default)]
    pub experiments: Vec<String>,
    #[serde(default)]
    pub base: toml::Table,
    #[serde(default, rename = "override")]
    pub overrides: toml::Table,
    #[serde(default, rename = "network")]
    pub networks: toml::Table,
    /// `[levels.<experiment>] axis = ["level", ...]`: keep only these levels.
    #[serde(default)]
    pub levels: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// `[set.<experiment>.<axis>.<level>] "train.epochs" = 3`: after what the level sets.
    #[serde(default)]
    pub set: Sets,
}

impl ProfileFile {
    /// Checks every name and number of this one file at `path`; `bases`, `overrides` and `networks`
    /// are its own laid over those that it inherits.
    pub fn check(
        &self,
        tables: &Path,
        path: &Path,
        [bases, overrides, networks]: [&toml::Table; 3],
    ) -> Result<(), ProfileError> {
        let problem = |problem| ProfileError::Parse { path: path.to_owned(), problem };
        let known = names(tables);
        let unknown = |name: &String, wanted_by: &str| ProfileError::UnknownExperiment {
            name: name.clone(),
            wanted_by: format!("{}: {wanted_by}", path.display()),
            known: known.join(", "),
        };
        let missing = |name: &&String| !known.contains(name);
        if let Some(name) = self.experiments.iter().find(missing) {
            return Err(unknown(name, "experiments"));
        }
        if let Some(name) = check::duplicate(self.experiments.iter().map(String::as_str)) {
            return Err(problem(format!("experiments: '{name}' is named twice")));
        }
        for (name, base) in bases {
            let whole: Result<Template, _> = base.clone().try_into();
            whole.map_err(|e| problem(format!("[base.{name}]: {}", e.to_string().trim_end())))?;
        }
        for name in self.seeds.keys() {
            if !bases.contains_key(name) && !known.contains(name) {
                let bases: Vec<&str> = bases.keys().map(String::as_str).collect();
                let bases = bases.join(", ");
                return Err(problem(format!(
                    "[seeds] {name}: neither a base ({bases}) nor an experiment of {}",
                    tables.display()
                )));
            }
        }
        if let Some(name) = self.overrides.keys().find(missing) {
            return Err(unknown(name, "[override]"));
        }
        for name in self.overrides.keys() {
            let changes = &overrides[name];
            let base = bases.get(&Experiment::read(tables, name)?.base);
            fits_one(changes, base).map_err(|e| problem(format!("[override.{name}]: {e}")))?;
        }
        for name in self.networks.keys() {
            let changes = &networks[name];
            let named = |e: String| problem(format!("[network.{name}]: {e}"));
            let arch: Result<Arch, _> = toml::Value::from(name.as_str()).try_into();
            arch.map_err(|e| named(e.to_string().trim_end().to_owned()))?;
            fits_one(changes, bases.values()).map_err(named)?;
        }
        for (name, axes) in &self.levels {
            if !known.contains(name) {
                return Err(unknown(name, "[levels]"));
            }
            check_levels(&Experiment::read(tables, name)?, axes)
                .map_err(|e| problem(format!("[levels.{name}]: {e}")))?;
        }
        for (name, axes) in &self.set {
            if !known.contains(name) {
                return Err(unknown(name, "[set]"));
            }
            let experiment = Experiment::read(tables, name)?;
            let levels = axes.iter().flat_map(|(axis, l)| l.keys().map(move |l| (axis, l)));
            for (axis, level) in levels {
                check::named_levels(&experiment, &BTreeMap::from([(axis.clone(), level.clone())]))
                    .map_err(|e| problem(format!("[set.{name}.{axis}]: {e}")))?;
            }
        }
        Ok(())
    }
}

/// Checks that the levels that a profile keeps of an experiment exist.
fn check_levels(
    experiment: &Experiment,
    axes: &BTreeMap<String, Vec<String>>,
) -> Result<(), String> {
    for (axis, wanted) in axes {
        if wanted.is_empty() {
            return Err(format!("axis '{axis}' keeps no level, which leaves no cells"));
        }
        if let Some(id) = check::duplicate(wanted.iter().map(String::as_str)) {
            return Err(format!("axis '{axis}' names the level '{id}' twice"));
        }
        for id in wanted {
            check::named_levels(experiment, &BTreeMap::from([(axis.clone(), id.clone())]))?;
        }
    }
    Ok(())
}

/// Checks that one of the bases has the fields that are changed, whether or not a cell uses them.
fn fits_one<'a>(
    changes: &toml::Value,
    bases: impl IntoIterator<Item = &'a toml::Value>,
) -> Result<(), String> {
    let changes = changes.as_table().ok_or("must be a table of dotted fields")?;
    let mut problem = None;
    for base in bases {
        let mut table = base.as_table().cloned().unwrap_or_default();
        let set = changes.iter().try_for_each(|(path, v)| set(&mut table, path, v.clone()));
        let whole = set.and_then(|()| table.try_into::<Template>().map_err(|e| e.to_string()));
        match whole {
            Ok(_) => return Ok(()),
            Err(e) => problem = problem.or(Some(e.trim_end().to_owned())),
        }
    }
    problem.map_or(Ok(()), Err)
}
