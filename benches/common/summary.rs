//! From times to ratios: pure functions.

use serde::Serialize;

/// The middle value; NaN for none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (count, half) if count % 2 == 1 => sorted[half],
        (_, half) => (sorted[half - 1] + sorted[half]) / 2.0,
    }
}

/// How many times faster we are, over several rounds in which both ran one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Above 1: we are faster.
    pub median: f64,
    /// Of the worst round.
    pub low: f64,
    /// Of the best round.
    pub high: f64,
}

impl Ratio {
    /// Compares round by round, so that what slows a machine for a while slows both; `None`
    /// without a round, or where a time is no positive number.
    pub fn of(ours: &[f64], theirs: &[f64]) -> Option<Ratio> {
        let is_time = |time: &&f64| time.is_finite() && **time > 0.0;
        let rounds = ours.len().min(theirs.len());
        if rounds == 0
            || ours.iter().chain(theirs).filter(is_time).count() < ours.len() + theirs.len()
        {
            return None;
        }
        let ratios: Vec<f64> =
            theirs.iter().zip(ours).map(|(theirs, ours)| theirs / ours).collect();
        Some(Ratio {
            median: median(&ratios),
            low: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            high: ratios.iter().copied().fold(0.0, f64::max),
        })
    }
}

impl std::fmt::Display for Ratio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} ({:.2} to {:.2})", self.median, self.low, self.high)
    }
}

/// The last line of `make bench-vs-pytorch`. What was not measured is `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    pub step_ratio: Option<f64>,
    pub epoch_ratio: Option<f64>,
    pub corruption_ratio: Option<f64>,
    pub headline_ratio: Option<f64>,
    /// Of the matrix-product peak of one core, full-width ResNet18, batch 128, 28x28.
    pub peak_fraction: Option<f64>,
    pub step_ratio_channels_last: Option<f64>,
    pub epoch_ratio_channels_last: Option<f64>,
    pub headline_ratio_channels_last: Option<f64>,
    /// Against a single-threaded PyTorch process on every core.
    pub parallel_ratio: Option<f64>,
    pub parallel_ratio_channels_last: Option<f64>,
    /// The headline when everything is in the store.
    pub headline_stored_ratio: Option<f64>,
}

impl Summary {
    /// One line of JSON, three decimals.
    pub fn line(&self) -> String {
        let mut value = serde_json::to_value(self).expect("numbers are valid JSON");
        for number in value.as_object_mut().expect("a struct is an object").values_mut() {
            if let Some(x) = number.as_f64() {
                *number = serde_json::json!((x * 1000.0).round() / 1000.0);
            }
        }
        value.to_string()
    }
}

/// Seconds for people.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.1} us", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}
