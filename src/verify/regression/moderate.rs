//! A spread from few seeds is itself uncertain. The cells of an experiment lend each other
//! theirs: each cell's variance is drawn toward that of all the experiment's cells for the
//! same metric, as far as cells are seen to spread alike (Smyth 2004, "Linear models and
//! empirical Bayes methods"; here with the pooled variance, which is the safer side where
//! spreads differ, and at most [`MAX_PRIOR_DEGREES`]).

use super::cell::{Comparison, Moderated};
use crate::verify::stats;
use std::collections::BTreeMap;

/// Weight of the other cells, in degrees of freedom, where all spread alike: more would
/// trust a normal distribution farther out in its tails than accuracies deserve.
const MAX_PRIOR_DEGREES: f64 = 20.0;

/// Sets the moderated variances.
pub fn moderate(comparisons: &mut [Comparison]) {
    let mut groups: BTreeMap<(String, String, bool), Vec<usize>> = BTreeMap::new();
    for (place, comparison) in comparisons.iter().enumerate() {
        let (experiment, metric) = (comparison.experiment.clone(), comparison.metric.clone());
        groups.entry((experiment, metric, comparison.is_paired)).or_default().push(place);
    }
    groups.retain(|_, places| places.len() > 1);
    let prior = prior_degrees(comparisons, groups.values());
    for places in groups.values() {
        let weighted = |weight: fn(&Comparison) -> f64| -> f64 {
            places.iter().map(|&place| weight(&comparisons[place])).sum()
        };
        let pooled = weighted(|c| c.variance * c.degrees) / weighted(|c| c.degrees);
        for &place in places {
            let own = &mut comparisons[place];
            let degrees = prior + own.degrees;
            let variance = (prior * pooled + own.degrees * own.variance) / degrees;
            own.moderated = Moderated { variance, degrees };
        }
    }
}

/// Degrees of freedom that a group's spread is worth for one of its cells: from how much more
/// the logarithms of the variances scatter within groups than chance makes them.
fn prior_degrees<'a>(
    comparisons: &[Comparison],
    groups: impl Iterator<Item = &'a Vec<usize>>,
) -> f64 {
    let (mut squares, mut by_chance, mut degrees) = (0.0, 0.0, 0.0);
    for places in groups {
        let centered = |&place: &usize| {
            let Comparison { variance, degrees, .. } = comparisons[place];
            libm::log(variance) - stats::log_chi_squared_mean(degrees)
        };
        let logs: Vec<f64> = places.iter().map(centered).collect();
        let own = (logs.len() - 1) as f64;
        squares += stats::variance(&logs) * own;
        degrees += own;
        let chance = |&place: &usize| stats::trigamma(comparisons[place].degrees / 2.0);
        by_chance += own * places.iter().map(chance).sum::<f64>() / places.len() as f64;
    }
    if degrees == 0.0 {
        return 0.0;
    }
    let beyond = (squares - by_chance) / degrees;
    if beyond <= 0.0 {
        MAX_PRIOR_DEGREES
    } else {
        MAX_PRIOR_DEGREES.min(2.0 * stats::trigamma_inverse(beyond))
    }
}
