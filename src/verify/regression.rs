//! Is this what our reference gave? Exact where the same platform must give the same bits;
//! elsewhere within tolerances that come from the spread of the reference seeds.
//!
//! Many numbers are compared at once: the rate of false alarms over a whole verification is
//! held at [`FALSE_ALARM_RATE`] by giving each of the K comparisons a K-th of it
//! (Bonferroni, which holds however the numbers depend on each other).

use super::outcome::{RegressionOutcome, RegressionStatus};
use super::reference::{Reference, ReferenceValue};
use super::{Case, stats};
use crate::experiments::Metric;
use crate::experiments::results::{CellResult, ExperimentResult};
use crate::spec::TRAINING_SEMANTICS;

/// Probability that a verification of unchanged code with fresh seeds or on another platform
/// reports any number as outside.
pub const FALSE_ALARM_RATE: f64 = 0.05;
/// A reference of fewer seeds gives no tolerance.
pub const FEWEST_REFERENCE_SEEDS: usize = 3;
/// A tolerance of more than this many times the largest spread that a reference may have does
/// not count as a check.
const WEAK: f64 = 2.0;
/// Probability with which the shift printed as detectable is found.
pub const POWER: f64 = 0.8;

/// Compares every number of `results` that the reference has, and names those it lacks.
pub fn compare(case: &Case<'_>, reference: &Reference) -> Vec<RegressionOutcome> {
    let numbers: Vec<Number<'_>> = case.results.iter().flat_map(numbers).collect();
    let comparisons = numbers.iter().filter(|n| n.reference(reference).is_some()).count();
    // Bits are promised on the reference's platform, for what a run meant then.
    let same_platform =
        reference.platform.agrees(case.platform) && reference.semantics == TRAINING_SEMANTICS;
    let compared = numbers.iter().map(|n| n.compare(reference, same_platform, comparisons.max(1)));
    let is_lost = |blessed: &&ReferenceValue| {
        case.includes(&blessed.experiment)
            && !numbers.iter().any(|n| {
                n.experiment == blessed.experiment
                    && n.cell_name == blessed.cell
                    && n.metric.name == blessed.metric
            })
    };
    compared.chain(reference.values.iter().filter(is_lost).map(lost)).collect()
}

/// A blessed number that nothing here declares any longer.
fn lost(blessed: &ReferenceValue) -> RegressionOutcome {
    RegressionOutcome {
        experiment: blessed.experiment.clone(),
        cell: blessed.cell.clone(),
        metric: blessed.metric.clone(),
        status: RegressionStatus::Missing,
        value: None,
        expected: blessed.mean(),
        tolerance: None,
        detectable: None,
        note: "blessed, and no longer among the numbers that the profile declares".to_owned(),
    }
}

struct Number<'a> {
    experiment: &'a str,
    cell_name: String,
    cell: &'a CellResult,
    metric: &'a Metric,
}

fn numbers(result: &ExperimentResult) -> impl Iterator<Item = Number<'_>> {
    let compared = || result.experiment.metrics.iter().filter(|m| m.regression);
    result.cells.iter().flat_map(move |cell| {
        let experiment = &result.experiment;
        compared().filter(|m| experiment.applies_to(m, &cell.levels)).map(move |metric| Number {
            experiment: &result.experiment.id,
            cell_name: result.cell_name(cell),
            cell,
            metric,
        })
    })
}

impl Number<'_> {
    fn reference<'r>(&self, reference: &'r Reference) -> Option<&'r ReferenceValue> {
        reference.value(self.experiment, &self.cell_name, &self.metric.name)
    }

    fn compare(
        &self,
        reference: &Reference,
        same_platform: bool,
        comparisons: usize,
    ) -> RegressionOutcome {
        let samples = self.cell.samples(&self.metric.name);
        let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
        let mut outcome = RegressionOutcome {
            experiment: self.experiment.to_owned(),
            cell: self.cell_name.clone(),
            metric: self.metric.name.clone(),
            status: RegressionStatus::Missing,
            value: (!values.is_empty()).then(|| stats::mean(&values)),
            expected: None,
            tolerance: None,
            detectable: None,
            note: String::new(),
        };
        let Some(blessed) = self.reference(reference) else {
            outcome.note = "not in the reference: bless it".to_owned();
            return outcome;
        };
        outcome.expected = blessed.mean();
        if let Some(problem) = self.cell.poison().into_iter().next() {
            outcome.note = problem;
            outcome.status = RegressionStatus::Excluded;
            return outcome;
        }
        if !blessed.excluded.is_empty() {
            let seeds: Vec<String> = blessed.excluded.iter().map(u64::to_string).collect();
            outcome.note = format!("blessed without the excluded seeds {}", seeds.join(", "));
            outcome.status = RegressionStatus::Excluded;
            return outcome;
        }
        let seeds = &self.cell.seeds;
        let absent = seeds.iter().filter(|seed| seed.run.is_none()).count();
        if absent > 0 {
            outcome.note = format!("{absent} of {} runs are not there", seeds.len());
            return outcome;
        }
        if samples.len() < seeds.len() {
            let without = seeds.len() - samples.len();
            outcome.note = format!("{without} of {} runs lack this number", seeds.len());
            return outcome;
        }
        if let Some((seed, _)) = samples.iter().find(|(_, value)| !value.is_finite()) {
            outcome.note = format!("seed {seed} gives no number");
            outcome.status = RegressionStatus::Outside;
            return outcome;
        }
        let pairs: Vec<(f64, f64)> = samples
            .iter()
            .filter_map(|(seed, value)| {
                let place = blessed.seeds.iter().position(|s| s == seed)?;
                Some((*value, blessed.values[place]))
            })
            .collect();
        if same_platform && pairs.len() == samples.len() {
            let different = pairs.iter().filter(|(a, b)| a.to_bits() != b.to_bits()).count();
            outcome.tolerance = Some(0.0);
            outcome.detectable = Some(0.0);
            outcome.status =
                if different == 0 { RegressionStatus::Exact } else { RegressionStatus::Outside };
            if different > 0 {
                outcome.note = format!(
                    "{different} of {} seeds differ in their bits on the reference's own platform",
                    pairs.len()
                );
            }
            return outcome;
        }
        self.within(&mut outcome, blessed, &values, comparisons);
        outcome
    }

    fn within(
        &self,
        outcome: &mut RegressionOutcome,
        blessed: &ReferenceValue,
        values: &[f64],
        comparisons: usize,
    ) {
        outcome.status = RegressionStatus::TooFew;
        if blessed.values.len() < FEWEST_REFERENCE_SEEDS || values.is_empty() {
            outcome.note = format!(
                "the reference has {} seeds, a tolerance needs {FEWEST_REFERENCE_SEEDS}",
                blessed.values.len()
            );
            return;
        }
        let spread = stats::standard_deviation(&blessed.values);
        let cap = self.metric.spread_cap(stats::mean(&blessed.values));
        if spread > cap {
            outcome.note = format!(
                "the reference is refused: its seeds spread by {spread:.3}, more than {cap:.3}"
            );
            return;
        }
        let rate = FALSE_ALARM_RATE / comparisons as f64;
        let least = self.metric.resolution;
        let tolerance = stats::tolerance(&blessed.values, values, rate).max(least);
        let shift = stats::detectable_shift(&blessed.values, values.len(), rate, least, POWER);
        outcome.tolerance = Some(tolerance);
        outcome.detectable = Some(shift);
        let difference = stats::mean(values) - stats::mean(&blessed.values);
        outcome.status = if difference.abs() > tolerance {
            RegressionStatus::Outside
        } else if tolerance > WEAK * cap {
            outcome.note = format!(
                "so few seeds ({}) see only a shift beyond {:.3}: bless more of them",
                blessed.values.len(),
                WEAK * cap
            );
            RegressionStatus::Weak
        } else {
            RegressionStatus::Within
        };
    }
}
