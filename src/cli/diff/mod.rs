//! `bgm diff`: two stores or two commits, run by run and mean by mean; two blessed references,
//! mean by mean.

mod commits;
mod references;
mod tables;

use super::CliError;
use super::args::{Diff, Global};
use super::session::Session;
use crate::cli::terminal::{note, output};
use crate::experiments::results::ExperimentResult;
use crate::spec::Key;
use crate::store::Store;
use crate::verify::claims::MIN_SEEDS;
use crate::verify::exit;
use crate::verify::reference::Reference;
use crate::verify::stats;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Probability that any mean is called shifted although none is.
const FALSE_ALARM_RATE: f64 = 0.05;

/// Values by seed, by the name of cell and metric.
type Numbers = BTreeMap<String, BTreeMap<u64, f64>>;

/// What is compared: its name, its store, and the tables that a commit's own program wrote.
struct Side {
    name: String,
    store: PathBuf,
    tables: Option<PathBuf>,
}

/// Exit code 0 if both hold the same results, 1 if a run or a number differs, 3 if one lacks
/// runs of the other, or holds runs that nothing can rest on.
pub fn diff(global: &Global, options: &Diff) -> Result<u8, CliError> {
    if let [Some(a), Some(b)] = [reference(global, &options.a)?, reference(global, &options.b)?] {
        return references::diff(global, &a, &b);
    }
    // Both names are looked at before anything is built.
    let (a, b) = (place(&options.a)?, place(&options.b)?);
    let (a, b) = (side(global, &options.a, a)?, side(global, &options.b, b)?);
    let (stores, keys) =
        ([Store::existing(&a.store)?, Store::existing(&b.store)?], |store: &Store| {
            Ok::<BTreeSet<Key>, CliError>(store.keys()?.into_iter().collect())
        });
    let (in_a, in_b) = (keys(&stores[0])?, keys(&stores[1])?);
    let (mut same, mut different) = (0, 0);
    let mut measured = Measurements::default();
    for key in in_a.intersection(&in_b) {
        let (left, right) = (stores[0].read(key)?, stores[1].read(key)?);
        if left.result_hash == right.result_hash {
            same += 1;
            measured.compare(&stores, key, &left.result_hash)?;
            continue;
        }
        different += 1;
        let last = |run: &crate::store::StoredRun| {
            run.metrics.last().map_or(f64::NAN, |e| e.test_accuracy)
        };
        output!(
            "{}: seed {}, test accuracy {:.2} and {:.2}, made on {} and {}",
            key.short(),
            left.spec.seed,
            last(&left),
            last(&right),
            left.environment.platform.device,
            right.environment.platform.device
        );
    }
    let only = |from: &BTreeSet<Key>, other: &BTreeSet<Key>| from.difference(other).count();
    let (only_a, only_b) = (only(&in_a, &in_b), only(&in_b, &in_a));
    output!(
        "{same} runs equal, {different} different, {only_a} only in {}, {only_b} only in {}",
        a.name,
        b.name
    );
    let Measurements { equal, different: otherwise, alone } = measured;
    output!("their measurements: {equal} equal, {otherwise} different, {alone} on one side only");
    let (left, right) = match (&a.tables, &b.tables) {
        (Some(left), Some(right)) => (tables::numbers(left)?, tables::numbers(right)?),
        _ => (stored(global, &a.store)?, stored(global, &b.store)?),
    };
    let Shifts { shifted, unfit } = shifts(&left, &right);
    // Two empty stores are equal, and say nothing.
    let nothing = usize::from(in_a.is_empty() && in_b.is_empty());
    Ok(match (different + otherwise + shifted, only_a + only_b + alone + unfit + nothing) {
        (1.., _) => exit::DEPARTURE,
        (0, 1..) => exit::INCOMPLETE,
        (0, 0) => exit::SUCCESS,
    })
}

/// The measurements of runs that are equal.
#[derive(Default)]
struct Measurements {
    equal: usize,
    different: usize,
    /// In one of the stores, or damaged in one of them.
    alone: usize,
}

impl Measurements {
    fn compare(
        &mut self,
        stores: &[Store; 2],
        key: &Key,
        result_hash: &str,
    ) -> Result<(), CliError> {
        let mut names = stores[0].measurements(key)?;
        names.extend(stores[1].measurements(key)?);
        for name in names {
            let read = |store: &Store| match store.measured(key, &name, result_hash) {
                Ok(measured) => measured,
                Err(problem) => {
                    note!("bgm: not used: {problem}");
                    None
                }
            };
            match (read(&stores[0]), read(&stores[1])) {
                (Some(left), Some(right)) if left == right => self.equal += 1,
                (Some(_), Some(_)) => {
                    self.different += 1;
                    output!("{}: the measurement {name} differs", key.short());
                }
                _ => self.alone += 1,
            }
        }
        Ok(())
    }
}

/// The blessed reference of a profile of that name, unless there is a folder called so.
fn reference(global: &Global, name: &str) -> Result<Option<Reference>, CliError> {
    let is_name = !name.contains(['/', '\\']) && !Path::new(name).is_dir();
    if is_name { Ok(Reference::of_profile(&global.expected, name)?) } else { Ok(None) }
}

/// A commit's hash, or `None` for the folder of a store.
fn place(name: &str) -> Result<Option<String>, CliError> {
    if Path::new(name).is_dir() {
        return Ok(None);
    }
    let commit = commits::resolve(name);
    let problem = || {
        CliError::Usage(format!(
            "{name}: no such store, and no commit of that name (two references are compared by \
             the names of their profiles)"
        ))
    };
    commit.map(Some).ok_or_else(problem)
}

fn side(global: &Global, name: &str, commit: Option<String>) -> Result<Side, CliError> {
    let Some(commit) = commit else {
        return Ok(Side { name: name.to_owned(), store: PathBuf::from(name), tables: None });
    };
    let made = commits::reproduce(global, &commit)?;
    Ok(Side {
        name: format!("{name} ({})", &commit[..12]),
        store: made.join("runs"),
        tables: Some(made.join("reproduction/tables")),
    })
}

/// The numbers of the profile's cells in a store.
fn stored(global: &Global, path: &Path) -> Result<Numbers, CliError> {
    let session = Session::plan(global)?;
    let store = Store::existing(path)?;
    let results: Vec<ExperimentResult> = Session { store, ..session }.results();
    let mut numbers = Numbers::new();
    for result in &results {
        for cell in &result.cells {
            let name = format!("{} [{}]", result.experiment.id, result.cell_name(cell));
            for metric in result.experiment.metrics.iter().filter(|m| m.regression) {
                // What no verdict may rest on counts as no number here, too.
                let sound = |(seed, value): (u64, f64)| {
                    (seed, if cell.is_poisoned(seed) { f64::NAN } else { value })
                };
                let values = cell.samples(&metric.name).into_iter().map(sound).collect();
                numbers.insert(format!("{name} {}", metric.name), values);
            }
        }
    }
    Ok(numbers)
}

/// How many means differ significantly, and how many could not be compared.
#[derive(Debug, PartialEq)]
struct Shifts {
    shifted: usize,
    /// Of runs that diverged, did not fit what they were to fit, or gave no number.
    unfit: usize,
}

/// Compares means seed by seed, where both sides have the seed, and prints those that differ
/// significantly. A value that is no number is equal to nothing, not even to another such.
fn shifts(left: &Numbers, right: &Numbers) -> Shifts {
    let differences = |name: &String, values: &BTreeMap<u64, f64>| -> Vec<f64> {
        let Some(others) = right.get(name) else { return Vec::new() };
        values.iter().filter_map(|(seed, value)| Some(others.get(seed)? - value)).collect()
    };
    let rows = left.iter().map(|(name, values)| (name, differences(name, values)));
    let is_fit = |row: &(&String, Vec<f64>)| row.1.iter().all(|value| value.is_finite());
    let (rows, unfit): (Vec<_>, Vec<_>) = rows.partition(is_fit);
    for (name, _) in &unfit {
        output!("{name}: not compared, a run diverged, was not fitted or gave no number");
    }
    let rows: Vec<(&String, Vec<f64>)> =
        rows.into_iter().filter(|(_, d)| d.len() >= MIN_SEEDS).collect();
    // As in verification, the probability is shared among all comparisons.
    let level = 1.0 - FALSE_ALARM_RATE / rows.len().max(1) as f64;
    let mut shifted = 0;
    for (name, differences) in &rows {
        let Some([low, high]) = stats::mean_interval(differences, level) else { continue };
        if low > 0.0 || high < 0.0 {
            shifted += 1;
            let (mean, n) = (stats::mean(differences), differences.len());
            output!("{name}: shifted by {mean:.3} [{low:.3}, {high:.3}], n {n}");
        }
    }
    output!(
        "{shifted} of {} compared means shifted significantly (level {FALSE_ALARM_RATE} over all)",
        rows.len()
    );
    Shifts { shifted, unfit: unfit.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[f64]) -> Numbers {
        let by_seed = values.iter().enumerate().map(|(seed, &v)| (seed as u64, v)).collect();
        [("cell metric".to_owned(), by_seed)].into()
    }

    #[test]
    fn a_shift_of_every_seed_is_significant_and_scatter_is_not() {
        let before = numbers(&[70.0, 72.0, 68.0, 71.0]);
        let shifted = |after: &[f64]| shifts(&before, &numbers(after)).shifted;
        assert_eq!(shifted(&[70.0, 72.0, 68.0, 71.0]), 0);
        assert_eq!(shifted(&[72.1, 73.9, 70.0, 73.0]), 1);
        assert_eq!(shifted(&[75.0, 69.0, 70.5, 69.0]), 0);
        assert_eq!(shifted(&[80.0, 82.0]), 0, "two seeds show nothing");
    }

    #[test]
    fn what_is_no_number_is_not_equal_to_anything() {
        let holed = numbers(&[70.0, f64::NAN, 68.0, 71.0]);
        let whole = numbers(&[70.0, 72.0, 68.0, 71.0]);
        for pair in [[&holed, &whole], [&whole, &holed], [&holed, &holed]] {
            assert_eq!(shifts(pair[0], pair[1]), Shifts { shifted: 0, unfit: 1 });
        }
    }
}
