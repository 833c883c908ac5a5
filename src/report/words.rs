//! The words, marks and colours of verdicts and comparisons, the same in every format.

use crate::verify::outcome::{ClaimOutcome, RegressionStatus, Verdict};

pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Supported => "supported",
        Verdict::Refuted => "refuted",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// A mark that tells verdicts apart without colour.
pub fn icon(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Supported => "✓",
        Verdict::Refuted => "✗",
        Verdict::Inconclusive => "?",
    }
}

pub fn status(status: RegressionStatus) -> &'static str {
    match status {
        RegressionStatus::Exact => "exact",
        RegressionStatus::Within => "within",
        RegressionStatus::Weak => "too weak to tell",
        RegressionStatus::Outside => "outside",
        RegressionStatus::Missing => "missing",
        RegressionStatus::TooFew => "too few",
        RegressionStatus::Excluded => "excluded",
    }
}

/// Every status, the good ones first.
pub const STATUSES: [RegressionStatus; 7] = [
    RegressionStatus::Exact,
    RegressionStatus::Within,
    RegressionStatus::Weak,
    RegressionStatus::Outside,
    RegressionStatus::Missing,
    RegressionStatus::TooFew,
    RegressionStatus::Excluded,
];

/// Numbers of no known metric, all with as many decimals as the largest one deserves.
fn alike(values: &[f64]) -> impl Fn(f64) -> String {
    let sizes = values.iter().filter(|value| value.is_finite()).map(|value| value.abs());
    let size = sizes.fold(0.0, f64::max);
    move |value: f64| {
        let text = match size {
            _ if !value.is_finite() => return "not finite".to_owned(),
            0.0 => "0".to_owned(),
            _ if !(1e-3..1e5).contains(&size) => format!("{value:.2e}"),
            _ if size >= 100.0 => format!("{value:.0}"),
            _ if size >= 10.0 => format!("{value:.1}"),
            _ if size >= 1.0 => format!("{value:.2}"),
            _ => format!("{value:.3}"),
        };
        text.replace('-', "\u{2212}")
    }
}

/// `12.3`, or a dash where there is none.
pub fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| alike(&[value])(value))
}

/// An effect and its interval, as texts of equal precision.
pub struct Effect {
    pub value: String,
    pub interval: String,
}

/// `12.3` and `[10.1, 14.5]`; a dash for what is not there.
pub fn effect(value: Option<f64>, interval: Option<[f64; 2]>) -> Effect {
    let all: Vec<f64> = value.into_iter().chain(interval.into_iter().flatten()).collect();
    let show = alike(&all);
    let none = || "–".to_owned();
    let span = |[low, high]: [f64; 2]| format!("[{}, {}]", show(low), show(high));
    Effect { value: value.map_or_else(none, &show), interval: interval.map_or_else(none, span) }
}

/// A margin, as it was declared.
pub fn margin(margin: f64) -> String {
    margin.to_string()
}

/// Whether a claim's verdict is another than the blessed one.
pub fn departs(claim: &ClaimOutcome) -> bool {
    claim.blessed.is_some_and(|blessed| blessed != claim.verdict)
}

/// What an exit code of `bgm verify` means.
pub fn exit(code: u8) -> &'static str {
    match code {
        0 => "everything is as blessed",
        1 => "a number is outside its tolerance, or a verdict is not the blessed one",
        3 => "incomplete: runs are missing, did not memorize, or the seeds are too few",
        4 => "the environment or the data are not as they should be",
        _ => "the comparison did not finish",
    }
}
