//! Is this what our reference gave? Exact where the same numerics must give the same bits,
//! seed by seed; elsewhere no farther apart than chance allows.
//!
//! Three families of tests share [`FALSE_ALARM_RATE`], each with Holm's adjustment over all
//! of its tests, which holds however the numbers depend on each other: one two-sided test a
//! number, whose spread is moderated by that of the experiment's other cells
//! ([`moderate`]), one shift and one spread of all cells of an experiment ([`together`]).

mod cell;
mod moderate;
mod together;

use super::Case;
use super::claims::{Claim, Claims, Scale};
use super::outcome::{RegressionOutcome, RegressionStatus};
use super::reference::{MIN_REFERENCE_SEEDS, Reference, ReferenceValue, tolerances};
use super::stats;
use crate::experiments::Metric;
use crate::experiments::results::{CellResult, ExperimentResult};
use crate::spec::TRAINING_SEMANTICS;
use cell::Comparison;

/// Probability that a verification of unchanged code with fresh seeds or other numerics
/// reports any number as outside: 3 of the 5 percent that the exit code has; claims have the
/// rest ([`super::departure::FALSE_ALARM_RATE`]).
pub const FALSE_ALARM_RATE: f64 = CELL_RATE + SHIFT_RATE + SPREAD_RATE;
/// Of the numbers one by one.
const CELL_RATE: f64 = 0.02;
/// Of the experiments' shifts.
const SHIFT_RATE: f64 = 0.005;
/// Of the experiments' spreads.
const SPREAD_RATE: f64 = 0.005;
/// A single new seed shows nothing.
pub const MIN_NEW_SEEDS: usize = 2;
/// Probability with which the shift printed as detectable is found.
pub const POWER: f64 = 0.8;

/// Compares every number of the case's results that the reference has, and names those that
/// one of the two lacks.
pub fn compare(case: &Case<'_>, reference: &Reference) -> Vec<RegressionOutcome> {
    let numbers: Vec<Number<'_>> = case.results.iter().flat_map(numbers).collect();
    let same_numerics = has_same_bits(case, reference);
    let mut outcomes = Vec::new();
    let mut comparisons: Vec<Comparison> = Vec::new();
    for number in &numbers {
        let mut outcome = number.blank(case.claims);
        if let Some(mut comparison) = number.look(&mut outcome, reference, same_numerics) {
            comparison.place = outcomes.len();
            comparisons.push(comparison);
        }
        outcomes.push(outcome);
    }
    moderate::moderate(&mut comparisons);
    cell::judge(&mut outcomes, &comparisons, CELL_RATE);
    outcomes.extend(together::shifts(&comparisons, SHIFT_RATE));
    outcomes.extend(together::spreads(&comparisons, SPREAD_RATE));
    let is_lost = |blessed: &&ReferenceValue| {
        case.includes(&blessed.experiment)
            && !numbers.iter().any(|n| {
                n.experiment == blessed.experiment
                    && n.cell_name == blessed.cell
                    && n.metric.name == blessed.metric
            })
    };
    outcomes.extend(reference.values.iter().filter(is_lost).map(lost));
    outcomes
}

/// Says of how many numbers the declared tolerances are others than the blessed ones, which are
/// those that count.
pub fn other_tolerances(case: &Case<'_>, reference: &Reference) -> Option<String> {
    let differs = |number: &Number<'_>| {
        let blessed = reference.value(number.experiment, &number.cell_name, &number.metric.name);
        blessed
            .is_some_and(|b| (b.resolution, b.max_spread) != tolerances(number.metric, &b.values))
    };
    let numbers = case.results.iter().flat_map(numbers).filter(differs);
    let names: Vec<String> =
        numbers.map(|n| format!("{} [{}] {}", n.experiment, n.cell_name, n.metric.name)).collect();
    let first = names.first()?;
    Some(format!(
        "resolution or max_spread of {} numbers ({first}{}) are declared otherwise than they were \
         blessed: bless them",
        names.len(),
        if names.len() > 1 { ", ..." } else { "" }
    ))
}

/// Bits are promised on the reference's platform, for what a run meant then.
fn has_same_bits(case: &Case<'_>, reference: &Reference) -> bool {
    reference.platform.agrees(case.platform) && reference.semantics == TRAINING_SEMANTICS
}

/// How numbers are compared with a reference, and why.
pub fn basis(case: &Case<'_>, reference: &Reference) -> String {
    let [own, blessed] = [case.platform, &reference.platform];
    if has_same_bits(case, reference) {
        return format!("bit for bit, both of {}", own.numerics);
    }
    let why = if reference.semantics != TRAINING_SEMANTICS {
        format!("of training semantics {}, now {TRAINING_SEMANTICS}", reference.semantics)
    } else if own.numerics != blessed.numerics {
        format!("of the numerics '{}', here '{}'", blessed.numerics, own.numerics)
    } else {
        format!("made on {}, these on {}", blessed.device, own.device)
    };
    format!("within tolerances, since the reference is {why}")
}

/// A blessed number that nothing here declares any longer.
fn lost(blessed: &ReferenceValue) -> RegressionOutcome {
    RegressionOutcome {
        expected: blessed.mean(),
        note: "blessed, and no longer among the numbers that the profile declares".to_owned(),
        ..blank(&blessed.experiment, &blessed.cell, &blessed.metric)
    }
}

/// An outcome of which nothing is known yet.
fn blank(experiment: &str, cell: &str, metric: &str) -> RegressionOutcome {
    RegressionOutcome {
        experiment: experiment.to_owned(),
        cell: cell.to_owned(),
        metric: metric.to_owned(),
        status: RegressionStatus::Missing,
        value: None,
        expected: None,
        tolerance: None,
        detectable: None,
        margin: None,
        probability: None,
        note: String::new(),
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
    fn blank(&self, claims: &Claims) -> RegressionOutcome {
        let samples: Vec<f64> = self.cell.values(&self.metric.name);
        let value = (!samples.is_empty()).then(|| stats::mean(&samples));
        let blank = blank(self.experiment, &self.cell_name, &self.metric.name);
        let margin = smallest_margin(claims, (self.experiment, &self.metric.name), value);
        RegressionOutcome { value, margin, ..blank }
    }

    /// Fills in what can be said without statistics; what is left for those, if anything.
    fn look(
        &self,
        outcome: &mut RegressionOutcome,
        reference: &Reference,
        same_numerics: bool,
    ) -> Option<Comparison> {
        let blessed = reference.value(self.experiment, &self.cell_name, &self.metric.name);
        let (status, note) = match blessed {
            None => (RegressionStatus::Missing, "not in the reference: bless it".to_owned()),
            Some(blessed) => {
                outcome.expected = blessed.mean();
                match self.problem(blessed) {
                    Some(problem) => problem,
                    None => match self.bits(outcome, blessed, same_numerics) {
                        Some(decided) => decided,
                        None => match self.comparison(blessed) {
                            Ok(comparison) => return Some(comparison),
                            Err(note) => (RegressionStatus::TooFew, note),
                        },
                    },
                }
            }
        };
        outcome.status = status;
        outcome.note = note;
        None
    }

    /// Why this number can be neither exact nor within, if so.
    fn problem(&self, blessed: &ReferenceValue) -> Option<(RegressionStatus, String)> {
        if let Some(problem) = self.cell.poison().into_iter().next() {
            return Some((RegressionStatus::Excluded, problem));
        }
        if !blessed.excluded.is_empty() {
            let seeds: Vec<String> = blessed.excluded.iter().map(u64::to_string).collect();
            let note = format!("blessed without the excluded seeds {}", seeds.join(", "));
            return Some((RegressionStatus::Excluded, note));
        }
        let seeds = &self.cell.seeds;
        let absent = seeds.iter().filter(|seed| seed.run.is_none()).count();
        if absent > 0 {
            let note = format!("{absent} of {} runs are not there", seeds.len());
            return Some((RegressionStatus::Missing, note));
        }
        let samples = self.cell.samples(&self.metric.name);
        if samples.len() < seeds.len() {
            let without = seeds.len() - samples.len();
            let note = format!("{without} of {} runs lack this number", seeds.len());
            return Some((RegressionStatus::Missing, note));
        }
        let (seed, _) = samples.iter().find(|(_, value)| !value.is_finite())?;
        let note = format!("seed {seed} gives no number");
        // The other run of a gap may be excluded, and then says so where it stands.
        let is_gap = self.metric.name.starts_with("gap.");
        Some((if is_gap { RegressionStatus::Excluded } else { RegressionStatus::Outside }, note))
    }

    /// On the reference's own numerics: the bits of every seed that is blessed, however many
    /// more there are.
    fn bits(
        &self,
        outcome: &mut RegressionOutcome,
        blessed: &ReferenceValue,
        same_numerics: bool,
    ) -> Option<(RegressionStatus, String)> {
        let samples = self.cell.samples(&self.metric.name);
        let pairs = shared(blessed, &samples);
        if !same_numerics || pairs.is_empty() {
            return None;
        }
        let mean =
            |pick: fn(&(f64, f64)) -> f64| stats::mean(&pairs.iter().map(pick).collect::<Vec<_>>());
        outcome.value = Some(mean(|pair| pair.1));
        outcome.expected = Some(mean(|pair| pair.0));
        outcome.tolerance = Some(0.0);
        outcome.detectable = Some(0.0);
        let different = pairs.iter().filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        if different > 0 {
            let note = format!(
                "{different} of {} seeds differ in their bits on the reference's own numerics",
                pairs.len()
            );
            return Some((RegressionStatus::Outside, note));
        }
        let (more, fewer) = (samples.len() - pairs.len(), blessed.values.len() - pairs.len());
        let note = match (more, fewer) {
            (0, 0) => String::new(),
            (0, _) => format!("{fewer} of the blessed seeds are not here"),
            (_, 0) => format!("{more} more seeds are not blessed"),
            _ => format!("{fewer} of the blessed seeds are not here, and {more} more are"),
        };
        Some((RegressionStatus::Exact, note))
    }

    fn comparison(&self, blessed: &ReferenceValue) -> Result<Comparison, String> {
        let samples = self.cell.samples(&self.metric.name);
        if blessed.values.len() < MIN_REFERENCE_SEEDS {
            let n = blessed.values.len();
            return Err(format!(
                "the reference has {n} seeds, a tolerance needs {MIN_REFERENCE_SEEDS}"
            ));
        }
        if samples.len() < MIN_NEW_SEEDS {
            return Err(format!(
                "{} new seed: at least {MIN_NEW_SEEDS} are compared",
                samples.len()
            ));
        }
        let spread = stats::standard_deviation(&blessed.values);
        if spread > blessed.max_spread {
            return Err(format!(
                "the reference is refused: its seeds spread by {spread:.3}, more than {:.3}",
                blessed.max_spread
            ));
        }
        let pair = |(seed, value): (&u64, &f64)| (*seed, *value);
        let blessed_samples = blessed.seeds.iter().zip(&blessed.values).map(pair).collect();
        Ok(Comparison::new(
            (self.experiment, &self.metric.name),
            blessed_samples,
            samples,
            blessed.resolution,
        ))
    }
}

/// `(blessed, new)` values of the seeds that both have.
fn shared(blessed: &ReferenceValue, samples: &[(u64, f64)]) -> Vec<(f64, f64)> {
    let pair = |(seed, value): &(u64, f64)| {
        let place = blessed.seeds.iter().position(|s| s == seed)?;
        Some((blessed.values[place], *value))
    };
    samples.iter().filter_map(pair).collect()
}

/// Smallest margin of the experiment's claims on a metric (or on its gap), in the metric's unit
/// around a value; of all claims on it, if the experiment has none.
fn smallest_margin(
    claims: &Claims,
    (experiment, metric): (&str, &str),
    value: Option<f64>,
) -> Option<f64> {
    let bare = |name: &str| name.strip_prefix("gap.").unwrap_or(name).to_owned();
    let is_on_metric = |claim: &&Claim| {
        let metrics = claim.part.iter().map(|part| part.metric.as_ref().unwrap_or(&claim.metric));
        { metrics }.any(|name| bare(name) == bare(metric))
    };
    let all: Vec<&Claim> = claims.claim.iter().filter(is_on_metric).collect();
    let has_own = all.iter().any(|claim| claim.experiment == experiment);
    let mut margins = Vec::new();
    for claim in all {
        if has_own && claim.experiment != experiment {
            continue;
        }
        match claim.scale {
            Scale::Difference => margins.push(claim.margin),
            Scale::Ratio => margins.extend(value.map(|v| (v * (claim.margin - 1.0)).abs())),
        }
    }
    margins.into_iter().filter(|margin| *margin > 0.0).min_by(f64::total_cmp)
}
