//! Two references as Markdown: their means, and their verdicts.

use super::tables::markdown_table;
use super::words;
use crate::verify::beside::MeanDifference;
use crate::verify::reference::{BlessedVerdict, Reference};

/// The means of both references, the second's less the first's with its 95% interval, and the
/// seeds of the side that has fewer.
pub fn differences_markdown(a: &Reference, b: &Reference, all: &[MeanDifference]) -> String {
    let headings = ["Mean", &a.profile, &b.profile, "Difference", "95% interval", "n"];
    let row = |difference: &MeanDifference| {
        let MeanDifference { name, means: [left, right], estimate } = difference;
        let effect = words::effect(Some(estimate.effect), Some(estimate.interval(0.95)));
        vec![
            name.clone(),
            words::maybe(Some(*left)),
            words::maybe(Some(*right)),
            effect.value,
            effect.interval,
            estimate.n.to_string(),
        ]
    };
    markdown_table(&headings.map(str::to_owned), all.iter().map(row).collect(), 1)
}

/// The verdicts of claims that both references judge.
pub fn both_verdicts_markdown(
    a: &Reference,
    b: &Reference,
    shared: &[(&str, [&BlessedVerdict; 2])],
) -> String {
    let headings = ["Claim", &a.profile, &b.profile, "Must be"];
    let cell = |verdict: &BlessedVerdict| {
        let effect = words::effect(verdict.statistic, verdict.interval);
        let icon = words::icon(verdict.verdict);
        format!("{icon} {}: {} {}", words::verdict(verdict.verdict), effect.value, effect.interval)
    };
    let row = |(id, [left, right]): &(&str, [&BlessedVerdict; 2])| {
        vec![(*id).to_owned(), cell(left), cell(right), left.must_be.clone()]
    };
    markdown_table(&headings.map(str::to_owned), shared.iter().map(row).collect(), 4)
}
