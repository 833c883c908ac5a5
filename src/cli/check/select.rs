//! Which runs are checked.

use super::super::args::{Check, Global};
use super::super::session::{self, Session};
use super::super::{CliError, device, records};
use crate::cli::terminal::{note, output};
use crate::experiments::{Cell, Experiment, PlannedRun, Profile};
use crate::rng::{Purpose, Stream};
use crate::spec::Key;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;

/// A run to check.
pub struct Target {
    /// As it is called in what is said: `table1_accuracy init=random optimizer=vanilla, seed 3`,
    /// with its key.
    pub name: String,
    pub key: Key,
    /// Its spec, and what it is measured for.
    pub run: PlannedRun,
}

impl Target {
    fn new(name: &str, key: &Key, run: &PlannedRun) -> Target {
        let name = format!("{name}, run {}", key.short());
        Target { name, key: key.clone(), run: run.clone() }
    }
}

/// The runs that the options choose, and a session with what they are compared with.
pub fn targets(global: &Global, options: &Check) -> Result<(Session, Vec<Target>), CliError> {
    let names = Profile::experiment_names(&global.tables);
    let (experiments, keys): (Vec<&String>, Vec<&String>) =
        options.targets.iter().partition(|target| names.contains(target));
    if let Some(target) = keys.iter().find(|target| !session::is_key(target)) {
        return Err(CliError::Usage(format!(
            "'{target}' is neither a run key (6 to 64 hexadecimal digits) nor an experiment; there \
             are: {}",
            names.join(", ")
        )));
    }
    if experiments.is_empty() && (!options.cell.is_empty() || options.seed.is_some()) {
        let problem = "--cell and --seed choose among the runs of an experiment: name one";
        return Err(CliError::Usage(problem.to_owned()));
    }
    let mut global = global.clone();
    if !experiments.is_empty() {
        global.only = experiments.into_iter().cloned().collect();
    }
    let mut session = Session::plan(&global)?;
    session.records = match &options.records {
        Some(path) => records::unpack(path)?,
        None => records::all(&global)?,
    };
    let mut targets = match options.sample {
        Some(count) => sample(&global, &session, options, count)?,
        None if options.targets.len() == keys.len() => Vec::new(),
        None => cells(&session, options)?,
    };
    for digits in keys {
        let target = keyed(&global, &mut session, digits)?;
        targets.push(target);
    }
    let mut seen = BTreeSet::new();
    targets.retain(|target| seen.insert(target.key.clone()));
    Ok((session, targets))
}

/// `init=random optimizer=vanilla` as pairs of axis and level.
fn levels<'a>(experiment: &'a Experiment, cell: &Cell) -> Vec<(&'a str, &'a str)> {
    let axes = experiment.axes.iter().zip(&cell.levels);
    axes.map(|(axis, &level)| (axis.name.as_str(), axis.levels[level].id.as_str())).collect()
}

/// All runs of a cell.
fn of_cell(session: &Session, experiment: &Experiment, cell: &Cell) -> Vec<Target> {
    let levels = levels(experiment, cell).into_iter().map(|(axis, id)| format!(" {axis}={id}"));
    let name = format!("{}{}", experiment.id, levels.collect::<String>());
    let target = |(seed, key): &(u64, Key)| {
        Target::new(&format!("{name}, seed {seed}"), key, &session.plan.runs[key])
    };
    cell.runs.iter().map(target).collect()
}

/// The runs of the experiments of the plan that `--cell` and `--seed` choose.
fn cells(session: &Session, options: &Check) -> Result<Vec<Target>, CliError> {
    let mut targets = Vec::new();
    for (experiment, cells) in &session.plan.experiments {
        let wanted = wanted(experiment, &options.cell)?;
        for cell in cells {
            let levels = levels(experiment, cell);
            if wanted.iter().all(|level| levels.contains(level)) {
                targets.extend(of_cell(session, experiment, cell));
            }
        }
    }
    if let Some(seed) = options.seed {
        targets.retain(|target| target.run.spec.seed == seed);
    }
    if targets.is_empty() {
        let problem = "no run of the profile is in that cell and has that seed; `bgm plan` lists \
                       them, --seeds plans more";
        return Err(CliError::Usage(problem.to_owned()));
    }
    Ok(targets)
}

/// `--cell` as pairs of axis and level, each of which the experiment has.
fn wanted<'a>(
    experiment: &Experiment,
    cell: &'a [String],
) -> Result<Vec<(&'a str, &'a str)>, CliError> {
    let pair = |text: &'a String| {
        let problem = |problem: String| CliError::Usage(format!("--cell {text}: {problem}"));
        let (name, level) = text
            .split_once('=')
            .ok_or_else(|| problem("write AXIS=LEVEL, such as init=random".to_owned()))?;
        let join = |names: Vec<&str>| names.join(", ");
        let axis = experiment.axes.iter().find(|axis| axis.name == name).ok_or_else(|| {
            let names = experiment.axes.iter().map(|axis| axis.name.as_str()).collect();
            problem(format!("{} has no such axis; it has: {}", experiment.id, join(names)))
        })?;
        if !axis.levels.iter().any(|l| l.id == level) {
            let names = axis.levels.iter().map(|l| l.id.as_str()).collect();
            return Err(problem(format!("there is no such level; there are: {}", join(names))));
        }
        Ok((name, level))
    };
    cell.iter().map(pair).collect()
}

/// Runs drawn at random from all cells of the profile, of those that can be compared.
fn sample(
    global: &Global,
    session: &Session,
    options: &Check,
    count: u64,
) -> Result<Vec<Target>, CliError> {
    let all = session.plan.experiments.iter().flat_map(|(experiment, cells)| {
        cells.iter().flat_map(|cell| of_cell(session, experiment, cell))
    });
    let mut pool: Vec<Target> = all.filter(|t| session.evidence().holds(&t.key)).collect();
    if pool.is_empty() {
        return Err(CliError::Incomplete(format!(
            "nothing to compare with: no run of the profile '{}' is in {}, and {} has none either; \
             --records names others",
            global.profile,
            global.store.display(),
            options.records.clone().unwrap_or_else(|| records::folder(global)).display()
        )));
    }
    // Thirty-two bits are enough to draw from, and can be typed.
    let draw = options.draw.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    output!("drawn with --draw {draw}, which draws the same runs again");
    Stream::open(draw, Purpose::Sample, &[]).shuffle(&mut pool);
    let mut seen = BTreeSet::new();
    pool.retain(|target| seen.insert(target.key.clone()));
    if (pool.len() as u64) < count && !global.quiet {
        note!("there are {} runs to draw from, all of which are drawn", pool.len());
    }
    pool.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    Ok(pool)
}

/// The run with a key that begins with these digits: of the profile, of any other, or of what is
/// stored.
fn keyed(global: &Global, session: &mut Session, digits: &str) -> Result<Target, CliError> {
    let planned = session.plan.runs.iter().find(|(key, _)| key.as_str().starts_with(digits));
    let planned = match planned {
        Some((key, run)) => Some((key.clone(), run.clone())),
        None => session::find_planned(global, &session.catalog, digits)?,
    };
    let stored = session.evidence().find(digits)?;
    match (planned, stored) {
        (Some((key, run)), _) => {
            let name = format!("seed {} for {}", run.spec.seed, run.needed_by.join(", "));
            Ok(Target::new(&name, &key, &run))
        }
        (None, Some(key)) => unplanned(global, session, &key),
        (None, None) => Err(CliError::Usage(format!(
            "no profile plans a run {digits}, and neither {} nor the records have one; `bgm plan` \
             lists keys",
            global.store.display()
        ))),
    }
}

/// A stored run that no profile plans with the numerics of here.
fn unplanned(global: &Global, session: &Session, key: &Key) -> Result<Target, CliError> {
    let evidence = session.evidence();
    let (spec, origin): (_, &Path) = (evidence.read(key)?.spec, evidence.origin(key));
    let here = device::numerics(global)?;
    if spec.numerics != here {
        return Err(CliError::Incomplete(format!(
            "nothing to compare with: run {} of {} was made by '{}', and here '{here}' computes, \
             which gives other last bits; `bgm verify` compares within tolerances",
            key.short(),
            origin.display(),
            spec.numerics
        )));
    }
    session::of_today(&session.catalog, key, &spec, origin)?;
    let name = format!("seed {} of {}", spec.seed, origin.display());
    let (needed_by, measures) = (Vec::new(), Vec::new());
    Ok(Target::new(&name, key, &PlannedRun { spec, parent: None, needed_by, measures }))
}
