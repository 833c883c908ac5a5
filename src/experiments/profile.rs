//! Profiles: which experiments, at what size, over how many seeds. Declared in
//! `paper_tables/profiles/<name>.toml`; one may inherit from another.

use super::declare::{Experiment, Level};
use super::fields::{overlay, set};
use super::profile_file::{ProfileFile, Sets};
use super::read::{ProfileError, names, parse};
use super::{Seeds, Template, check};
use crate::spec::Numerics;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A profile with everything it inherits filled in.
#[derive(Clone, Debug)]
pub struct Profile {
    pub name: String,
    pub summary: String,
    /// Whether its runs are meant for a GPU.
    pub gpu: bool,
    /// Numerics of its runs; not declared, but those of whoever computes them.
    pub numerics: Numerics,
    /// Seeds of each base, or of a single experiment.
    pub seeds: BTreeMap<String, Seeds>,
    /// Experiments in the order in which they are wanted.
    pub experiments: Vec<String>,
    /// Templates by name, before the levels of an experiment change them.
    bases: toml::Table,
    /// Changes to a base for single experiments.
    overrides: toml::Table,
    /// Changes to a base for single networks: their width at this size, say.
    networks: toml::Table,
    /// Axes that this profile gives other levels than the experiment's file.
    axes: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// What this profile sets at single levels: by experiment, axis and level.
    sets: Sets,
    path: PathBuf,
}

impl Profile {
    /// Reads `<tables>/profiles/<name>.toml` and what it inherits from.
    ///
    /// # Errors
    /// If a file is missing or malformed, or a name in it matches nothing.
    pub fn read(tables: &Path, name: &str) -> Result<Profile, ProfileError> {
        Profile::read_below(tables, name, &mut Vec::new())
    }

    /// Reads a profile from which those of `heirs` inherit, the youngest first.
    fn read_below(
        tables: &Path,
        name: &str,
        heirs: &mut Vec<String>,
    ) -> Result<Profile, ProfileError> {
        let folder = tables.join("profiles");
        let path = folder.join(format!("{name}.toml"));
        if !folder.is_dir() {
            return Err(ProfileError::NoFolder { folder });
        }
        if !path.exists() {
            let known = names(&folder).join(", ");
            let name = name.to_owned();
            return Err(match heirs.last() {
                None => ProfileError::UnknownProfile { name, folder, known },
                Some(heir) => ProfileError::Parse {
                    path: folder.join(format!("{heir}.toml")),
                    problem: format!("inherits = '{name}': no such profile; there are: {known}"),
                },
            });
        }
        if heirs.iter().any(|heir| heir == name) {
            let chain = [heirs.as_slice(), &[name.to_owned()]].concat().join(" -> ");
            let problem = format!("inherits from itself: {chain}; remove one `inherits`");
            return Err(ProfileError::Parse { path, problem });
        }
        let file: ProfileFile = parse(&path)?;
        let mut profile = match &file.inherits {
            Some(parent) => {
                heirs.push(name.to_owned());
                Profile::read_below(tables, parent, heirs)?
            }
            None => Profile {
                name: String::new(),
                summary: String::new(),
                gpu: false,
                numerics: Numerics::default(),
                seeds: BTreeMap::new(),
                experiments: Vec::new(),
                bases: toml::Table::new(),
                overrides: toml::Table::new(),
                networks: toml::Table::new(),
                axes: BTreeMap::new(),
                sets: Sets::new(),
                path: path.clone(),
            },
        };
        profile.name = name.to_owned();
        profile.path = path;
        overlay(&mut profile.bases, &file.base);
        overlay(&mut profile.overrides, &file.overrides);
        overlay(&mut profile.networks, &file.networks);
        let merged = [&profile.bases, &profile.overrides, &profile.networks];
        file.check(tables, &profile.path, merged)?;
        profile.summary = file.summary;
        profile.gpu = file.gpu.unwrap_or(profile.gpu);
        profile.seeds.extend(file.seeds);
        if !file.experiments.is_empty() {
            profile.experiments = file.experiments;
        }
        for (experiment, axes) in file.levels {
            profile.axes.entry(experiment).or_default().extend(axes);
        }
        for (experiment, axes) in file.set {
            let sets = profile.sets.entry(experiment).or_default();
            for (axis, levels) in axes {
                let sets = sets.entry(axis).or_default();
                for (level, changes) in levels {
                    overlay(sets.entry(level).or_default(), &changes);
                }
            }
        }
        Ok(profile)
    }

    /// Names of all profiles, sorted.
    pub fn names(tables: &Path) -> Vec<String> {
        names(&tables.join("profiles"))
    }

    /// Names of all declared experiments, sorted.
    pub fn experiment_names(tables: &Path) -> Vec<String> {
        names(tables)
    }

    /// The experiments of this profile, or those of `only` instead, whether or not the profile has
    /// them.
    ///
    /// # Errors
    /// If a declaration is missing or malformed, or `only` names an unknown one.
    pub fn experiments(
        &self,
        tables: &Path,
        only: &[String],
    ) -> Result<Vec<Experiment>, ProfileError> {
        let known = names(tables);
        let unknown = |name: &String, wanted_by: &str| ProfileError::UnknownExperiment {
            name: name.clone(),
            wanted_by: wanted_by.to_owned(),
            known: known.join(", "),
        };
        if let Some(name) = only.iter().find(|name| !known.contains(name)) {
            return Err(unknown(name, "--only"));
        }
        if let Some(name) = check::duplicate(only.iter().map(String::as_str)) {
            let problem = format!("--only names '{name}' twice");
            return Err(ProfileError::Parse { path: tables.to_owned(), problem });
        }
        let wanted: Vec<&String> =
            if only.is_empty() { self.experiments.iter().collect() } else { only.iter().collect() };
        wanted.into_iter().map(|id| self.experiment(tables, id)).collect()
    }

    /// An experiment with the levels that this profile gives it.
    fn experiment(&self, tables: &Path, id: &str) -> Result<Experiment, ProfileError> {
        let mut experiment = Experiment::read(tables, id)?;
        for (name, wanted) in self.axes.get(id).into_iter().flatten() {
            let axes = experiment.axes.iter_mut().filter(|axis| &axis.name == name);
            axes.for_each(|axis| axis.levels.retain(|level| wanted.contains(&level.id)));
        }
        let sets = self.sets.get(id);
        for axis in &mut experiment.axes {
            for level in &mut axis.levels {
                let own = sets.and_then(|axes| axes.get(&axis.name)?.get(&level.id));
                level.set.extend(own.cloned().unwrap_or_default());
            }
        }
        Ok(experiment)
    }

    /// The template of one cell: the base, the profile's changes for a network that a level
    /// chooses and for this experiment, then those of the cell's levels in the order of the
    /// axes.
    ///
    /// # Errors
    /// If a field is unknown or has the wrong type.
    pub fn template(
        &self,
        experiment: &Experiment,
        levels: &[&Level],
    ) -> Result<Template, ProfileError> {
        let problem = |problem| self.problem_of(experiment, problem);
        let base = self.bases.get(&experiment.base).and_then(toml::Value::as_table);
        let mut table = base.cloned().ok_or_else(|| {
            problem(format!("profile '{}' has no [base.{}]", self.name, experiment.base))
        })?;
        let changes = |of: &toml::Table, name: &str| {
            of.get(name).and_then(toml::Value::as_table).cloned().unwrap_or_default()
        };
        let arch = levels.iter().find_map(|level| level.set.get("network.arch"));
        let arch = arch.and_then(toml::Value::as_str).unwrap_or_default();
        let (network, own) =
            (changes(&self.networks, arch), changes(&self.overrides, &experiment.id));
        let dotted = network.iter().chain(&own).chain(levels.iter().flat_map(|l| &l.set));
        for (path, value) in dotted {
            set(&mut table, path, value.clone()).map_err(problem)?;
        }
        let template: Template = table
            .try_into()
            .map_err(|e: toml::de::Error| problem(e.to_string().trim_end().to_owned()))?;
        template.checked().map_err(problem)
    }

    /// Something that is wrong with an experiment in this profile.
    pub fn problem_of(&self, experiment: &Experiment, problem: String) -> ProfileError {
        let tables = self.path.parent().and_then(Path::parent).unwrap_or(Path::new(""));
        ProfileError::Parse { path: tables.join(format!("{}.toml", experiment.id)), problem }
    }

    /// Seeds of an experiment: its own in this profile, or its base's.
    pub fn seeds_of(&self, experiment: &Experiment) -> Seeds {
        let own = self.seeds.get(&experiment.id).or_else(|| self.seeds.get(&experiment.base));
        own.cloned().unwrap_or_else(|| Seeds::first(3))
    }
}
