//! Statistics over seeds. Everything here is a pure function of the values.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};
use statrs::function::gamma::digamma;

/// Arithmetic mean; NaN for no values.
pub fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// Sample variance (divisor n - 1); 0 for fewer than two values.
pub fn variance(x: &[f64]) -> f64 {
    if x.len() < 2 {
        return 0.0;
    }
    let center = mean(x);
    let squares: f64 = x.iter().map(|value| (value - center) * (value - center)).sum();
    squares / (x.len() - 1) as f64
}

/// Sample standard deviation (divisor n - 1); 0 for fewer than two values.
pub fn standard_deviation(x: &[f64]) -> f64 {
    variance(x).sqrt()
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

/// Degrees of freedom from which on Student's t is taken as normal (statrs loses digits there).
const NORMAL_FROM: f64 = 1e6;

/// Quantile of Student's t distribution.
pub fn t_quantile(probability: f64, degrees: f64) -> f64 {
    if degrees >= NORMAL_FROM {
        return normal_quantile(probability);
    }
    match StudentsT::new(0.0, 1.0, degrees) {
        Ok(t) => t.inverse_cdf(probability),
        Err(_) => f64::INFINITY, // no degrees of freedom: nothing is known
    }
}

/// Distribution function of Student's t; NaN for a NaN.
pub fn t_cdf(x: f64, degrees: f64) -> f64 {
    if degrees >= NORMAL_FROM {
        return Normal::standard().cdf(x);
    }
    match StudentsT::new(0.0, 1.0, degrees) {
        Ok(t) if x.is_finite() => t.cdf(x),
        Ok(_) if x.is_nan() => f64::NAN,
        Ok(_) => f64::from(u8::from(x > 0.0)),
        Err(_) => 0.5,
    }
}

/// Probability of a Student t at least this far from 0, on either side.
pub fn two_sided(t: f64, degrees: f64) -> f64 {
    if t.is_nan() { 1.0 } else { 2.0 * t_cdf(-t.abs(), degrees) }
}

/// Quantile of the standard normal distribution.
pub fn normal_quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

/// Slope of the least-squares line through `(x, y)` as weights of the `y`: they sum to 0.
pub fn slope_weights(xs: &[f64]) -> Vec<f64> {
    let center = mean(xs);
    let squares: f64 = xs.iter().map(|x| (x - center) * (x - center)).sum();
    xs.iter().map(|x| (x - center) / squares).collect()
}

/// Holm's step-down adjustment: a hypothesis is rejected at familywise level `a` where its
/// adjusted probability is at most `a`, however the tests depend on each other.
pub fn holm(probabilities: &[f64]) -> Vec<f64> {
    let count = probabilities.len();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]).then(a.cmp(&b)));
    let mut adjusted = vec![1.0; count];
    let mut least: f64 = 0.0;
    for (rank, &place) in order.iter().enumerate() {
        least = least.max((count - rank) as f64 * probabilities[place]).min(1.0);
        adjusted[place] = least;
    }
    adjusted
}

/// Variance of the logarithm of a chi-squared variable with `degrees` degrees of freedom: the
/// trigamma function at half of them.
pub fn trigamma(x: f64) -> f64 {
    // Shifted up to where the asymptotic series holds to double precision.
    let (mut x, mut sum) = (x, 0.0);
    while x < 12.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = 1.0 / 6.0
        - square
            * (1.0 / 30.0 - square * (1.0 / 42.0 - square * (1.0 / 30.0 - square * 5.0 / 66.0)));
    sum + 1.0 / x + square / 2.0 + square / x * series
}

/// The argument at which trigamma takes a value, by bisection; trigamma falls.
pub fn trigamma_inverse(value: f64) -> f64 {
    let (mut low, mut high): (f64, f64) = (1e-6, 1e9);
    for _ in 0..200 {
        let middle = (low * high).sqrt();
        if trigamma(middle) > value { low = middle } else { high = middle }
    }
    (low * high).sqrt()
}

/// Mean of the logarithm of a chi-squared variable divided by its degrees of freedom.
pub fn log_chi_squared_mean(degrees: f64) -> f64 {
    digamma(degrees / 2.0) - libm::log(degrees / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-5 * b.abs().max(1.0)
    }

    #[test]
    fn interval_of_a_worked_example() {
        // 2, 4, 4, 4, 5, 5, 7, 9: mean 5, deviation 2.13809, t(0.975, 7) = 2.36462.
        let x = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert!(close(standard_deviation(&x), 2.138_089_9));
        let [low, high] = mean_interval(&x, 0.95).unwrap();
        assert!(close(low, 3.212_515) && close(high, 6.787_485), "{low} {high}");
        assert_eq!(mean_interval(&x[..1], 0.95), None);
    }

    #[test]
    fn probabilities_of_student() {
        // scipy.stats.t.sf(3, 4) * 2, t.sf(8, 11) * 2, and the normal limit.
        assert!(close(two_sided(3.0, 4.0) * 1e3, 39.941_968), "{}", two_sided(3.0, 4.0));
        assert!(close(two_sided(-8.0, 11.0) * 1e6, 6.532_217), "{}", two_sided(-8.0, 11.0));
        assert!(close(two_sided(2.0, 1e7), 0.045_500_26));
        assert_eq!(two_sided(f64::NAN, 4.0), 1.0);
        assert_eq!(two_sided(f64::INFINITY, 4.0), 0.0);
    }

    #[test]
    fn holm_of_a_worked_example() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        assert!(adjusted.iter().zip(expected).all(|(a, b)| close(*a, b)), "{adjusted:?}");
    }

    #[test]
    fn trigamma_and_its_inverse() {
        // pi^2 / 6, pi^2 / 2, and a large argument.
        let square = std::f64::consts::PI * std::f64::consts::PI;
        assert!(close(trigamma(1.0), square / 6.0) && close(trigamma(0.5), square / 2.0));
        assert!(close(trigamma(1e4) * 1e4, 1.000_05));
        for x in [0.3, 1.0, 7.5, 400.0] {
            assert!(close(trigamma_inverse(trigamma(x)), x), "{x}");
        }
    }

    #[test]
    fn slope_of_a_line() {
        let weights = slope_weights(&[0.0, 1.0, 2.0]);
        let slope: f64 = weights.iter().zip([1.0, 3.0, 5.0]).map(|(w, y)| w * y).sum();
        assert!(close(slope, 2.0));
    }
}
