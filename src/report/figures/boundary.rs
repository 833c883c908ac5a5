//! What the toy's networks have learned: the two regions, the boundary between them, the
//! Bayes rule, and the points that were trained on. One panel a cell: in a grid, or with arrows
//! from where each run started ([`super::journey`]).

use super::axes::{DAGGER, Entry, Head, Panel, Sample, Scale, UNFIT, labelled, no_data, ticks};
use super::canvas::{Anchor, Canvas, Font, Pen, Point};
use super::contour::{Field, as_polygon};
use super::journey::{self, Journey};
use super::palette::{AXIS, BLUE, INK, MUTED, Marker, PAPER, Rgb, VERMILION, as_text};
use super::{FigureError, WIDTH};
use crate::experiments::results::{CellResult, ExperimentResult, Measured, SeedResult};
use crate::report::layout::Numbers;
use crate::spec::DataSpec;

/// Name of the measurement that a panel shows.
const MEASURE: &str = "boundary";
/// Series with the answers at the end of a run.
const END: &str = "grid";
/// And those of the random weights at its start.
pub const START: &str = "start";

const CLASS: [Rgb; 2] = [BLUE, VERMILION];
const MARKER: [Marker; 2] = [Marker::Circle, Marker::Triangle];

/// The figure.
///
/// # Errors
/// If the drawing backend fails.
pub fn draw(numbers: &Numbers<'_>) -> Result<String, FigureError> {
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
fn grid(result: &ExperimentResult, head: &Head<'_>) -> Result<String, FigureError> {
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

/// A cell's label with the marks of what keeps a verdict from resting on it.
pub fn cell_title(result: &ExperimentResult, cell: &CellResult) -> String {
    let dagger = if cell.poison().is_empty() { "" } else { "\u{2020}" };
    let double = if cell.fit().is_none_or(|fit| fit.fits) { "" } else { "\u{2021}" };
    format!("{} {dagger}{double}", result.cell_label(cell)).trim_end().to_owned()
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

/// The seed that is shown: the lowest one that has been measured.
pub fn shown(cell: &CellResult) -> Option<(&SeedResult, &Measured)> {
    let measured = |seed| -> Option<(&SeedResult, &Measured)> {
        let seed: &SeedResult = seed;
        Some((seed, seed.measured.get(MEASURE)?))
    };
    cell.seeds.iter().filter_map(measured).min_by_key(|(seed, _)| seed.seed)
}

/// `[x_min, x_max, y_min, y_max]` of a measurement.
fn window(measured: &Measured) -> Option<[f64; 4]> {
    let window: [f64; 4] = measured.series.get("window")?.as_slice().try_into().ok()?;
    let sound = window.iter().all(|v| v.is_finite()) && window[0] < window[1];
    (sound && window[2] < window[3]).then_some(window)
}

/// Height over width of the first window, within what can be drawn.
pub fn aspect(result: &ExperimentResult) -> f64 {
    let windows = result.cells.iter().filter_map(|cell| window(shown(cell)?.1));
    windows.map(|w| (w[3] - w[2]) / (w[1] - w[0])).next().unwrap_or(1.0).clamp(0.4, 1.4)
}

/// A cell's network at its end.
pub fn draw_cell(canvas: &mut Canvas<'_>, panel: Panel, title: &str, cell: &CellResult) {
    let Some((seed, measured)) = shown(cell) else {
        draw_panel(canvas, panel, title, None);
        return;
    };
    let share = measured.values.get("bayes_disagreement").filter(|v| v.is_finite());
    if let Some(share) = share {
        let text = format!("{share:.1}% differs from the Bayes rule");
        let font = Font::new(10.5).colour(MUTED);
        canvas.paragraph((panel.left, panel.top - 12.0), panel.width() + 30.0, &text, font);
    }
    draw_panel(canvas, panel, title, Some((seed, measured, END)));
}

/// The answers of a network: the series `grid` of a measurement of a seed's run.
pub fn draw_panel(
    canvas: &mut Canvas<'_>,
    panel: Panel,
    title: &str,
    shown: Option<(&SeedResult, &Measured, &str)>,
) {
    canvas.text((panel.left, panel.top - 30.0), title, Font::new(13.0).bold());
    let found = shown.and_then(|(seed, m, grid)| Some((seed, m, grid, window(m)?)));
    let Some((seed, measured, grid, window)) = found else {
        canvas.rectangle((panel.left, panel.top), (panel.right, panel.bottom), AXIS, 0.12);
        no_data(canvas, panel);
        return;
    };
    let x = Scale::linear((window[0], window[1]), (panel.left, panel.right));
    let y = Scale::linear((window[2], window[3]), (panel.bottom, panel.top));
    regions(canvas, measured, grid, panel);
    if let Some(DataSpec::Toy(toy)) = seed.run.as_ref().map(|run| &run.spec.data) {
        // Equal isotropic normals on either side of `center`: the nearer mean is right.
        let at = x.at(toy.center);
        let pen = Pen::new(INK, 1.2).dashed(&[5.0, 3.0]);
        canvas.line(&[(at, panel.top), (at, panel.bottom)], pen);
    }
    points(canvas, measured, x, y, panel);
    let corners = [
        (panel.left, panel.top),
        (panel.right, panel.top),
        (panel.right, panel.bottom),
        (panel.left, panel.bottom),
        (panel.left, panel.top),
    ];
    canvas.line(&corners, Pen::new(AXIS, 1.0));
    panel.x_axis(canvas, x, &labelled(ticks((window[0], window[1]), 4)));
    let font = Font::new(11.0).colour(MUTED).anchor(Anchor::Right);
    for (value, text) in labelled(ticks((window[2], window[3]), 4)) {
        canvas.text((panel.left - 6.0, y.at(value)), &text, font);
    }
}

/// The two answers as areas, and the line between them.
fn regions(canvas: &mut Canvas<'_>, measured: &Measured, grid: &str, panel: Panel) {
    canvas.rectangle((panel.left, panel.top), (panel.right, panel.bottom), CLASS[0], 0.16);
    let grid = measured.series.get(grid);
    let size = measured.series.get("size").filter(|size| size.len() == 2);
    let (Some(values), Some(size)) = (grid, size) else { return };
    let (columns, rows) = (size[0] as usize, size[1] as usize);
    if columns < 2 || rows < 2 || values.len() != columns * rows {
        return;
    }
    let field = Field { values, columns, rows };
    let place = |p: &Point| {
        let across = p.0 / (columns - 1) as f64;
        let up = p.1 / (rows - 1) as f64;
        (panel.left + across * panel.width(), panel.bottom + up * (panel.top - panel.bottom))
    };
    let region = field.above(0.5);
    let outline: Vec<Point> = as_polygon(&region).iter().map(place).collect();
    // Paper first, so that the two light colours do not mix.
    canvas.polygon(&outline, PAPER, 1.0);
    canvas.polygon(&outline, CLASS[1], 0.20);
    for line in field.crossings(&region) {
        let line: Vec<Point> = line.iter().map(place).collect();
        canvas.line(&line, Pen::new(INK, 2.0));
    }
}

fn points(canvas: &mut Canvas<'_>, measured: &Measured, x: Scale, y: Scale, panel: Panel) {
    let Some(points) = measured.series.get("points") else { return };
    for point in points.as_chunks::<4>().0 {
        let [px, py, label, truth] = *point;
        let at = (x.at(px), y.at(py));
        let inside = (panel.left..=panel.right).contains(&at.0)
            && (panel.top..=panel.bottom).contains(&at.1);
        if !inside {
            continue;
        }
        let class = usize::from(label >= 0.5);
        let marker = MARKER[class];
        canvas.mark(at, 4.1, marker, Pen::new(PAPER, 1.0), true);
        canvas.mark(at, 3.1, marker, Pen::new(as_text(CLASS[class]), 1.0), true);
        if label != truth {
            canvas.mark(at, 4.6, marker, Pen::new(INK, 1.1), false);
        }
    }
}
