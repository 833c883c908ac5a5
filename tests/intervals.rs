//! Which spread a claim's interval should come from: pairs of seeds, each cell by itself
//! (Welch), or all cells of the experiment pooled. By simulation at an effect that lies on
//! the bound, where a one-sided test at 2.5% may support in 2.5% of cases, and at one that
//! should be found; and on the blessed runs. `-- --nocapture` prints the tables of
//! docs/verification.md.

mod simulated;

use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::verify::estimate::{Estimate, PooledSpread, Term, Variance};
use bad_global_minima::verify::reference::Reference;
use bad_global_minima::verify::stats;
use simulated::Distribution;
use std::path::PathBuf;

const DRAWS: u64 = 4000;
const VARIANCES: [Variance; 3] = [Variance::Pairs, Variance::Welch, Variance::Pooled];

/// Share of draws, in percent, in which the 95% interval of the difference of two cells lies
/// above the true difference less `power` standard deviations of a value. The seeds of the
/// two share a part of their deviations that makes them correlate by `correlation`.
fn supported(
    distribution: Distribution,
    n: usize,
    variance: Variance,
    correlation: f64,
    distance: f64,
) -> f64 {
    // The cells that are compared are those with the largest and a small spread.
    let places = [9usize, 2];
    let truth = mean(distribution, places[0]) - mean(distribution, places[1]);
    let truth = truth * (1.0 - correlation).sqrt();
    let mut count = 0u32;
    for draw in 0..DRAWS {
        let mut stream = Stream::open(draw, Purpose::Test, &[n as u64, 7]);
        let cells: Vec<Vec<f64>> = (0..10)
            .map(|place| (0..n).map(|_| distribution.value(place, &mut stream)).collect())
            .collect();
        let pooled = PooledSpread::of(cells.iter().map(Vec::as_slice));
        let shared: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let term = |weight: f64, place: usize| {
            let own = (1.0 - correlation).sqrt();
            let mixed = |(seed, value): (usize, &f64)| {
                (seed as u64, own * value + correlation.sqrt() * shared[seed])
            };
            Term { weight, samples: cells[place].iter().enumerate().map(mixed).collect() }
        };
        let terms = [term(1.0, places[0]), term(-1.0, places[1])];
        let estimate = Estimate::of(&terms, variance, pooled, None).unwrap();
        count += u32::from(estimate.interval(0.95)[0] > truth - distance);
    }
    100.0 * f64::from(count) / DRAWS as f64
}

/// True mean of a cell's values.
fn mean(distribution: Distribution, place: usize) -> f64 {
    let mut stream = Stream::open(0, Purpose::Test, &[place as u64, 8]);
    match distribution {
        Distribution::Skewed => 1.0,
        Distribution::NearHundred => {
            let draws = 200_000;
            let sum: f64 = (0..draws).map(|_| distribution.value(place, &mut stream)).sum();
            sum / f64::from(draws)
        }
        _ => 0.0,
    }
}

#[test]
fn welch_holds_its_level_where_pooling_does_not() {
    println!("| distribution | seeds | pairs | Welch | pooled |");
    println!("|---|---|---|---|---|");
    for distribution in Distribution::ALL {
        for n in [3, 5, 10] {
            let at_bound = VARIANCES.map(|v| supported(distribution, n, v, 0.0, 0.0));
            let shown = at_bound.map(|share| format!("{share:.1}%")).join(" | ");
            println!("| {distribution} | {n} | {shown} |");
            let symmetric =
                !matches!(distribution, Distribution::Skewed | Distribution::NearHundred);
            if symmetric {
                assert!(at_bound[1] <= 3.3, "{distribution} {n}: Welch {}", at_bound[1]);
            }
            if distribution == Distribution::Tenfold {
                assert!(at_bound[2] > 5.0, "pooling was thought to fail here: {at_bound:?}");
            }
        }
    }
}

#[test]
fn pairs_pay_only_where_seeds_share_much() {
    println!("| correlation of the cells | seeds | pairs | Welch | pooled |");
    println!("|---|---|---|---|---|");
    let mut powers = Vec::new();
    for correlation in [0.0, 0.12, 0.5, 0.8] {
        for n in [3, 5, 10] {
            let distance = 4.0 / f64::sqrt(n as f64);
            let power =
                VARIANCES.map(|v| supported(Distribution::Normal, n, v, correlation, distance));
            let shown = power.map(|share| format!("{share:.0}%")).join(" | ");
            println!("| {correlation} | {n} | {shown} |");
            powers.push((correlation, n, power));
        }
    }
    let power = |correlation: f64, n: usize| {
        powers.iter().find(|p| p.0 == correlation && p.1 == n).expect("it was simulated").2
    };
    for n in [3, 5] {
        let [pairs, welch, _] = power(0.12, n);
        assert!(welch > pairs, "uncorrelated, {n}: {welch} {pairs}");
    }
    let [pairs, welch, _] = power(0.8, 10);
    assert!(pairs > welch, "correlated: {pairs} {welch}");
}

#[test]
fn how_far_the_blessed_cells_correlate() {
    let expected = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("expected");
    for profile in ["quick", "all-claims"] {
        let Some(reference) = Reference::of_profile(&expected, profile).unwrap() else { continue };
        let is_accuracy = |v: &&_| {
            let v: &bad_global_minima::verify::reference::ReferenceValue = v;
            v.metric == "test_accuracy" && v.values.len() >= 5
        };
        let cells: Vec<_> = reference.values.iter().filter(is_accuracy).collect();
        let mut correlations = Vec::new();
        for (place, a) in cells.iter().enumerate() {
            for b in cells[..place].iter().filter(|b| b.experiment == a.experiment) {
                let x: Vec<f64> = a.values.iter().take(b.values.len()).copied().collect();
                let y: Vec<f64> = b.values.iter().take(x.len()).copied().collect();
                let (mx, my) = (stats::mean(&x), stats::mean(&y));
                let product: f64 = x.iter().zip(&y).map(|(x, y)| (x - mx) * (y - my)).sum();
                let scale = stats::standard_deviation(&x) * stats::standard_deviation(&y);
                if scale > 0.0 {
                    correlations.push(product / scale / (x.len() - 1) as f64);
                }
            }
        }
        let mean = stats::mean(&correlations);
        println!("{profile}: {} pairs of cells, mean correlation {mean:.2}", correlations.len());
        assert!(correlations.iter().all(|r| r.abs() <= 1.0 + 1e-9));
    }
}
