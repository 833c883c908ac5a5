//! Effects as linear combinations of cell means, with a standard error and its degrees of
//! freedom: differences, interactions, contrasts of levels and trends are all of this form.
//! Ratios are differences of logarithms.

use super::stats;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where the spread of an effect comes from. Which one is right depends on how the runs
/// depend on each other: docs/verification.md has the simulations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variance {
    /// From the effects seed by seed: right where the runs of a seed share much.
    Pairs,
    /// From the seeds of each cell by itself (Welch, Satterthwaite's degrees of freedom):
    /// right where cells spread differently.
    #[default]
    Welch,
    /// From all cells of the experiment together: right where they all spread alike.
    Pooled,
}

/// The seeds of one cell, with their weight in the effect.
#[derive(Clone, Debug)]
pub struct Term {
    pub weight: f64,
    /// `(seed, value)` of the runs that nothing is wrong with, on the scale of the effect.
    pub samples: Vec<(u64, f64)>,
}

impl Term {
    fn values(&self, without: Option<u64>) -> Vec<f64> {
        let kept = self.samples.iter().filter(|(seed, _)| Some(*seed) != without);
        kept.map(|(_, value)| *value).collect()
    }
}

/// A spread that is pooled over the cells of an experiment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PooledSpread {
    pub variance: f64,
    pub degrees: f64,
}

impl PooledSpread {
    /// Of groups of values; `None` if no group has two.
    pub fn of<'a>(groups: impl Iterator<Item = &'a [f64]>) -> Option<PooledSpread> {
        let (mut squares, mut degrees) = (0.0, 0.0);
        for group in groups.filter(|group| group.len() > 1) {
            let own = (group.len() - 1) as f64;
            squares += stats::variance(group) * own;
            degrees += own;
        }
        (degrees > 0.0).then(|| PooledSpread { variance: squares / degrees, degrees })
    }
}

/// An effect with what is known of its error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    pub effect: f64,
    pub standard_error: f64,
    pub degrees: f64,
    /// Seeds of the cell that has the fewest.
    pub n: usize,
}

impl Estimate {
    /// The effect of weighted cells; `without` leaves one seed out. `None` if a cell has fewer
    /// than two seeds, or no pooled spread is there where one is asked for.
    pub fn of(
        terms: &[Term],
        variance: Variance,
        pooled: Option<PooledSpread>,
        without: Option<u64>,
    ) -> Option<Estimate> {
        if variance == Variance::Pairs {
            return Estimate::paired(terms, without);
        }
        let (mut effect, mut total, mut squares, mut fewest) = (0.0, 0.0, 0.0, usize::MAX);
        for term in terms {
            let values = term.values(without);
            if values.len() < 2 {
                return None;
            }
            let n = values.len() as f64;
            effect += term.weight * stats::mean(&values);
            let spread = match variance {
                Variance::Pooled => pooled?.variance,
                _ => stats::variance(&values),
            };
            let own = term.weight * term.weight * spread / n;
            total += own;
            squares += own * own / (n - 1.0);
            fewest = fewest.min(values.len());
        }
        let degrees = match variance {
            Variance::Pooled => pooled?.degrees,
            _ if squares > 0.0 => total * total / squares,
            _ => (fewest - 1) as f64,
        };
        Some(Estimate { effect, standard_error: total.sqrt(), degrees, n: fewest })
    }

    /// From the effects of the seeds that all cells have.
    fn paired(terms: &[Term], without: Option<u64>) -> Option<Estimate> {
        let by_seed = |term: &Term| term.samples.iter().copied().collect::<BTreeMap<u64, f64>>();
        let cells: Vec<BTreeMap<u64, f64>> = terms.iter().map(by_seed).collect();
        let seeds: BTreeSet<u64> = cells.first()?.keys().copied().collect();
        let everywhere =
            |seed: &u64| Some(*seed) != without && cells.iter().all(|cell| cell.contains_key(seed));
        let effects: Vec<f64> = seeds
            .into_iter()
            .filter(everywhere)
            .map(|seed| {
                terms.iter().zip(&cells).map(|(term, cell)| term.weight * cell[&seed]).sum()
            })
            .collect();
        (effects.len() > 1).then(|| Estimate {
            effect: stats::mean(&effects),
            standard_error: stats::standard_error(&effects),
            degrees: (effects.len() - 1) as f64,
            n: effects.len(),
        })
    }

    /// Two-sided interval at a confidence level.
    pub fn interval(&self, level: f64) -> [f64; 2] {
        let half = stats::t_quantile(0.5 + level / 2.0, self.degrees) * self.standard_error;
        let half = if self.standard_error == 0.0 { 0.0 } else { half };
        [self.effect - half, self.effect + half]
    }

    /// Probability of two effects so far apart, or farther, if they are estimates of the same.
    pub fn difference_probability(&self, other: &Estimate) -> f64 {
        let square = |x: f64| x * x;
        let (a, b) = (square(self.standard_error), square(other.standard_error));
        if a + b == 0.0 {
            return f64::from(u8::from(self.effect == other.effect));
        }
        let degrees = square(a + b) / (square(a) / self.degrees + square(b) / other.degrees);
        stats::two_sided((self.effect - other.effect) / (a + b).sqrt(), degrees)
    }

    /// Probability that `n` seeds a cell lead to a decision, should effect and spread be as
    /// estimated here: the interval of `level` between the bounds, or beyond one of them.
    pub fn power(&self, n: usize, level: f64, [low, high]: [f64; 2]) -> f64 {
        let scale = (self.n as f64 / n as f64).sqrt();
        let error = self.standard_error * scale;
        let degrees = self.degrees * (n as f64 - 1.0) / (self.n as f64 - 1.0).max(1.0);
        if error == 0.0 {
            return 1.0;
        }
        let critical = stats::t_quantile(0.5 + level / 2.0, degrees);
        let reach = |distance: f64| match distance {
            d if d == f64::INFINITY => 1.0,
            d => stats::t_cdf(d / error - critical, degrees),
        };
        if low < self.effect && self.effect < high {
            (reach(self.effect - low) + reach(high - self.effect) - 1.0).max(0.0)
        } else {
            reach((low - self.effect).max(self.effect - high))
        }
    }

    /// Smallest number of seeds with at least this power; `None` if more than `most`.
    pub fn seeds_for(
        &self,
        power: f64,
        level: f64,
        bounds: [f64; 2],
        most: usize,
    ) -> Option<usize> {
        let enough = |n: usize| self.power(n, level, bounds) >= power;
        // Power rises with n: halve the range.
        let (mut below, mut above) = (2, most);
        if !enough(most) {
            return None;
        }
        while above - below > 1 {
            let middle = below.midpoint(above);
            if enough(middle) { above = middle } else { below = middle }
        }
        Some(above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(weight: f64, values: &[f64]) -> Term {
        let samples = values.iter().enumerate().map(|(seed, &v)| (seed as u64, v)).collect();
        Term { weight, samples }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6 * b.abs().max(1.0)
    }

    #[test]
    fn welch_as_scipy_has_it() {
        // scipy.stats.ttest_ind(a, b, equal_var=False): t 2.6968, df 5.0987; interval
        // [0.1416, 5.2584] at 95%.
        let terms = [term(1.0, &[5.0, 7.0, 6.0, 9.0, 8.0]), term(-1.0, &[4.0, 4.5, 4.4])];
        let estimate = Estimate::of(&terms, Variance::Welch, None, None).unwrap();
        assert!(close(estimate.effect, 2.7), "{estimate:?}");
        let (a, b): (f64, f64) = (2.5 / 5.0, 0.07 / 3.0);
        assert!(close(estimate.standard_error, (a + b).sqrt()), "{estimate:?}");
        assert!(close(estimate.degrees, (a + b) * (a + b) / (a * a / 4.0 + b * b / 2.0)));
        assert_eq!(estimate.n, 3);
        let left = Estimate::of(&terms, Variance::Welch, None, Some(3)).unwrap();
        assert!(close(left.effect, 6.5 - 4.3), "{left:?}");
    }

    #[test]
    fn pairs_and_pooled() {
        let terms = [term(1.0, &[5.0, 7.0, 6.0]), term(-1.0, &[4.0, 5.0, 5.5])];
        let pairs = Estimate::of(&terms, Variance::Pairs, None, None).unwrap();
        assert!(close(pairs.effect, 3.5 / 3.0) && pairs.degrees == 2.0, "{pairs:?}");
        let spread = PooledSpread::of([&[1.0, 3.0][..], &[2.0, 2.0, 5.0]].into_iter()).unwrap();
        assert!(close(spread.variance, 8.0 / 3.0) && spread.degrees == 3.0);
        let pooled = Estimate::of(&terms, Variance::Pooled, Some(spread), None).unwrap();
        assert!(close(pooled.standard_error, (8.0f64 / 9.0 * 2.0).sqrt()), "{pooled:?}");
    }

    #[test]
    fn an_interaction_adds_the_errors_of_four_cells() {
        let cells = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [1.0, 1.5, 2.0], [0.0, 0.5, 1.0]];
        let weights = [1.0, -1.0, -1.0, 1.0];
        let terms: Vec<Term> = cells.iter().zip(weights).map(|(v, w)| term(w, v)).collect();
        let estimate = Estimate::of(&terms, Variance::Welch, None, None).unwrap();
        assert!(close(estimate.effect, 2.0 - 5.0 - 1.5 + 0.5));
        assert!(close(estimate.standard_error, (2.5f64 / 3.0).sqrt()));
    }

    #[test]
    fn seeds_that_give_the_power() {
        // One bound one unit away, standard error 1 with 10 seeds of one cell pair.
        let estimate = Estimate { effect: 1.0, standard_error: 1.0, degrees: 18.0, n: 10 };
        let bounds = [0.0, f64::INFINITY];
        let seeds = |power| estimate.seeds_for(power, 0.95, bounds, 1000).unwrap();
        // Two-sample t test, effect 1 at a spread of sqrt(5): 80% at 80, 90% at 107 a group
        // (statsmodels: 79.5 and 106.1 with the noncentral t).
        assert!((79..=81).contains(&seeds(0.8)), "{}", seeds(0.8));
        assert!((105..=108).contains(&seeds(0.9)), "{}", seeds(0.9));
        assert_eq!(estimate.seeds_for(0.8, 0.95, [0.999_9, f64::INFINITY], 1000), None);
    }
}
