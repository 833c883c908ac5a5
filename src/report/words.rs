//! The words, marks and colours of verdicts and comparisons, the same in every format.

use crate::experiments::dose::{self, Dose, PAPER_WITH_MOMENTUM};
use crate::experiments::results::{CellResult, FIT_MEAN, Fit};
use crate::verify::outcome::{
    Bearing, ClaimOutcome, Premise, RegressionStatus, Standing, Verdict, Verification,
};
use std::collections::BTreeMap;

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
        RegressionStatus::TooWeak => "too weak to tell",
        RegressionStatus::Outside => "outside",
        RegressionStatus::Missing => "missing",
        RegressionStatus::TooFew => "too few",
        RegressionStatus::Excluded => "excluded",
    }
}

/// Every status, the good ones first.
const STATUSES: [RegressionStatus; 7] = [
    RegressionStatus::Exact,
    RegressionStatus::Within,
    RegressionStatus::TooWeak,
    RegressionStatus::Outside,
    RegressionStatus::Missing,
    RegressionStatus::TooFew,
    RegressionStatus::Excluded,
];

/// `40 exact, 2 outside`, leaving out what did not happen.
pub fn counts(verification: &Verification) -> String {
    let count = |wanted: RegressionStatus| {
        let count = verification.regression.iter().filter(|r| r.status == wanted).count();
        (count > 0).then(|| format!("{count} {}", status(wanted)))
    };
    let counts: Vec<String> = STATUSES.into_iter().filter_map(count).collect();
    if counts.is_empty() { "nothing was compared".to_owned() } else { counts.join(", ") }
}

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

/// What a verdict says of the paper; empty where it says nothing.
pub fn bearing(bearing: Bearing) -> &'static str {
    match bearing {
        Bearing::ForThePaper => "for the paper",
        Bearing::AgainstThePaper => "against the paper",
        Bearing::AboutAControl => "about a control",
        Bearing::Nothing => "",
    }
}

/// `supported, for the paper`: a verdict that counts against the paper must not look like
/// one for it.
pub fn verdict_and_bearing(claim: &ClaimOutcome) -> String {
    match bearing(claim.bears) {
        "" => verdict(claim.verdict).to_owned(),
        bearing => format!("{}, {bearing}", verdict(claim.verdict)),
    }
}

/// Which way the effect is taken, and of which part.
pub fn direction(claim: &ClaimOutcome) -> String {
    match &claim.deciding_part {
        Some(part) if !part.is_empty() => format!("{}; decided by “{part}”", claim.direction),
        _ => claim.direction.clone(),
    }
}

/// How a verdict stands to the blessed one; empty where there is nothing to say.
pub fn standing(claim: &ClaimOutcome) -> String {
    let words = match claim.standing {
        Standing::AsBlessed => "",
        Standing::Unblessed => "not blessed",
        Standing::WithinChance => "not the blessed verdict, by no more than chance",
        Standing::Departed => "departs from what was blessed",
        Standing::Incomplete => "incomplete",
        Standing::Unsupported => "refuted, and --strict asks for support",
        Standing::Undecided => "inconclusive, and --strict asks for a decision",
    };
    match claim.standing_note.as_str() {
        "" => words.to_owned(),
        note => format!("{words}: {note}"),
    }
}

/// What a verdict would be at other margins and without any one seed.
pub fn sensitivity(claim: &ClaimOutcome) -> String {
    let mut parts = Vec::new();
    if let Some(at) = claim.sensitivity.turns_at {
        parts.push(format!("turns at a margin of {}", maybe(Some(at))));
    }
    if let Some(left) = claim.sensitivity.left_out {
        parts.push(if left.verdict == claim.verdict {
            "the same without any one seed".to_owned()
        } else {
            format!("{} without seed {}", verdict(left.verdict), left.seed)
        });
    }
    if let Some(forecast) = claim.forecast {
        let seeds = |n: Option<usize>| n.map_or("more than 1000".to_owned(), |n| n.to_string());
        parts.push(format!(
            "{} seeds would decide it with 80% power, {} with 90%",
            seeds(forecast.power_80),
            seeds(forecast.power_90)
        ));
    }
    parts.join("; ")
}

/// The weight decay that a cell was given: `1.3, 0.41 of the paper's 3.15`.
pub fn decay(dose: Option<Dose>) -> String {
    let number = |value: f64| maybe(Some(value));
    match dose {
        None => "–".to_owned(),
        Some(Dose { sum: 0.0, .. }) => "none".to_owned(),
        Some(Dose { sum, over_momentum, of_paper }) => {
            let (total, paper) = if sum == over_momentum {
                (number(sum), dose::PAPER)
            } else {
                let with_momentum = number(over_momentum);
                (format!("{} ({with_momentum} with momentum)", number(sum)), PAPER_WITH_MOMENTUM)
            };
            match of_paper {
                None => total,
                Some(share) => {
                    format!("{total}, {} of the paper's {}", number(share), number(paper))
                }
            }
        }
    }
}

/// The regime of a figure's cells: how many fit their training data, and their weight decay.
pub fn regime(cells: &[CellResult]) -> String {
    let fits: Vec<Fit> = cells.iter().filter_map(CellResult::fit).collect();
    let lowest = fits.iter().map(|fit| fit.lowest).min_by(f64::total_cmp);
    let Some(lowest) = lowest.filter(|lowest| lowest.is_finite()) else { return String::new() };
    let minima = fits.iter().filter(|fit| fit.fits).count();
    let mut doses: Vec<String> = Vec::new();
    for dose in cells.iter().filter_map(CellResult::dose).filter(|dose| dose.sum > 0.0) {
        let dose = decay(Some(dose));
        if !doses.contains(&dose) {
            doses.push(dose);
        }
    }
    let doses = match doses.len() {
        0 => "no cell has weight decay".to_owned(),
        1..=3 => format!("{}: {}", DECAY.to_lowercase(), doses.join("; ")),
        many => format!("{many} doses of weight decay, listed below"),
    };
    format!(
        "Regime: {minima} of {} cells fit their training data (at least {FIT_MEAN}% in the mean \
         over seeds; the lowest seed of all cells: {lowest:.2}%); {doses}.",
        fits.len()
    )
}

/// The regime in which the claims were judged: how many of the cells that they compare fit their
/// training data, and how much weight decay these were given. Empty where no claim has such a
/// premise.
pub fn claims_regime(claims: &[ClaimOutcome]) -> String {
    let mut cells: BTreeMap<(&str, &str), Vec<&Premise>> = BTreeMap::new();
    for claim in claims {
        for premise in claim.premises.iter().filter(|premise| premise.metric == "train_accuracy") {
            cells.entry((&claim.experiment, &premise.cell)).or_default().push(premise);
        }
    }
    if cells.is_empty() {
        return String::new();
    }
    let hold = cells.values().filter(|premises| premises.iter().all(|p| p.holds)).count();
    let lowest = |of: fn(&Premise) -> Option<f64>| {
        let values = cells.values().flatten().filter_map(|premise| of(premise));
        values.min_by(f64::total_cmp).map_or("–".to_owned(), |value| format!("{value:.2}%"))
    };
    let shares = cells.values().flatten().filter_map(|premise| premise.decay?.of_paper);
    let (least, most) = shares
        .fold((f64::INFINITY, 0.0_f64), |(least, most), share| (least.min(share), most.max(share)));
    let has_decay = cells.values().flatten().any(|p| p.decay.is_some_and(|dose| dose.sum > 0.0));
    let decay = match (least, most) {
        (_, 0.0) if has_decay => "their weight decay has no counterpart in the paper".to_owned(),
        (_, 0.0) => "none of them has weight decay".to_owned(),
        (least, most) => {
            let (least, most) = (maybe(Some(least)), maybe(Some(most)));
            let range = if least == most { most } else { format!("{least} to {most}") };
            format!("their weight decay, where there is any, sums up to {range} of the paper's")
        }
    };
    format!(
        "Regime: {hold} of the {} cells that these claims compare fit their training data as the \
         claims require (lowest mean over seeds {}, lowest seed {}); {decay}.",
        cells.len(),
        lowest(|premise| premise.mean),
        lowest(|premise| premise.lowest),
    )
}

/// Heading of [`decay`].
pub const DECAY: &str = "Sum of rate × weight decay";

/// What an exit code of `bgm verify` means.
pub fn exit(code: u8) -> &'static str {
    match code {
        0 => "everything is as blessed",
        1 => "a number or a claim departs from what was blessed",
        3 => {
            "incomplete: runs are missing or did not memorize, seeds are too few, or something is not blessed"
        }
        4 => "the environment or the data are not as they should be",
        _ => "the comparison did not finish",
    }
}
