//! Experiments as texts: figure, wide table, the three columns side by side, run keys.

use super::runs::{CellRuns, Described, RunView};
use super::{inline, status_class};
use crate::experiments::Experiment;
use crate::experiments::results::ExperimentResult;
use crate::report::layout::{self, Number, Numbers, Pivot, metric_label};
use crate::report::{Drawing, ReportContext, tables, words};

/// Columns of numbers that fit on paper.
const MAX_PRINTED_COLUMNS: usize = 8;

/// An experiment.
pub struct ExperimentView<'a> {
    pub experiment: &'a Experiment,
    pub figure: Option<String>,
    /// How many of the cells are minima, and under how much weight decay.
    pub regime: String,
    /// The paper's shape; `None` where the long form says the same.
    pub wide: Option<WideView>,
    pub axis_labels: Vec<&'a str>,
    /// Rows of the long table, cell by cell.
    pub rows: Vec<Vec<LongRow<'a>>>,
    pub footnotes: Vec<String>,
    pub fit_headings: Vec<String>,
    /// What each cell is: its fit and its weight decay.
    pub fits: Vec<Vec<String>>,
    pub reading: String,
    pub cells: Vec<CellRuns<'a>>,
    /// Runs that no earlier experiment described.
    pub runs: Vec<RunView<'a>>,
    pub run_count: usize,
}

/// The table in the paper's shape.
pub struct WideView {
    pub corner: String,
    /// More columns than paper has room for; the long table says the same.
    pub is_crowded: bool,
    pub columns: Vec<Vec<String>>,
    pub rows: Vec<(String, Vec<WideCell>)>,
}

/// One number of the wide table, with the place of its runs.
pub struct WideCell {
    pub text: String,
    pub note: String,
    pub anchor: String,
}

/// One row of the long table.
pub struct LongRow<'a> {
    pub levels: Vec<&'a str>,
    pub metric: String,
    pub published: String,
    pub expected: String,
    pub measured: String,
    pub note: String,
    pub interval: String,
    pub status: &'static str,
    pub class: &'static str,
    /// Seed, whether its run is there, and the run's anchor.
    pub seeds: Vec<(u64, bool, String)>,
}

/// Views of all experiments; each run is described where it first appears.
pub fn views<'a>(context: &ReportContext<'a>, drawings: &[Drawing]) -> Vec<ExperimentView<'a>> {
    let mut described = Described::default();
    let drawn = |result: &ExperimentResult| {
        let drawing = drawings.iter().find(|d| d.experiment == result.experiment.id);
        drawing.map(|d| inline(&d.svg))
    };
    let results = context.results.iter();
    results.map(|r| view(context, r, drawn(r), &mut described)).collect()
}

fn view<'a>(
    context: &ReportContext<'a>,
    result: &'a ExperimentResult,
    figure: Option<String>,
    described: &mut Described<'a>,
) -> ExperimentView<'a> {
    let experiment = &result.experiment;
    let numbers = Numbers::new(result, context.verification);
    let pivot = Pivot::new(experiment);
    let wide = pivot.is_wide().then(|| WideView {
        corner: pivot.row_heading(experiment),
        is_crowded: pivot.column_headings(experiment).len() > MAX_PRINTED_COLUMNS,
        columns: pivot.column_headings(experiment),
        rows: pivot
            .rows(&numbers)
            .into_iter()
            .map(|(heading, row)| (heading, row.into_iter().map(|n| wide(experiment, n)).collect()))
            .collect(),
    });
    let all: Vec<&Number<'_>> = numbers.iter().collect();
    let by_cell = all.chunk_by(|a, b| a.cell_place == b.cell_place);
    let rows = by_cell.map(|cell| cell.iter().map(|n| long(experiment, n)).collect()).collect();
    let cells = CellRuns::all(result);
    let run_count = cells.iter().map(|cell| cell.seeds.len()).sum();
    ExperimentView {
        experiment,
        figure,
        regime: words::regime(&result.cells),
        wide,
        axis_labels: experiment.axes.iter().map(|axis| axis.label.as_str()).collect(),
        rows,
        footnotes: numbers.footnotes(),
        fit_headings: tables::fit_headings(&numbers),
        fits: tables::fit_rows(&numbers),
        reading: layout::reading(experiment),
        cells,
        runs: described.of(result),
        run_count,
    }
}

/// The value, with marks where no verdict may rest on it.
fn text(number: &Number<'_>) -> String {
    format!("{} {}", number.text(), number.marks()).trim_end().to_owned()
}

fn wide(experiment: &Experiment, number: Option<&Number<'_>>) -> WideCell {
    let Some(number) = number else {
        return WideCell { text: String::new(), note: String::new(), anchor: String::new() };
    };
    let published = number.published.map(|_| format!("published {}", number.published_text()));
    let notes: Vec<String> = number.gap().into_iter().chain(published).collect();
    WideCell {
        text: text(number),
        note: notes.join(", "),
        anchor: CellRuns::anchor(experiment, number.cell_place),
    }
}

fn long<'a>(experiment: &'a Experiment, number: &Number<'_>) -> LongRow<'a> {
    let places = experiment.axes.iter().zip(&number.cell.levels);
    let seeds = number.cell.seeds.iter();
    LongRow {
        levels: places.map(|(axis, &level)| axis.levels[level].label.as_str()).collect(),
        metric: metric_label(number.metric),
        published: number.published_text(),
        expected: number.expected_text(),
        measured: text(number),
        note: number.gap().unwrap_or_default(),
        interval: number.interval_text(),
        status: number.regression.map_or("", |outcome| words::status(outcome.status)),
        class: number.regression.map_or("", |outcome| status_class(outcome.status)),
        seeds: seeds.map(|s| (s.seed, s.run.is_some(), s.key.short().to_owned())).collect(),
    }
}
