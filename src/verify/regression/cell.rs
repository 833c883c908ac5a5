//! One number: a two-sided test of the difference of means.

use super::{POWER, RegressionOutcome, RegressionStatus};
use crate::verify::stats;
use std::collections::BTreeMap;

/// Two groups of seeds of one number of one cell.
pub struct Comparison {
    /// Place of its outcome.
    pub place: usize,
    pub experiment: String,
    pub metric: String,
    /// `(seed, value)`.
    pub blessed: Vec<(u64, f64)>,
    pub new: Vec<(u64, f64)>,
    /// Whether the new seeds are all among the blessed ones: their differences are then
    /// compared seed by seed, since the runs of a seed share their data and their draws.
    pub is_paired: bool,
    pub difference: f64,
    /// Variance of one value (of one difference of a pair), and its degrees of freedom.
    pub variance: f64,
    pub degrees: f64,
    /// Times the variance: the squared standard error of the difference.
    pub factor: f64,
    pub resolution: f64,
    /// Least variance of a value: what rounding to the resolution gives.
    pub floor: f64,
    /// The variance that is used, with what the other cells say of it.
    pub moderated: Moderated,
}

/// A variance with its degrees of freedom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moderated {
    pub variance: f64,
    pub degrees: f64,
}

/// Fewer pairs are compared as two groups.
const MIN_PAIRS: usize = 3;
/// Pairs are never taken to agree more closely than if their values correlated by this much:
/// other numerics may move every seed a little the same way, which is no departure.
const MAX_CORRELATION: f64 = 0.96;

impl Comparison {
    pub fn new(
        (experiment, metric): (&str, &str),
        blessed: Vec<(u64, f64)>,
        new: Vec<(u64, f64)>,
        resolution: f64,
    ) -> Comparison {
        let by_seed: BTreeMap<u64, f64> = blessed.iter().copied().collect();
        let pair = |(seed, value): &(u64, f64)| Some(value - by_seed.get(seed)?);
        let differences: Vec<f64> = new.iter().filter_map(pair).collect();
        let is_paired = differences.len() == new.len() && new.len() >= MIN_PAIRS;
        let values = |samples: &[(u64, f64)]| samples.iter().map(|s| s.1).collect::<Vec<f64>>();
        let (old, fresh) = (values(&blessed), values(&new));
        let (n, m) = (old.len() as f64, fresh.len() as f64);
        let squares = stats::variance(&old) * (n - 1.0) + stats::variance(&fresh) * (m - 1.0);
        let (difference, variance, degrees, factor) = if is_paired {
            let least = 2.0 * (1.0 - MAX_CORRELATION) * squares / (n + m - 2.0);
            let variance = stats::variance(&differences).max(least);
            (stats::mean(&differences), variance, m - 1.0, 1.0 / m)
        } else {
            let degrees = n + m - 2.0;
            (stats::mean(&fresh) - stats::mean(&old), squares / degrees, degrees, 1.0 / n + 1.0 / m)
        };
        // Rounding to the resolution alone spreads a value by this much; without one, what
        // the arithmetic of the mean may lose.
        let scale = old.iter().chain(&fresh).fold(0.0f64, |most, x| most.max(x.abs()));
        let floor = (resolution * resolution / 12.0).max(1e-24 * scale * scale).max(1e-300);
        let variance = variance.max(floor);
        let moderated = Moderated { variance, degrees };
        let (experiment, metric) = (experiment.to_owned(), metric.to_owned());
        Comparison {
            place: 0,
            experiment,
            metric,
            blessed,
            new,
            is_paired,
            difference,
            variance,
            degrees,
            factor,
            resolution,
            floor,
            moderated,
        }
    }

    /// Standard error of the difference.
    fn error(&self) -> f64 {
        (self.moderated.variance * self.factor).sqrt()
    }

    /// Two-sided probability of the difference by chance; a difference within the resolution
    /// of the metric is none.
    pub fn probability(&self) -> f64 {
        if self.difference.abs() <= self.resolution {
            return 1.0;
        }
        stats::two_sided(self.difference / self.error(), self.moderated.degrees)
    }
}

/// Fills in the outcomes of the comparisons.
pub fn judge(outcomes: &mut [RegressionOutcome], comparisons: &[Comparison], rate: f64) {
    let probabilities: Vec<f64> = comparisons.iter().map(Comparison::probability).collect();
    let adjusted = stats::holm(&probabilities);
    let first = rate / comparisons.len().max(1) as f64;
    for (comparison, adjusted) in comparisons.iter().zip(adjusted) {
        let outcome = &mut outcomes[comparison.place];
        let error = comparison.error();
        let critical = stats::t_quantile(1.0 - first / 2.0, comparison.moderated.degrees) * error;
        let tolerance = critical.max(comparison.resolution);
        let detectable = tolerance + stats::normal_quantile(POWER) * error;
        outcome.tolerance = Some(tolerance);
        outcome.detectable = Some(detectable);
        outcome.probability = Some(adjusted);
        outcome.status = match outcome.margin {
            _ if adjusted <= rate => {
                outcome.note = format!("such a difference comes by chance with p = {adjusted:.1e}");
                RegressionStatus::Outside
            }
            Some(margin) if detectable > margin => {
                outcome.note = format!(
                    "so few seeds see only a shift of {detectable:.3} or more, and claims on \
                     this metric rest on {margin:.3}: bless more of them"
                );
                RegressionStatus::TooWeak
            }
            _ => RegressionStatus::Within,
        };
    }
}
