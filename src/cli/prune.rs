//! `bgm store prune`: removes what no declaration needs any more.

use super::args::{Global, Prune};
use super::{CliError, device};
use crate::cli::terminal::{note, output};
use crate::data::Catalog;
use crate::experiments::space::words;
use crate::experiments::{KeyMaker, Plan, Profile};
use crate::spec::{Key, Numerics, RunSpec};
use crate::store::Store;
use crate::store::prune::{Kind, Part};
use crate::verify::exit;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub fn prune(global: &Global, options: &Prune) -> Result<u8, CliError> {
    let store = Store::existing(&global.store)?;
    let catalog = global.catalog()?;
    let needs = Needs::read(global, &catalog)?;
    let here = device::numerics(global)?;
    let mut judge = Judge {
        store: &store,
        needs: &needs,
        catalog: &catalog,
        keys: KeyMaker::new(&catalog),
        here: &here,
        others_too: options.other_numerics,
        specs: BTreeMap::new(),
        kept: BTreeMap::new(),
        judged: BTreeMap::new(),
    };
    let mut leftovers = Vec::new();
    for part in store.parts()? {
        if judge.is_left_over(&part) {
            leftovers.push(part);
        }
    }
    for (reason, count) in &judge.kept {
        note!("bgm: not removed ({count}): {reason}");
    }
    if leftovers.is_empty() {
        if !global.quiet {
            note!("{}: everything is needed", global.store.display());
        }
        return Ok(exit::SUCCESS);
    }
    list(&leftovers);
    if !options.yes {
        note!("bgm: nothing was removed; --yes removes what is listed");
        return Ok(exit::SUCCESS);
    }
    let ancestors = |key: &Key| {
        let mut keys = KeyMaker::new(&catalog);
        let ancestors = std::iter::successors(judge.specs.get(key), |spec| spec.parent()).skip(1);
        ancestors.filter_map(|spec| keys.key(spec).ok()).collect()
    };
    let pruned = store.prune(&leftovers, &ancestors)?;
    for key in &pruned.busy {
        note!("bgm: run {key} is being worked on, or a run that starts from it: left alone");
    }
    output!("removed {} of {}: {}", pruned.removed, leftovers.len(), words(pruned.bytes));
    Ok(if pruned.busy.is_empty() { exit::SUCCESS } else { exit::INCOMPLETE })
}

/// One line each, and the sum.
fn list(leftovers: &[Part]) {
    for Part { kind, path, bytes, .. } in leftovers {
        let kind = match kind {
            Kind::Run => "run",
            Kind::Unfinished => "unfinished run",
            Kind::Measurement => "measurement",
            Kind::SetAside => "damaged run, set aside",
        };
        output!("{:>10}  {kind}  {}", words(*bytes), path.display());
    }
    let bytes = leftovers.iter().map(|leftover| leftover.bytes).sum();
    output!("{:>10}  in all, {} not needed", words(bytes), leftovers.len());
}

/// What the declarations need.
struct Needs {
    /// Every planned run, whatever its seed and numerics, with the names of its measurements.
    families: BTreeMap<String, BTreeSet<String>>,
}

/// The text that a run shares with those of other seeds and numerics.
fn family(spec: &RunSpec) -> String {
    let spec = spec.with_seed(0).with_numerics(&Numerics::portable());
    serde_json::to_string(&spec).expect("a spec of plain numbers and names is valid JSON")
}

impl Needs {
    /// Plans every profile of the folder of declarations, and of the folders in it that have
    /// profiles of their own (pilots).
    fn read(global: &Global, catalog: &Catalog) -> Result<Needs, CliError> {
        let mut needs = Needs { families: BTreeMap::new() };
        for tables in folders(global)? {
            for name in Profile::names(&tables) {
                let profile = Profile::read(&tables, &name)?;
                let plan = Plan::new(&profile, &tables, catalog, &[], None)?;
                for run in plan.runs.values() {
                    let measures = needs.families.entry(family(&run.spec)).or_default();
                    measures.extend(run.measures.iter().map(|measure| measure.id()));
                }
            }
        }
        if needs.families.is_empty() {
            return Err(CliError::Usage(format!(
                "{}: no profile there plans any run, so everything would go; see --tables",
                global.tables.display()
            )));
        }
        Ok(needs)
    }
}

fn folders(global: &Global) -> Result<Vec<PathBuf>, CliError> {
    let unreadable = |e| CliError::Environment(format!("{}: {e}", global.tables.display()));
    let entries = std::fs::read_dir(&global.tables).map_err(unreadable)?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.push(global.tables.clone());
    folders.retain(|folder| folder.join("profiles").is_dir());
    folders.sort();
    Ok(folders)
}

/// Decides what is left over.
struct Judge<'a> {
    store: &'a Store,
    needs: &'a Needs,
    catalog: &'a Catalog,
    keys: KeyMaker<'a>,
    here: &'a Numerics,
    others_too: bool,
    /// Of the runs that were judged, as far as they can be read.
    specs: BTreeMap<Key, RunSpec>,
    /// Runs that nothing needs and that are kept all the same: why, and how many.
    kept: BTreeMap<String, usize>,
    judged: BTreeMap<Key, Judgement>,
}

#[derive(Clone)]
enum Judgement {
    /// With the names of the measurements that are needed.
    Needed(BTreeSet<String>),
    Kept,
    LeftOver,
}

impl Judge<'_> {
    fn is_left_over(&mut self, part: &Part) -> bool {
        if part.kind == Kind::SetAside {
            return true;
        }
        let judgement = match self.judged.get(&part.key) {
            Some(judgement) => judgement.clone(),
            None => {
                let judgement = self.judge(&part.key);
                self.judged.insert(part.key.clone(), judgement.clone());
                judgement
            }
        };
        let measurement = part.path.file_stem().unwrap_or_default().to_string_lossy();
        match judgement {
            Judgement::LeftOver => true,
            Judgement::Kept => false,
            Judgement::Needed(_) if part.kind != Kind::Measurement => false,
            Judgement::Needed(measurements) => !measurements.contains(&*measurement),
        }
    }

    fn keep(&mut self, reason: String) -> Judgement {
        *self.kept.entry(reason).or_default() += 1;
        Judgement::Kept
    }

    fn judge(&mut self, key: &Key) -> Judgement {
        let spec = match self.store.holds(key) {
            true => match self.store.read(key) {
                Ok(run) => Some(run.spec),
                // Only `bgm reproduce` knows whether it needs the run, and makes it again.
                Err(problem) => return self.keep(format!("{problem}")),
            },
            false => self.store.unfinished_spec(key),
        };
        // Measurements of a run that is gone, or a beginning that says not of what.
        let Some(spec) = spec else { return Judgement::LeftOver };
        self.specs.insert(key.clone(), spec.clone());
        if spec.numerics != *self.here && !self.others_too {
            let numerics = &spec.numerics;
            if self.needs.families.contains_key(&family(&spec)) {
                return self.needed(&spec);
            }
            return self.keep(format!(
                "nothing needs them, but they are of other numerics ('{numerics}') than are \
                 computed with here; --other-numerics removes them too"
            ));
        }
        if !self.catalog.knows_data_of(&spec) {
            let data = spec.data.name();
            return self.keep(format!(
                "whether they are needed cannot be told without their data, '{data}'"
            ));
        }
        match self.keys.key(&spec) {
            // Of other data, or of another version of what training means.
            Ok(own) if own != *key => Judgement::LeftOver,
            Ok(_) => self.needed(&spec),
            Err(problem) => self.keep(problem.to_string()),
        }
    }

    fn needed(&self, spec: &RunSpec) -> Judgement {
        let measurements = self.needs.families.get(&family(spec));
        measurements.map_or(Judgement::LeftOver, |m| Judgement::Needed(m.clone()))
    }
}
