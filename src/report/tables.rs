//! An experiment's table as Markdown, LaTeX (booktabs) and CSV, and the table of verdicts.
//!
//! The wide form has the shape of a paper's table; the long form sets the published value,
//! the blessed one and this run's side by side.

use super::layout::{Number, Numbers, Pivot, metric_label, reading};
use super::{escape, words};
use crate::experiments::results::{CellResult, Fit};
use crate::verify::outcome::Verification;

const LONG_TAIL: [&str; 6] = ["Published", "Expected", "This run", "95% interval", "n", "Check"];

/// `65.1 ± 2.0 (3)†, missing 1 of 4; published 66.0`: a cell of the wide form.
pub fn wide_cell(number: &Number<'_>) -> String {
    let mut text = measured(number);
    if number.published.is_some() {
        text += &format!("; published {}", number.published_text());
    }
    text
}

/// This run's value with its caveats.
pub fn measured(number: &Number<'_>) -> String {
    let mut text = number.text() + &number.marks();
    if let Some(gap) = number.gap() {
        let separator = if text.is_empty() { "" } else { ", " };
        text = format!("{text}{separator}{gap}");
    }
    text
}

/// Headings of the long form: the axes, the metric, and the numbers side by side.
pub fn long_headings(numbers: &Numbers<'_>) -> Vec<String> {
    let axes = numbers.experiment().axes.iter().map(|axis| axis.label.clone());
    let tail = LONG_TAIL.map(str::to_owned);
    axes.chain(["Metric".to_owned()]).chain(tail).collect()
}

/// One row of the long form, in the order of [`long_headings`].
pub fn long_row(numbers: &Numbers<'_>, number: &Number<'_>) -> Vec<String> {
    let axes = numbers.experiment().axes.iter().zip(&number.cell.levels);
    let levels = axes.map(|(axis, &level)| axis.levels[level].label.clone());
    let check = number.regression.map(|r| words::status(r.status).to_owned());
    let tail = [
        number.published_text(),
        number.expected_text(),
        measured(number),
        number.interval_text(),
        number.n().to_string(),
        check.unwrap_or_default(),
    ];
    levels.chain([metric_label(number.metric)]).chain(tail).collect()
}

/// The wide and the long form under the experiment's title.
pub fn markdown(numbers: &Numbers<'_>) -> String {
    let experiment = numbers.experiment();
    let mut text = format!(
        "# {}\n\n{}\n\nSource: {}\n\n",
        escape::markdown(&experiment.title),
        escape::markdown(&experiment.summary),
        escape::markdown(&experiment.source)
    );
    let pivot = Pivot::new(experiment);
    let cells = pivot.column_headings(experiment).into_iter().map(|lines| lines.join(", "));
    let headings: Vec<String> = [pivot.row_heading(experiment)].into_iter().chain(cells).collect();
    let rows = pivot.rows(numbers).into_iter().map(|(heading, row)| {
        let cells = row.into_iter().map(|n| n.map(wide_cell).unwrap_or_default());
        [heading].into_iter().chain(cells).collect()
    });
    text += &markdown_table(&headings, rows.collect(), 1);
    text += &format!("\n{}\n\n## Published, expected, this run\n\n", reading(experiment));
    let long: Vec<Vec<String>> = numbers.iter().map(|n| long_row(numbers, n)).collect();
    text += &markdown_table(&long_headings(numbers), long, experiment.axes.len() + 1);
    for note in numbers.footnotes() {
        text += &format!("\n{}\n", escape::markdown(&note));
    }
    text += "\n## Fit and weight decay\n\n";
    let left = experiment.axes.len();
    text + &markdown_table(&fit_headings(numbers), fit_rows(numbers), left)
}

/// Headings of the table of what each cell is: the axes, its fit, its weight decay.
pub fn fit_headings(numbers: &Numbers<'_>) -> Vec<String> {
    let axes = numbers.experiment().axes.iter().map(|axis| axis.label.clone());
    let tail = ["Training accuracy (%)", "Lowest seed", "Fits", words::DECAY];
    axes.chain(tail.map(str::to_owned)).collect()
}

/// One row a cell, in the order of [`fit_headings`].
pub fn fit_rows(numbers: &Numbers<'_>) -> Vec<Vec<String>> {
    let experiment = numbers.experiment();
    let row = |cell: &CellResult| {
        let axes = experiment.axes.iter().zip(&cell.levels);
        let levels = axes.map(|(axis, &level)| axis.levels[level].label.clone());
        let fit = cell.fit();
        let number = |pick: fn(&Fit) -> f64| {
            let value = fit.map(|fit| pick(&fit)).filter(|value| value.is_finite());
            value.map(|value| format!("{value:.2}"))
        };
        let tail = [
            number(|fit| fit.mean).unwrap_or_default(),
            number(|fit| fit.lowest).unwrap_or_default(),
            fit.map(|fit| if fit.fits { "yes" } else { "no" }).unwrap_or_default().to_owned(),
            words::decay(cell.dose()),
        ];
        levels.chain(tail).collect()
    };
    numbers.result.cells.iter().map(row).collect()
}

/// A Markdown table whose first `left` columns are text and the others numbers.
pub fn markdown_table(headings: &[String], rows: Vec<Vec<String>>, left: usize) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escape::markdown(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<&str> =
        (0..headings.len()).map(|i| if i < left { "---" } else { "---:" }).collect();
    let mut text = line(headings) + &format!("|{}|\n", rule.join("|"));
    text.extend(rows.iter().map(|row| line(row)));
    text
}

/// The table "verdicts at a glance".
pub fn verdicts_markdown(verification: &Verification) -> String {
    let headings =
        ["Claim", "Verdict", "What it says", "Effect", "95% interval", "Must be", "n", "Direction"];
    let rows = verification.claims.iter().map(|claim| {
        let effect = words::effect(claim.statistic, claim.interval);
        vec![
            claim.id.clone(),
            format!("{} {}", words::icon(claim.verdict), words::verdict_and_bearing(claim)),
            claim.statement.clone(),
            effect.value,
            effect.interval,
            claim.must_be.clone(),
            claim.n.to_string(),
            words::direction(claim),
        ]
    });
    markdown_table(&headings.map(str::to_owned), rows.collect(), 3)
}

/// Two LaTeX tables to be read with `\input`; they need `booktabs`, the long one `longtable`.
pub fn latex(numbers: &Numbers<'_>) -> String {
    let experiment = numbers.experiment();
    let pivot = Pivot::new(experiment);
    let headings = pivot.column_headings(experiment);
    let stacked = |lines: &Vec<String>| {
        let lines: Vec<String> = lines.iter().map(|line| escape::latex(line)).collect();
        format!("\\shortstack{{{}}}", lines.join(" \\\\ "))
    };
    let caption = format!("{} {}", with_stop(&experiment.title), reading(experiment));
    let mut text = format!(
        "% \\usepackage{{booktabs,longtable}}\n\\begin{{table}}\n\\centering\n\
         \\caption{{{}}}\n\\label{{tab:{}}}\n\\begin{{tabular}}{{l{}}}\n\\toprule\n",
        escape::latex(&caption),
        experiment.id,
        "r".repeat(headings.len())
    );
    let head: Vec<String> = [escape::latex(&pivot.row_heading(experiment))]
        .into_iter()
        .chain(headings.iter().map(stacked))
        .collect();
    text += &latex_row(&head);
    text += "\\midrule\n";
    for (heading, row) in pivot.rows(numbers) {
        let cells = row.into_iter().map(|n| escape::latex(&n.map(wide_cell).unwrap_or_default()));
        text += &latex_row(&[escape::latex(&heading)].into_iter().chain(cells).collect::<Vec<_>>());
    }
    text += "\\bottomrule\n\\end{tabular}\n";
    for note in numbers.footnotes() {
        text += &format!("\\par\\footnotesize {}\n", escape::latex(&note));
    }
    text += "\\end{table}\n\n";
    text + &latex_long(numbers)
}

fn latex_long(numbers: &Numbers<'_>) -> String {
    let experiment = numbers.experiment();
    let headings = long_headings(numbers);
    let left = experiment.axes.len() + 1;
    let columns = format!("{}{}l", "l".repeat(left), "r".repeat(headings.len() - left - 1));
    let caption = format!("{} Published, expected and this run.", with_stop(&experiment.title));
    let escaped =
        |row: Vec<String>| -> Vec<String> { row.iter().map(|cell| escape::latex(cell)).collect() };
    let mut text = format!(
        "\\begin{{longtable}}{{{columns}}}\n\\caption{{{}}}\\label{{tab:{}-long}}\\\\\n\\toprule\n",
        escape::latex(&caption),
        experiment.id
    );
    text += &latex_row(&escaped(headings));
    text += "\\midrule\n\\endhead\n";
    for number in numbers.iter() {
        text += &latex_row(&escaped(long_row(numbers, number)));
    }
    text + "\\bottomrule\n\\end{longtable}\n"
}

fn latex_row(cells: &[String]) -> String {
    format!("{} \\\\\n", cells.join(" & "))
}

/// `text` as a sentence.
fn with_stop(text: &str) -> String {
    if text.ends_with(['.', '?', '!']) { text.to_owned() } else { format!("{text}.") }
}

/// One row a cell and metric, numbers in full precision.
pub fn csv(numbers: &Numbers<'_>) -> String {
    let experiment = numbers.experiment();
    let full = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    let mut rows: Vec<Vec<String>> = Vec::new();
    let tail = [
        "metric",
        "unit",
        "published",
        "published_source",
        "expected",
        "mean",
        "sd",
        "n",
        "ci95_low",
        "ci95_high",
        "seeds_missing",
        "check",
        "poisoned",
        "fits",
        "values",
    ];
    let axes = experiment.axes.iter().map(|axis| axis.name.clone());
    let head = ["experiment".to_owned()].into_iter().chain(axes);
    rows.push(head.chain(tail.map(str::to_owned)).collect());
    for number in numbers.iter() {
        let places = experiment.axes.iter().zip(&number.cell.levels);
        let levels = places.map(|(axis, &level)| axis.levels[level].id.clone());
        let interval = number.interval();
        let samples: Vec<String> =
            number.samples.iter().map(|(seed, value)| format!("{seed}:{value}")).collect();
        let tail = [
            number.metric.name.clone(),
            number.metric.unit.clone(),
            full(number.published.map(|p| p.value)),
            number.published.map(|p| p.source.clone()).unwrap_or_default(),
            full(number.expected()),
            full(number.mean()),
            full(number.sd()),
            number.n().to_string(),
            full(interval.map(|i| i[0])),
            full(interval.map(|i| i[1])),
            number.missing().to_string(),
            number.regression.map(|r| words::status(r.status).into()).unwrap_or_default(),
            number.poison.join("; "),
            number.fits().map(|fits| fits.to_string()).unwrap_or_default(),
            samples.join(";"),
        ];
        rows.push([experiment.id.clone()].into_iter().chain(levels).chain(tail).collect());
    }
    let line = |row: &Vec<String>| {
        let fields: Vec<String> = row.iter().map(|field| escape::csv(field)).collect();
        fields.join(",") + "\n"
    };
    rows.iter().map(line).collect()
}
