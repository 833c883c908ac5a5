//! `bgm diff`: two stores, run by run.

use super::Failure;
use super::args::{Diff, Global};
use super::session::Session;
use crate::experiments::results::ExperimentResult;
use crate::spec::Key;
use crate::store::Store;
use crate::verify::exit;
use crate::verify::stats;
use std::collections::BTreeSet;

/// Exit code 0 if both hold the same results, 1 if a run or a number differs, 3 if one lacks
/// runs of the other.
pub fn diff(global: &Global, options: &Diff) -> Result<u8, Failure> {
    let open = |path: &std::path::PathBuf| {
        if path.is_dir() {
            Ok(Store::open(path)?)
        } else {
            Err(Failure::Usage(format!("{}: no such store", path.display())))
        }
    };
    let (a, b) = (open(&options.a)?, open(&options.b)?);
    let keys = |store: &Store| -> Result<BTreeSet<Key>, Failure> {
        Ok(store.keys()?.into_iter().collect())
    };
    let (in_a, in_b) = (keys(&a)?, keys(&b)?);
    let (mut same, mut different) = (0, 0);
    for key in in_a.intersection(&in_b) {
        let (left, right) = (a.read(key)?, b.read(key)?);
        if left.result_hash == right.result_hash {
            same += 1;
            continue;
        }
        different += 1;
        let last = |run: &crate::store::StoredRun| {
            run.metrics.last().map_or(f64::NAN, |e| e.test_accuracy)
        };
        println!(
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
    println!(
        "{same} runs equal, {different} different, {only_a} only in {}, {only_b} only in {}",
        options.a.display(),
        options.b.display()
    );
    let shifted = cells(global, &options.a, &options.b)?;
    Ok(match (different + shifted, only_a + only_b) {
        (1.., _) => exit::DEPARTURE,
        (0, 1..) => exit::INCOMPLETE,
        (0, 0) => exit::AS_BLESSED,
    })
}

/// Compares the means of the profile's cells in both stores, seed by seed where both have a
/// seed, and prints those that differ significantly; their number.
fn cells(global: &Global, a: &std::path::Path, b: &std::path::Path) -> Result<usize, Failure> {
    let results = |path: &std::path::Path| -> Result<Vec<ExperimentResult>, Failure> {
        let session = Session::open(global)?;
        Ok(Session { store: Store::open(path)?, ..session }.results())
    };
    let (left, right) = (results(a)?, results(b)?);
    let mut rows = Vec::new();
    for (left, right) in left.iter().zip(&right) {
        for (x, y) in left.cells.iter().zip(&right.cells) {
            for metric in left.experiment.metrics.iter().filter(|m| m.regression) {
                let other = y.samples(&metric.name);
                let differences: Vec<f64> = x
                    .samples(&metric.name)
                    .into_iter()
                    .filter_map(|(seed, value)| {
                        let (_, there) = other.iter().find(|(s, _)| *s == seed)?;
                        Some(there - value)
                    })
                    .collect();
                let name = format!("{} [{}]", left.experiment.id, left.cell_name(x));
                rows.push((name, metric.label.clone(), differences));
            }
        }
    }
    // As in verification, the level is shared among all comparisons.
    let compared = rows.iter().filter(|(.., d)| d.len() >= 3).count().max(1);
    let level = 1.0 - 0.05 / compared as f64;
    let mut shifted = 0;
    for (name, metric, differences) in rows {
        let interval =
            if differences.len() < 3 { None } else { stats::mean_interval(&differences, level) };
        let Some([low, high]) = interval else { continue };
        if low > 0.0 || high < 0.0 {
            shifted += 1;
            println!(
                "{name} {metric}: shifted by {:.3} [{low:.3}, {high:.3}], n {}",
                stats::mean(&differences),
                differences.len()
            );
        }
    }
    println!("{shifted} of {compared} compared means shifted significantly (level 0.05 over all)");
    Ok(shifted)
}
