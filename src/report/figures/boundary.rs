//! What the toy's networks have learned: the two regions, the boundary between them, the
//! Bayes rule, and the points that were trained on. One panel a cell: in a grid, or with arrows
//! from where each run started ([`super::journey`]).

use super::WIDTH;
use super::axes::{DAGGER, Entry, Head, Panel, Sample, UNFIT};
use super::canvas::{Canvas, Pen};
use super::decision::{CLASS, MARKER, aspect, cell_title, draw_cell};
use super::journey::{self, Journey};
use super::palette::INK;
use crate::experiments::results::ExperimentResult;
use crate::report::layout::Numbers;

/// The figure.
pub fn draw(numbers: &Numbers<'_>) -> String {
    let result = numbers.result;
    let title = &result.experiment.title;
    let is_poisoned = result.cells.iter().any(|cell| !cell.poison().is_empty());
    let is_unfit = result.cells.iter().any(|cell| cell.fit().is_some_and(|fit| !fit.fits));
    let how = format!(
        "Areas: the class that the network answers, for the lowest seed, with the share of the \
         plotted window in which it is not the Bayes rule's. Points: the training points with \
         the label that they were trained on.{}{}",
        if is_poisoned { DAGGER } else { "" },
        if is_unfit { UNFIT } else { "" }
    );
    let journey = Journey::of(result);
    let how = how + if journey.is_some() { journey::HOW } else { "" };
    let head = Head { title, how, entries: entries() };
    match journey {
        Some(journey) => journey.draw(numbers, &head),
        None => grid(result, &head),
    }
}

/// One panel a cell, in the order of the grid.
fn grid(result: &ExperimentResult, head: &Head<'_>) -> String {
    let experiment = &result.experiment;
    let count = result.cells.len().max(1);
    let columns = match experiment.axes.last() {
        // With several axes a row is all levels of the last one.
        Some(axis) if experiment.axes.len() > 1 => axis.levels.len().clamp(1, 4),
        _ if count <= 3 => count,
        _ if count.is_multiple_of(3) || count > 8 => 3,
        _ => {
            if count <= 4 {
                2
            } else {
                4
            }
        }
    };
    let columns = columns.max(2);
    let width = (WIDTH - 50.0) / columns as f64;
    let side = (width - 40.0).min(400.0);
    let aspect = aspect(result);
    let row_height = side * aspect + 82.0;
    let rows = count.div_ceil(columns);
    let top = head.height(WIDTH);
    let size = (WIDTH, top + rows as f64 * row_height + 20.0);
    Canvas::picture(size, head.title, |canvas| {
        head.draw(canvas, WIDTH);
        for (place, cell) in result.cells.iter().enumerate() {
            let left = 58.0 + (place % columns) as f64 * width;
            let above = top + (place / columns) as f64 * row_height + 46.0;
            let panel =
                Panel { left, top: above, right: left + side, bottom: above + side * aspect };
            draw_cell(canvas, panel, &cell_title(result, cell), cell);
            if place % columns == 0 {
                panel.y_label(canvas, 18.0, "second coordinate");
            }
            if place + columns >= count {
                panel.x_label(canvas, "first coordinate");
            }
        }
    })
}

fn entries() -> Vec<Entry> {
    let entry = |text: &str, draw| Entry { text: text.to_owned(), draw };
    let ring = Pen::new(INK, 1.2);
    vec![
        entry("class 0", Sample::Mark(MARKER[0], Pen::new(CLASS[0], 1.0), true)),
        entry("class 1", Sample::Mark(MARKER[1], Pen::new(CLASS[1], 1.0), true)),
        entry("trained on a label that is not the true one", Sample::Mark(MARKER[0], ring, false)),
        entry("decision boundary", Sample::Line(Pen::new(INK, 2.0))),
        entry("Bayes rule", Sample::Line(Pen::new(INK, 1.2).dashed(&[5.0, 3.0]))),
    ]
}
