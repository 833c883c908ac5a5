//! All cells of an experiment together: a shift too small to show in any one cell, and a
//! spread that is no longer what it was. The units of the shift are the seeds, each with the
//! mean over the cells, so that it does not matter how cells depend on each other; those of
//! the spread are the cells, since two seeds of a cell do not deviate from its mean
//! independently.

use super::cell::Comparison;
use super::{RegressionOutcome, RegressionStatus, blank};
use crate::verify::stats;
use std::collections::{BTreeMap, BTreeSet};

/// What the outcomes are called in the place of a cell.
pub const ALL_CELLS: &str = "all cells";

/// Fewer new seeds give no test.
const MIN_TEST_SEEDS: usize = 3;

/// The cells of one experiment that have a metric and are compared in the same way.
struct Group<'a> {
    metric: &'a str,
    cells: Vec<&'a Comparison>,
}

fn experiments(comparisons: &[Comparison]) -> BTreeMap<&str, Vec<Group<'_>>> {
    let mut groups: BTreeMap<(&str, &str, bool), Vec<&Comparison>> = BTreeMap::new();
    for c in comparisons {
        groups.entry((&c.experiment, &c.metric, c.is_paired)).or_default().push(c);
    }
    let mut experiments: BTreeMap<&str, Vec<Group<'_>>> = BTreeMap::new();
    for ((experiment, metric, _), cells) in groups {
        if cells.len() > 1 {
            experiments.entry(experiment).or_default().push(Group { metric, cells });
        }
    }
    experiments
}

/// One outcome an experiment: do its cells' means, all together, stand where they stood?
pub fn shifts(comparisons: &[Comparison], rate: f64) -> Vec<RegressionOutcome> {
    let test = |group: &Group<'_>| {
        let scaled = |cell: &Comparison, value: f64| value / cell.moderated.variance.sqrt();
        let is_paired = group.cells.iter().all(|cell| cell.is_paired);
        if is_paired {
            let difference = |cell: &Comparison, seed: u64| {
                let of = |samples: &[(u64, f64)]| samples.iter().find(|s| s.0 == seed).map(|s| s.1);
                Some(scaled(cell, of(&cell.new)? - of(&cell.blessed)?))
            };
            let scores = scores(&group.cells, |cell| &cell.new, difference);
            let least = 1.0 / group.cells.len() as f64;
            return (scores.len() >= MIN_TEST_SEEDS).then(|| one_sample(&scores, least));
        }
        let value = |pick: fn(&Comparison) -> &Vec<(u64, f64)>| {
            let of = move |cell: &Comparison, seed: u64| {
                let found = pick(cell).iter().find(|s| s.0 == seed)?;
                // From the blessed mean, so that no digits are lost.
                let center: f64 = cell.blessed.iter().map(|s| s.1).sum::<f64>();
                Some(scaled(cell, found.1 - center / cell.blessed.len() as f64))
            };
            scores(&group.cells, pick, of)
        };
        two_samples(&value(|cell| &cell.blessed), &value(|cell| &cell.new))
    };
    outcomes(comparisons, rate, "shift of all means", test)
}

/// One outcome an experiment: do its seeds scatter as they did?
pub fn spreads(comparisons: &[Comparison], rate: f64) -> Vec<RegressionOutcome> {
    let test = |group: &Group<'_>| {
        if scatter_is_gone(&group.cells) {
            return Some(0.0);
        }
        spread_probability(&group.cells)
    };
    outcomes(comparisons, rate, "spread of all seeds", test)
}

/// Probability of the cells' variances by chance: Student's test of the logarithms of new over
/// blessed variances, one a cell, less what normal values of so few seeds give on average.
/// A cell scatters at least as normal values do, and cells whose seeds deviate together count
/// for less. `None` with fewer than three cells or seeds.
fn spread_probability(cells: &[&Comparison]) -> Option<f64> {
    let enough = |cell: &&Comparison| {
        cell.new.len() >= MIN_TEST_SEEDS && cell.blessed.len() >= MIN_TEST_SEEDS
    };
    if cells.len() < 3 || !cells.iter().all(enough) {
        return None;
    }
    let variance = |samples: &[(u64, f64)], floor: f64| {
        let values: Vec<f64> = samples.iter().map(|sample| sample.1).collect();
        stats::variance(&values).max(floor)
    };
    let log_ratio = |cell: &&Comparison| {
        let [old, new] = [&cell.blessed, &cell.new].map(|s| {
            libm::log(variance(s, cell.floor)) - stats::log_chi_squared_mean((s.len() - 1) as f64)
        });
        new - old
    };
    let logs: Vec<f64> = cells.iter().map(log_ratio).collect();
    let of_normal = |cell: &&Comparison| {
        let [old, new] = [&cell.blessed, &cell.new].map(|s| (s.len() - 1) as f64 / 2.0);
        stats::trigamma(old) + stats::trigamma(new)
    };
    let count = cells.len() as f64;
    let least = cells.iter().map(of_normal).sum::<f64>() / count;
    let together = squared_correlation(cells);
    let share = 1.0 / count + (1.0 - 1.0 / count) * together;
    let error = (stats::variance(&logs).max(least) * share).sqrt();
    Some(stats::two_sided(stats::mean(&logs) / error, count - 1.0))
}

/// Mean squared correlation of the deviations of two cells' blessed seeds, beyond chance.
fn squared_correlation(cells: &[&Comparison]) -> f64 {
    let mut squares = Vec::new();
    for (place, a) in cells.iter().enumerate() {
        for b in &cells[..place] {
            let other = |seed: u64| b.blessed.iter().find(|s| s.0 == seed).map(|s| s.1);
            let pairs = a.blessed.iter().filter_map(|(seed, x)| Some((*x, other(*seed)?)));
            let (x, y): (Vec<f64>, Vec<f64>) = pairs.unzip();
            if x.len() < MIN_TEST_SEEDS {
                continue;
            }
            let (mx, my) = (stats::mean(&x), stats::mean(&y));
            let product: f64 = x.iter().zip(&y).map(|(x, y)| (x - mx) * (y - my)).sum();
            let scale = stats::variance(&x) * stats::variance(&y);
            let degrees = (x.len() - 1) as f64;
            if scale > 0.0 {
                let square = product * product / (scale * degrees * degrees);
                squares.push(square - 1.0 / degrees);
            }
        }
    }
    if squares.is_empty() { 0.0 } else { stats::mean(&squares).clamp(0.0, 1.0) }
}

/// Whether all new seeds gave the very same values in every cell where the blessed ones gave
/// as many values as there are seeds: a seed that is used again and again.
fn scatter_is_gone(cells: &[&Comparison]) -> bool {
    let distinct = |samples: &[(u64, f64)]| {
        samples.iter().map(|sample| sample.1.to_bits()).collect::<BTreeSet<u64>>().len()
    };
    let scattered = |cell: &&&Comparison| distinct(&cell.blessed) == cell.blessed.len();
    let scattered: Vec<&&Comparison> = cells.iter().filter(scattered).collect();
    let stands = |cell: &&&Comparison| cell.new.len() >= MIN_TEST_SEEDS && distinct(&cell.new) == 1;
    scattered.len() > 1 && scattered.iter().all(stands)
}

/// Mean over the cells of a value of each seed that all cells have.
fn scores(
    cells: &[&Comparison],
    pick: fn(&Comparison) -> &Vec<(u64, f64)>,
    value: impl Fn(&Comparison, u64) -> Option<f64>,
) -> Vec<f64> {
    let seeds = cells.first().map(|cell| pick(cell).as_slice()).unwrap_or_default();
    let score = |&(seed, _): &(u64, f64)| {
        let values: Option<Vec<f64>> = cells.iter().map(|cell| value(cell, seed)).collect();
        values.map(|values| stats::mean(&values))
    };
    seeds.iter().filter_map(score).collect()
}

/// Student's test of one group, whose variance is taken to be `least` at least: means over
/// scaled cells do not scatter less than if the cells were independent.
fn one_sample(x: &[f64], least: f64) -> f64 {
    let n = x.len() as f64;
    let error = (stats::variance(x).max(least) / n).sqrt();
    stats::two_sided(stats::mean(x) / error, n - 1.0)
}

/// Student's test of two groups that spread alike; `None` with too few seeds.
fn two_samples(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() < MIN_TEST_SEEDS || b.len() < MIN_TEST_SEEDS {
        return None;
    }
    let (n, m) = (a.len() as f64, b.len() as f64);
    let degrees = n + m - 2.0;
    let squares = stats::variance(a) * (n - 1.0) + stats::variance(b) * (m - 1.0);
    let difference = stats::mean(b) - stats::mean(a);
    let error = (squares / degrees * (1.0 / n + 1.0 / m)).sqrt();
    Some(match error {
        0.0 => f64::from(u8::from(difference == 0.0)),
        _ => stats::two_sided(difference / error, degrees),
    })
}

/// One outcome an experiment: the smallest probability of its metrics, corrected for their
/// number, then for the number of experiments.
fn outcomes(
    comparisons: &[Comparison],
    rate: f64,
    what: &str,
    test: impl Fn(&Group<'_>) -> Option<f64>,
) -> Vec<RegressionOutcome> {
    let mut found: Vec<(&str, &str, f64)> = Vec::new();
    for (experiment, groups) in experiments(comparisons) {
        let tested = groups.iter().filter_map(|group| Some((group.metric, test(group)?)));
        let tested: Vec<(&str, f64)> = tested.collect();
        let least = tested.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((metric, probability)) = least {
            found.push((experiment, metric, (probability * tested.len() as f64).min(1.0)));
        }
    }
    let adjusted = stats::holm(&found.iter().map(|f| f.2).collect::<Vec<f64>>());
    let outcome = |((experiment, metric, _), adjusted): (&(&str, &str, f64), f64)| {
        let is_outside = adjusted <= rate;
        let note = format!("most of all in {metric}: p = {adjusted:.1e}");
        RegressionOutcome {
            status: if is_outside { RegressionStatus::Outside } else { RegressionStatus::Within },
            probability: Some(adjusted),
            note: if is_outside { note } else { String::new() },
            ..blank(experiment, ALL_CELLS, what)
        }
    };
    found.iter().zip(adjusted).map(outcome).collect()
}
