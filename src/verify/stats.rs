//! Statistics over seeds. Everything here is a pure function of the values.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Arithmetic mean; NaN for no values.
pub fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// Sample standard deviation (divisor n - 1); 0 for fewer than two values.
pub fn standard_deviation(x: &[f64]) -> f64 {
    if x.len() < 2 {
        return 0.0;
    }
    let center = mean(x);
    let squares: f64 = x.iter().map(|value| (value - center).powi(2)).sum();
    (squares / (x.len() - 1) as f64).sqrt()
}

/// Two-sided Student-t interval of the mean; `None` below two values.
pub fn mean_interval(x: &[f64], level: f64) -> Option<[f64; 2]> {
    if x.len() < 2 {
        return None;
    }
    let half = t_quantile(0.5 + level / 2.0, (x.len() - 1) as f64) * standard_error(x);
    Some([mean(x) - half, mean(x) + half])
}

/// Standard error of the mean.
pub fn standard_error(x: &[f64]) -> f64 {
    standard_deviation(x) / (x.len() as f64).sqrt()
}

/// Quantile of Student's t distribution.
pub fn t_quantile(probability: f64, degrees: f64) -> f64 {
    match StudentsT::new(0.0, 1.0, degrees) {
        Ok(t) => t.inverse_cdf(probability),
        Err(_) => f64::INFINITY, // no degrees of freedom: nothing is known
    }
}

/// Quantile of the standard normal distribution.
pub fn normal_quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

/// Number of seeds with which an interval of this level, around the same effect and with the
/// same spread, would end at `distance` from its middle; `None` if more than `most`.
pub fn seeds_to_decide(spread: f64, distance: f64, level: f64, most: usize) -> Option<usize> {
    (3..=most).find(|&n| {
        let half = t_quantile(0.5 + level / 2.0, (n - 1) as f64) * spread / (n as f64).sqrt();
        half < distance.abs()
    })
}

/// Slope of the least-squares line through `(x, y)`.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let (xs, ys): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    let (mx, my) = (mean(&xs), mean(&ys));
    let covariance: f64 = points.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    covariance / xs.iter().map(|x| (x - mx).powi(2)).sum::<f64>()
}

/// Largest difference between the mean of the new values and that of the reference values
/// that passes, two-sided, at a probability of `false_alarm` for this one comparison: the
/// smaller of two Student bounds, each at half of that probability.
///
/// - From the spread of the reference seeds alone (n - 1 degrees of freedom), as in MLPerf's
///   reference-convergence check: new runs that scatter cannot buy themselves room.
/// - From the spread of both, pooled (n + m - 2): unchanged code spreads alike, and with few
///   seeds the added degrees of freedom nearly halve the bound.
///
/// Unlike in MLPerf a change for the better fails too. Whichever bound is the smaller, an
/// alarm means that one of the two was passed: the probabilities add up to `false_alarm`.
pub fn tolerance(reference: &[f64], values: &[f64], false_alarm: f64) -> f64 {
    let (n, m) = (reference.len() as f64, values.len() as f64);
    let variance = |x: &[f64]| standard_deviation(x).powi(2);
    let pooled = ((n - 1.0) * variance(reference) + (m - 1.0) * variance(values)) / (n + m - 2.0);
    let bound = |variance: f64, degrees: f64| {
        t_quantile(1.0 - false_alarm / 4.0, degrees) * (variance * (1.0 / n + 1.0 / m)).sqrt()
    };
    bound(variance(reference), n - 1.0).min(bound(pooled, n + m - 2.0))
}

/// True shift of the mean that is found with probability `power` by `runs` new values that
/// spread as the reference does, where differences up to `least` always pass.
pub fn detectable_shift(
    reference: &[f64],
    runs: usize,
    false_alarm: f64,
    least: f64,
    power: f64,
) -> f64 {
    let (n, m) = (reference.len() as f64, runs as f64);
    let scale = standard_deviation(reference) * (1.0 / n + 1.0 / m).sqrt();
    let tolerance = t_quantile(1.0 - false_alarm / 4.0, n + m - 2.0) * scale;
    tolerance.max(least) + normal_quantile(power) * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-3 * b.abs().max(1.0)
    }

    #[test]
    fn interval_of_a_worked_example() {
        // 2, 4, 4, 4, 5, 5, 7, 9: mean 5, deviation 2.13809, t(0.975, 7) = 2.36462.
        let x = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert!(close(standard_deviation(&x), 2.13809));
        let [low, high] = mean_interval(&x, 0.95).unwrap();
        assert!(close(low, 3.21252) && close(high, 6.78748), "{low} {high}");
        assert_eq!(mean_interval(&x[..1], 0.95), None);
    }

    #[test]
    fn tolerance_of_a_worked_example() {
        // Five reference values 1..5 and five new ones that spread alike: both deviations
        // sqrt(2.5), and sqrt(2.5) * sqrt(1/5 + 1/5) = 1. Alone t(0.9875, 4) = 3.49541, with
        // both t(0.9875, 8) = 2.75152: the smaller counts.
        let (reference, alike) = ([1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 4.0, 3.0, 2.0, 1.0]);
        assert!(close(tolerance(&reference, &alike, 0.05), 2.75152));
        // New values that scatter ten times as much: the reference alone sets the bound.
        let wide = alike.map(|x| 10.0 * x);
        assert!(close(tolerance(&reference, &wide, 0.05), 3.49541));
        assert!(tolerance(&reference, &alike[..1], 0.05) > tolerance(&reference, &alike, 0.05));
        assert!(tolerance(&reference, &alike, 0.001) > tolerance(&reference, &alike, 0.05));
        // t(0.9875, 8), and 0.84162 for a power of 0.8.
        let shift = detectable_shift(&reference, 5, 0.05, 0.0, 0.8);
        assert!(close(shift, 2.75152 + 0.84162), "{shift}");
        let shift = detectable_shift(&reference, 5, 0.05, 4.0, 0.8);
        assert!(close(shift, 4.0 + 0.84162), "{shift}");
    }

    #[test]
    fn seeds_that_would_decide() {
        // Spread 2, distance 1, 95%: t(0.975, 17) = 2.10982 -> 2.10982 * 2 / sqrt(18) = 0.9946.
        assert_eq!(seeds_to_decide(2.0, 1.0, 0.95, 100), Some(18));
        assert_eq!(seeds_to_decide(2.0, 0.01, 0.95, 100), None);
    }

    #[test]
    fn slope_of_a_line() {
        assert!(close(slope(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]), 2.0));
    }
}
