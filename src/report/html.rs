//! `report.html`: one file that needs nothing else.

mod claims;
mod experiments;
mod runs;

use super::{Drawing, ReportContext, words};
use crate::verify::outcome::{RegressionOutcome, RegressionStatus};
use askama::Template;
use claims::ClaimView;
use experiments::ExperimentView;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    profile: &'a str,
    command: &'a str,
    records: &'a str,
    exit: u8,
    exit_words: &'static str,
    /// How many claims have each verdict: number, word, class.
    verdict_counts: Vec<(usize, &'static str, &'static str)>,
    claims: Vec<ClaimView<'a>>,
    forest: Option<String>,
    /// In which regime the claims were judged.
    regime: String,
    /// How claims and sizes stand to what was declared before the runs.
    protocol: Option<&'a str>,
    counts: String,
    departures: Vec<RegressionView<'a>>,
    regression: Vec<RegressionView<'a>>,
    experiments: Vec<ExperimentView<'a>>,
    provenance: &'a [(String, String)],
}

/// One compared number as texts.
struct RegressionView<'a> {
    experiment: &'a str,
    /// Whether the page has a section for it.
    is_here: bool,
    cell: &'a str,
    metric: &'a str,
    status: &'static str,
    class: &'static str,
    value: String,
    expected: String,
    tolerance: String,
    detectable: String,
    note: &'a str,
}

impl<'a> RegressionView<'a> {
    fn new(outcome: &'a RegressionOutcome, context: &ReportContext<'a>) -> RegressionView<'a> {
        RegressionView {
            experiment: &outcome.experiment,
            is_here: context.results.iter().any(|r| r.experiment.id == outcome.experiment),
            cell: &outcome.cell,
            metric: &outcome.metric,
            status: words::status(outcome.status),
            class: status_class(outcome.status),
            value: words::maybe(outcome.value),
            expected: words::maybe(outcome.expected),
            tolerance: words::maybe(outcome.tolerance),
            detectable: words::maybe(outcome.detectable),
            note: &outcome.note,
        }
    }
}

/// CSS class of a status.
fn status_class(status: RegressionStatus) -> &'static str {
    match status {
        RegressionStatus::Exact | RegressionStatus::Within => "good",
        RegressionStatus::Outside => "bad",
        RegressionStatus::TooWeak
        | RegressionStatus::Missing
        | RegressionStatus::TooFew
        | RegressionStatus::Excluded => "open",
    }
}

/// The page's text.
pub(super) fn page(
    context: &ReportContext<'_>,
    drawings: &[Drawing],
    forest: Option<String>,
) -> Result<String, askama::Error> {
    let verification = context.verification;
    let all = verification.regression.iter();
    let departs = |outcome: &&RegressionOutcome| status_class(outcome.status) != "good";
    let view = |outcome| RegressionView::new(outcome, context);
    let mut departures: Vec<&RegressionOutcome> = all.clone().filter(departs).collect();
    // What is outside comes before what is only missing.
    departures.sort_by_key(|outcome| status_class(outcome.status) != "bad");
    Page {
        profile: context.profile,
        command: context.command,
        records: context.records,
        exit: verification.exit,
        exit_words: words::exit(verification.exit),
        verdict_counts: claims::verdict_counts(&verification.claims),
        claims: verification.claims.iter().map(|c| ClaimView::new(c, context)).collect(),
        forest: forest.map(|svg| inline(&svg)),
        regime: words::claims_regime(&verification.claims),
        protocol: verification.protocol.as_ref().map(|p| p.sentence.as_str()),
        counts: words::counts(verification),
        departures: departures.into_iter().map(view).collect(),
        regression: all.map(view).collect(),
        experiments: experiments::views(context, drawings),
        provenance: context.provenance,
    }
    .render()
}

/// A picture for use inside the page: it takes the width that there is.
fn inline(svg: &str) -> String {
    svg.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
