//! The verdicts in short, on a terminal.

use super::words::{self, DECAY};
use crate::verify::exit;
use crate::verify::outcome::{ClaimOutcome, Premise, RegressionOutcome, Verdict, Verification};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

/// Columns of the terminal table; fixed, since nothing here asks what the terminal has.
const WIDTH: u16 = 100;

/// Verdicts and the counts of compared numbers, for a terminal; `color` switches escape codes,
/// and `records` says of what records they come from, if any.
pub fn terminal_summary(
    profile: &str,
    verification: &Verification,
    records: &str,
    color: bool,
) -> String {
    let mut table = table(color);
    table.set_header(["", "verdict", "effect [95% interval]", "must be", "n", "claim"]);
    for claim in &verification.claims {
        let colour = match claim.verdict {
            Verdict::Supported => Color::Green,
            Verdict::Refuted => Color::Red,
            Verdict::Inconclusive => Color::Yellow,
        };
        let mut verdict =
            format!("{} {}", words::icon(claim.verdict), words::verdict_and_bearing(claim));
        if let Some(blessed) = claim.blessed.filter(|blessed| *blessed != claim.verdict) {
            verdict += &format!(" (blessed: {})", words::verdict(blessed));
        }
        let standing = words::standing(claim);
        if !standing.is_empty() {
            verdict += &format!("; {standing}");
        }
        let effect = effect(claim);
        table.add_row([
            Cell::new(&claim.id).add_attribute(Attribute::Bold),
            Cell::new(verdict).fg(colour),
            Cell::new(effect),
            Cell::new(&claim.must_be),
            Cell::new(claim.n),
            Cell::new(format!("{} Effect: {}.", claim.statement, words::direction(claim))),
        ]);
    }
    let mut text = String::new();
    if !verification.claims.is_empty() {
        text += &format!("{table}\n");
    }
    text += &premises(&verification.claims, color);
    text += &format!("Compared with the blessed values: {}", words::counts(verification));
    if verification.regression.is_empty() || verification.basis.is_empty() {
        text += ".\n";
    } else {
        text += &format!(" ({}).\n", verification.basis);
    }
    text += &departures(&verification.regression);
    if let Some(protocol) = &verification.protocol {
        text += &format!("{}.\n", protocol.sentence);
    }
    for sentence in &verification.lacking {
        text += &format!("Lacking: {sentence}.\n");
    }
    if !records.is_empty() {
        text += &format!("{records}\n");
    }
    let exit = verification.exit;
    text + &format!("Profile {profile}: {} (exit code {exit}).\n", words::exit(exit))
}

/// Most numbers that are named one by one.
const MAX_NAMED: usize = 12;

/// The numbers that are not as they were blessed, those outside first.
fn departures(regression: &[RegressionOutcome]) -> String {
    let mut named: Vec<&RegressionOutcome> =
        regression.iter().filter(|outcome| outcome.status.exit() != exit::SUCCESS).collect();
    named.sort_by_key(|outcome| outcome.status.exit() != exit::DEPARTURE);
    let mut text = String::new();
    for outcome in named.iter().take(MAX_NAMED) {
        let RegressionOutcome { experiment, cell, metric, value, expected, note, .. } = outcome;
        let status = words::status(outcome.status);
        text += &format!("  {status}: {experiment} [{cell}] {metric}");
        if let (Some(value), Some(expected)) = (value, expected) {
            text += &format!(": {value}, blessed {expected}");
        }
        text += &if note.is_empty() { "\n".to_owned() } else { format!(" ({note})\n") };
    }
    if named.len() > MAX_NAMED {
        let more = named.len() - MAX_NAMED;
        text += &format!("  ... and {more} more: --format json and the report have them all\n");
    }
    text
}

/// A claim's effect with its interval, or why there is none.
fn effect(claim: &ClaimOutcome) -> String {
    if claim.statistic.is_none() {
        return claim.reason.clone();
    }
    let effect = words::effect(claim.statistic, claim.interval);
    format!("{} {}", effect.value, effect.interval)
}

/// A verdict on one line: `C1 ✓ supported, for the paper: 5.40 [4.29, 6.51], must be above 3, n = 10`.
pub fn verdict_line(claim: &ClaimOutcome) -> String {
    let (icon, verdict) = (words::icon(claim.verdict), words::verdict_and_bearing(claim));
    let (effect, must_be, n) = (effect(claim), &claim.must_be, claim.n);
    format!("{} {icon} {verdict}: {effect}, must be {must_be}, n = {n}", claim.id)
}

fn table(color: bool) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    if color {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

/// The premises of all claims, each once, with the claims that rest on them and the weight
/// decay of the cell.
fn premises(claims: &[ClaimOutcome], color: bool) -> String {
    let mut rows: Vec<(&str, &Premise, Vec<&str>)> = Vec::new();
    for claim in claims {
        for premise in &claim.premises {
            let is_same = |(experiment, other, _): &&mut (&str, &Premise, Vec<&str>)| {
                *experiment == claim.experiment && *other == premise
            };
            match rows.iter_mut().find(is_same) {
                Some((.., ids)) => ids.push(&claim.id),
                None => rows.push((&claim.experiment, premise, vec![&claim.id])),
            }
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut table = table(color);
    table.set_header(["premise of", "cell", "metric", "mean", "lowest", "holds", DECAY]);
    for (experiment, premise, ids) in rows {
        let number = |value: Option<f64>| value.map(|v| format!("{v:.2}")).unwrap_or_default();
        let (holds, colour) =
            if premise.holds { ("yes", Color::Green) } else { ("no", Color::Yellow) };
        table.add_row([
            Cell::new(ids.join(", ")).add_attribute(Attribute::Bold),
            Cell::new(format!("{experiment}: {}", premise.cell)),
            Cell::new(&premise.metric),
            Cell::new(number(premise.mean)),
            Cell::new(number(premise.lowest)),
            Cell::new(holds).fg(colour),
            Cell::new(words::decay(premise.decay)),
        ]);
    }
    format!("{table}\n")
}
