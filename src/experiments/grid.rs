//! From declarations to runs: every cell of every experiment, each run once.

use super::declare::{Experiment, Level};
use super::profile::Profile;
use super::read::ProfileError;
use super::seeds::Seeds;
use crate::data::{Catalog, DataError};
use crate::measure::MeasureSpec;
use crate::spec::{Key, RunSpec, SpecError};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// One cell of a grid: the runs of its seeds.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Level of each axis, in the order of the axes.
    pub levels: Vec<usize>,
    /// `(seed, key)`, in the order of seeds.
    pub runs: Vec<(u64, Key)>,
}

/// All runs that a profile's experiments need.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Each experiment with its cells (last axis fastest).
    pub experiments: Vec<(Experiment, Vec<Cell>)>,
    /// Every run once, parents included.
    pub runs: BTreeMap<Key, PlannedRun>,
    /// Keys in the order in which results are wanted: earlier experiments first, parents
    /// before their children.
    pub order: Vec<Key>,
}

/// A run of a plan.
#[derive(Clone, Debug)]
pub struct PlannedRun {
    pub spec: RunSpec,
    pub parent: Option<Key>,
    /// Experiments that look at it or start from it.
    pub needed_by: Vec<String>,
    /// What its final weights are measured for.
    pub measures: Vec<MeasureSpec>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error("experiment {experiment}, cell {cell}: {source}")]
    Spec { experiment: String, cell: String, source: SpecError },
    #[error(transparent)]
    Data(#[from] DataError),
}

/// All combinations of one level an axis, the last axis fastest.
pub(super) fn combinations(experiment: &Experiment) -> Vec<Vec<usize>> {
    experiment.axes.iter().fold(vec![Vec::new()], |rows, axis| {
        let extended = |row: Vec<usize>| {
            (0..axis.levels.len()).map(move |level| [row.as_slice(), &[level]].concat())
        };
        rows.into_iter().flat_map(extended).collect()
    })
}

/// Most runs of one experiment that a plan is made for: a bound on memory.
const MAX_RUNS: u64 = 1_000_000;

fn check_size(experiment: &Experiment, seeds: &Range<u64>) -> Result<(), String> {
    let seeds = seeds.end.saturating_sub(seeds.start);
    let levels = experiment.axes.iter().map(|axis| axis.levels.len() as u64);
    let cells = levels.fold(1, u64::saturating_mul);
    let runs = cells.saturating_mul(seeds);
    if runs <= MAX_RUNS {
        return Ok(());
    }
    Err(format!(
        "{cells} cells over {seeds} seeds are more than {MAX_RUNS} runs; give the axes fewer levels"
    ))
}

impl Plan {
    /// Makes the plan of a profile, or of `only` some of its experiments; `seeds` are asked for
    /// instead of the profile's.
    ///
    /// # Errors
    /// If a declaration or a spec is wrong, or a data set unknown.
    pub fn new(
        profile: &Profile,
        tables: &Path,
        catalog: &Catalog,
        only: &[String],
        seeds: Option<&Seeds>,
    ) -> Result<Plan, PlanError> {
        let mut plan = Plan { experiments: Vec::new(), runs: BTreeMap::new(), order: Vec::new() };
        let mut keys = KeyMaker::new(catalog);
        for experiment in profile.experiments(tables, only)? {
            let own = profile.seeds_of(&experiment);
            let seeds = seeds.unwrap_or(&own).of(&own);
            check_size(&experiment, &seeds)
                .map_err(|problem| profile.problem_of(&experiment, problem))?;
            let mut cells = Vec::new();
            let mut wanted: Vec<(u64, RunSpec, Key)> = Vec::new();
            for levels in combinations(&experiment) {
                let chosen: Vec<&Level> =
                    experiment.axes.iter().zip(&levels).map(|(axis, &l)| &axis.levels[l]).collect();
                let template = profile.template(&experiment, &chosen)?;
                let mut runs = Vec::new();
                for seed in seeds.clone() {
                    let spec = template.lower(seed).with_numerics(&profile.numerics);
                    spec.check().map_err(|source| PlanError::Spec {
                        experiment: experiment.id.clone(),
                        cell: chosen.iter().map(|l| l.id.as_str()).collect::<Vec<_>>().join(" "),
                        source,
                    })?;
                    let key = keys.key(&spec)?;
                    runs.push((seed, key.clone()));
                    wanted.push((seed, spec, key));
                }
                cells.push(Cell { levels, runs });
            }
            // Seed by seed: after the first three, every cell has something to say.
            wanted.sort_by_key(|(seed, ..)| *seed);
            for (_, spec, key) in wanted {
                plan.add(&mut keys, spec, key.clone(), &experiment.id)?;
                let measures = &mut plan.runs.get_mut(&key).expect("just added").measures;
                for measure in experiment.measures.values() {
                    if !measures.contains(measure) {
                        measures.push(measure.clone());
                    }
                }
            }
            plan.experiments.push((experiment, cells));
        }
        Ok(plan)
    }

    /// The part of the plan that is one experiment's.
    pub fn part(&self, experiment: &str) -> Plan {
        let is_needed = |run: &PlannedRun| run.needed_by.iter().any(|id| id == experiment);
        let own = |(e, _): &&(Experiment, Vec<Cell>)| e.id == experiment;
        let needed = self.runs.iter().filter(|(_, run)| is_needed(run));
        let runs: BTreeMap<Key, PlannedRun> =
            needed.map(|(key, run)| (key.clone(), run.clone())).collect();
        let order = self.order.iter().filter(|key| runs.contains_key(*key)).cloned().collect();
        let experiments = self.experiments.iter().filter(own).cloned().collect();
        Plan { experiments, runs, order }
    }

    /// Adds a run and those before it.
    fn add(
        &mut self,
        keys: &mut KeyMaker<'_>,
        spec: RunSpec,
        key: Key,
        experiment: &str,
    ) -> Result<(), PlanError> {
        let parent = match spec.parent() {
            Some(parent) => {
                let parent_key = keys.key(parent)?;
                self.add(keys, parent.clone(), parent_key.clone(), experiment)?;
                Some(parent_key)
            }
            None => None,
        };
        if !self.runs.contains_key(&key) {
            self.order.push(key.clone());
        }
        let run = self.runs.entry(key).or_insert_with(|| PlannedRun {
            spec,
            parent,
            needed_by: Vec::new(),
            measures: Vec::new(),
        });
        if run.needed_by.last().map(String::as_str) != Some(experiment) {
            run.needed_by.push(experiment.to_owned());
        }
        Ok(())
    }
}

/// Makes keys, reading each data set's manifest once.
pub struct KeyMaker<'a> {
    catalog: &'a Catalog,
    hashes: BTreeMap<String, String>,
}

impl<'a> KeyMaker<'a> {
    pub fn new(catalog: &'a Catalog) -> Self {
        KeyMaker { catalog, hashes: BTreeMap::new() }
    }

    /// Key of a spec.
    ///
    /// # Errors
    /// If its data set is unknown or has no manifest.
    pub fn key(&mut self, spec: &RunSpec) -> Result<Key, DataError> {
        for run in std::iter::successors(Some(spec), |run| run.parent()) {
            let name = run.data.name();
            if !self.hashes.contains_key(name) {
                self.hashes.insert(name.to_owned(), self.catalog.content_hash(run)?);
            }
        }
        Ok(Key::of(spec, &|run| self.hashes[run.data.name()].clone()))
    }
}
