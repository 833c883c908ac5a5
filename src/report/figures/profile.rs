//! Series of the runs' measurements: one panel a series, one line a cell, with intervals over
//! the seeds.

use super::WIDTH;
use super::axes::{
    DAGGER, Entry, Head, Panel, Sample, Scale, labelled, no_data, padded, ticks, whisker,
};
use super::canvas::{Canvas, Font, Pen};
use super::course::images_along;
use super::line::starts;
use super::palette::{INK, Marker, Rgb, colour, dashes, marker};
use crate::experiments::results::{CellResult, ExperimentResult, SeedResult};
use crate::experiments::{COURSE, ProfilePanel, evaluation};
use crate::report::layout::mean_interval;
use crate::verify::stats;

const PANEL_HEIGHT: f64 = 290.0;

/// The figure.
pub fn draw(result: &ExperimentResult) -> String {
    let panels = &result.experiment.render.panels;
    let columns = if panels.len() > 1 { 2 } else { 1 };
    let mut how = "Line: mean over the seeds; bar: its 95% interval (Student t).".to_owned();
    if panels.iter().any(|panel| panel.measure == COURSE && panel.y == "test_accuracy") {
        let seeds = result.cells.iter().flat_map(|cell| &cell.seeds);
        how += &images_along(seeds.filter_map(|seed| seed.run.as_deref()));
    }
    if result.cells.iter().any(|cell| !cell.poison().is_empty()) {
        how += DAGGER;
    }
    let title = &result.experiment.title;
    let head = Head { title, how, entries: entries(result) };
    let top = head.height(WIDTH);
    let row_height = PANEL_HEIGHT + 92.0;
    let height = top + panels.len().div_ceil(columns) as f64 * row_height;
    Canvas::picture((WIDTH, height), title, |canvas| {
        head.draw(canvas, WIDTH);
        let width = (WIDTH - 20.0) / columns as f64;
        for (place, declared) in panels.iter().enumerate() {
            let left = 72.0 + (place % columns) as f64 * width;
            let above = top + (place / columns) as f64 * row_height + 26.0;
            let panel = Panel {
                left,
                top: above,
                right: left + width - 92.0,
                bottom: above + PANEL_HEIGHT,
            };
            canvas.text((panel.left, panel.top - 14.0), &declared.title, Font::new(13.0).bold());
            draw_panel(canvas, result, declared, panel);
        }
    })
}

/// Mean and interval of a series at one x.
struct Point {
    x: f64,
    mean: f64,
    interval: Option<[f64; 2]>,
}

fn draw_panel(
    canvas: &mut Canvas,
    result: &ExperimentResult,
    declared: &ProfilePanel,
    panel: Panel,
) {
    let line = |cell: &CellResult| {
        if is_shown(result, cell, declared) { points(cell, declared) } else { Vec::new() }
    };
    let lines: Vec<Vec<Point>> = result.cells.iter().map(line).collect();
    let all = || lines.iter().flatten();
    let heights = all().flat_map(|p| p.interval.into_iter().flatten().chain([p.mean]));
    let (Some(y_range), Some(x_range)) = (padded(heights, 0.05), padded(all().map(|p| p.x), 0.03))
    else {
        no_data(canvas, panel);
        return;
    };
    let y = Scale::linear(y_range, (panel.bottom, panel.top));
    let x = Scale::linear(x_range, (panel.left, panel.right));
    panel.y_axis(canvas, y, &ticks(y_range, 6), true);
    panel.y_label(canvas, panel.left - 52.0, &starts(&declared.y_label, y_range));
    panel.x_axis(canvas, x, &labelled(ticks(x_range, 7)));
    panel.x_label(canvas, &declared.x_label);
    for (place, points) in lines.iter().enumerate() {
        let (colour, pen, marker) = looks(result, place);
        let at = |p: &Point| (x.at(p.x), y.at(p.mean));
        for point in points {
            if let Some([low, high]) = point.interval {
                let here = x.at(point.x);
                whisker(canvas, (here, y.clamped(low)), (here, y.clamped(high)), colour);
            }
        }
        canvas.line(&points.iter().map(at).collect::<Vec<_>>(), pen);
        for point in points {
            canvas.mark(at(point), 3.4, marker, Pen { dashes: &[], ..pen }, true);
        }
    }
}

fn is_shown(result: &ExperimentResult, cell: &CellResult, declared: &ProfilePanel) -> bool {
    let first = result.experiment.axes.first().zip(cell.levels.first());
    let id = first.map(|(axis, &level)| axis.levels[level].id.as_str());
    declared.only.is_none() || declared.only.as_deref() == id
}

/// A cell's series over its seeds, as far as every seed has it.
fn points(cell: &CellResult, declared: &ProfilePanel) -> Vec<Point> {
    let rows: Vec<(Vec<f64>, Vec<f64>)> =
        cell.seeds.iter().filter_map(|seed| series(seed, declared)).collect();
    let Some((xs, _)) = rows.first() else { return Vec::new() };
    let length = rows.iter().map(|(x, y)| x.len().min(y.len())).min().unwrap_or(0);
    xs[..length]
        .iter()
        .enumerate()
        .filter_map(|(at, &x)| {
            let values: Vec<f64> = rows.iter().map(|(_, y)| y[at]).collect();
            let mean = stats::mean(&values);
            mean.is_finite().then(|| Point { x, mean, interval: mean_interval(&values) })
        })
        .collect()
}

fn series(seed: &SeedResult, declared: &ProfilePanel) -> Option<(Vec<f64>, Vec<f64>)> {
    if declared.measure == COURSE {
        let evaluations = &seed.run.as_ref()?.metrics.evaluations;
        let row = |name: &str| -> Option<Vec<f64>> {
            evaluations.iter().map(|e| evaluation::figure(e, name)).collect()
        };
        return Some((row(&declared.x)?, row(&declared.y)?));
    }
    let rows = &seed.measured.get(&declared.measure)?.series;
    Some((rows.get(&declared.x)?.clone(), rows.get(&declared.y)?.clone()))
}

/// Looks of a cell's line: the colour says the first axis' level, the strokes the second's.
fn looks(result: &ExperimentResult, place: usize) -> (Rgb, Pen, Marker) {
    let levels = &result.cells[place].levels;
    let first = levels.first().copied().unwrap_or(0);
    let second = levels.get(1).copied().unwrap_or(0);
    let id = result.experiment.axes.first().map_or("", |axis| axis.levels[first].id.as_str());
    let colour = colour(id, first);
    (colour, Pen::new(colour, 2.2).dashed(dashes(second)), marker(second))
}

fn entries(result: &ExperimentResult) -> Vec<Entry> {
    let cells = result.cells.iter().enumerate().map(|(place, cell)| {
        let (_, pen, marker) = looks(result, place);
        let poisoned = if cell.poison().is_empty() { "" } else { " \u{2020}" };
        let text = format!("{}{poisoned}", result.cell_label(cell));
        Entry { text, draw: Sample::MarkedLine(pen, marker) }
    });
    let interval = Entry { text: "95% interval".to_owned(), draw: Sample::Interval(INK) };
    cells.chain([interval]).collect()
}
