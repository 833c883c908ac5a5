//! One panel of what a network of the toy answers: its regions, their boundary, the Bayes rule
//! and the points.

use super::axes::{Panel, Scale, labelled, no_data, ticks};
use super::canvas::{Anchor, Canvas, Font, Pen, Point};
use super::contour::{Field, as_polygon};
use super::palette::{AXIS, BLUE, INK, MUTED, Marker, PAPER, Rgb, VERMILION, as_text};
use crate::experiments::results::{CellResult, ExperimentResult, Measured, SeedResult};
use crate::spec::DataSpec;

/// Name of the measurement that a panel shows.
const MEASURE: &str = "boundary";
/// Series with the answers at the end of a run.
const END: &str = "grid";
/// And those of the random weights at its start.
pub const START: &str = "start";

/// Colours of the two classes.
pub const CLASS: [Rgb; 2] = [BLUE, VERMILION];
/// Marks of their points.
pub const MARKER: [Marker; 2] = [Marker::Circle, Marker::Triangle];

/// A cell's label with the marks of what keeps a verdict from resting on it.
pub fn cell_title(result: &ExperimentResult, cell: &CellResult) -> String {
    let dagger = if cell.poison().is_empty() { "" } else { "\u{2020}" };
    let double = if cell.fit().is_none_or(|fit| fit.fits) { "" } else { "\u{2021}" };
    format!("{} {dagger}{double}", result.cell_label(cell)).trim_end().to_owned()
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
pub fn draw_cell(canvas: &mut Canvas, panel: Panel, title: &str, cell: &CellResult) {
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
    canvas: &mut Canvas,
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
fn regions(canvas: &mut Canvas, measured: &Measured, grid: &str, panel: Panel) {
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

fn points(canvas: &mut Canvas, measured: &Measured, x: Scale, y: Scale, panel: Panel) {
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
