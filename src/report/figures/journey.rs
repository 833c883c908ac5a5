//! Decision boundaries in the paper's arrangement: the two initializations at the left, arrows
//! to what training on the true labels makes of them at the right. An arrow leads from the
//! weights that a run started from.

use super::WIDTH;
use super::axes::{Head, Panel};
use super::canvas::{Canvas, Font, Pen, Point};
use super::decision::{START, aspect, cell_title, draw_cell, draw_panel, shown};
use super::palette::{INK, MUTED};
use crate::experiments::results::{CellResult, ExperimentResult, Measured, SeedResult};
use crate::experiments::within_sentence;
use crate::report::layout::Numbers;

/// Said of the figure above its panels.
pub const HOW: &str = " An arrow leads from the weights that a run started from. A region is a \
                       connected piece of the window in which one class is answered; below a \
                       panel their number at the seed that is shown, and its mean \u{b1} sample \
                       standard deviation (seeds).";

/// Metric that is told below each panel.
const REGIONS: &str = "boundary.regions";

const LEFT: f64 = 66.0;
const SIDE: f64 = 340.0;
/// Left edge of the panels at the right.
const RIGHT: f64 = WIDTH - SIDE - 40.0;

/// Where a run started.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    /// Random weights.
    Random,
    /// The end of the run of this cell.
    Cell(usize),
}

/// Cells at the left and at the right.
pub struct Journey<'a> {
    result: &'a ExperimentResult,
    /// A run from random weights that were measured.
    random: (&'a SeedResult, &'a Measured),
    /// The cell that others start from.
    start: usize,
    /// The others, each with its start.
    arrivals: Vec<(usize, Origin)>,
}

impl<'a> Journey<'a> {
    /// The arrangement of a result in which some cells start from another one and some from
    /// random weights; `None` where that is not so, or not measured.
    pub fn of(result: &'a ExperimentResult) -> Option<Journey<'a>> {
        let cells = &result.cells;
        let origin = |cell: &CellResult| -> Option<Origin> {
            let (seed, _) = shown(cell)?;
            let Some(parent) = &seed.run.as_ref()?.parent else { return Some(Origin::Random) };
            let is_parent = |other: &CellResult| other.seeds.iter().any(|s| s.key == parent.key);
            cells.iter().position(is_parent).map(Origin::Cell)
        };
        let origins: Vec<Origin> = cells.iter().map(origin).collect::<Option<_>>()?;
        let (start, others): (Vec<usize>, Vec<usize>) =
            (0..cells.len()).partition(|place| origins.contains(&Origin::Cell(*place)));
        let &[start] = start.as_slice() else { return None };
        let arrivals: Vec<(usize, Origin)> = others.into_iter().map(|p| (p, origins[p])).collect();
        let random = arrivals.iter().find(|(_, origin)| *origin == Origin::Random)?;
        let random = shown(&cells[random.0])?;
        let is_whole = origins[start] == Origin::Random && random.1.series.contains_key(START);
        is_whole.then_some(Journey { result, random, start, arrivals })
    }

    /// The figure below its head.
    pub fn draw(&self, numbers: &Numbers<'_>, head: &Head<'_>) -> String {
        let height = SIDE * aspect(self.result);
        let row_height = height + 104.0;
        let top = head.height(WIDTH) + 46.0;
        let panel = |left: f64, row: f64| {
            let top = top + row * row_height;
            Panel { left, top, right: left + SIDE, bottom: top + height }
        };
        // Half-way down its arrivals.
        let beside = |origin: Origin, first: f64| {
            let rows = (0..self.arrivals.len()).filter(|&row| self.arrivals[row].1 == origin);
            let rows: Vec<f64> = rows.map(|row| row as f64).collect();
            let middle = rows.iter().sum::<f64>() / rows.len() as f64;
            (origin, panel(LEFT, middle.max(first)))
        };
        let left = [beside(Origin::Random, 0.0), beside(Origin::Cell(self.start), 1.0)];
        let rows = self.arrivals.len().max(left.len()) as f64;
        let size = (WIDTH, top + rows * row_height - 16.0);
        Canvas::picture(size, head.title, |canvas| {
            head.draw(canvas, WIDTH);
            for (origin, panel) in &left {
                self.draw_start(canvas, numbers, *origin, *panel);
            }
            // The random labels were fitted from the random weights.
            let [(_, random), (_, adversarial)] = left;
            let x = random.left + 24.0;
            arrow(canvas, (x, random.bottom + 26.0), (x, adversarial.top - 44.0));
            let font = Font::new(11.0).colour(MUTED);
            let middle = (random.bottom + adversarial.top - 18.0) / 2.0;
            canvas.text((x + 10.0, middle), "fits random labels", font);
            for (row, &(place, origin)) in self.arrivals.iter().enumerate() {
                let panel = panel(RIGHT, row as f64);
                let cell = &self.result.cells[place];
                draw_cell(canvas, panel, &cell_title(self.result, cell), cell);
                told(canvas, numbers, cell, panel);
                if let Some((_, start)) = left.iter().find(|(other, _)| *other == origin) {
                    let from = (start.right + 14.0, start.middle().1);
                    arrow(canvas, from, (panel.left - 40.0, panel.middle().1));
                }
            }
        })
    }

    fn draw_start(&self, canvas: &mut Canvas, numbers: &Numbers<'_>, origin: Origin, panel: Panel) {
        match origin {
            Origin::Random => {
                let (seed, measured) = self.random;
                let title = "Random initialization";
                draw_panel(canvas, panel, title, Some((seed, measured, START)));
            }
            Origin::Cell(place) => {
                let cell = &self.result.cells[place];
                let title = format!(
                    "Adversarial initialization ({})",
                    within_sentence(&cell_title(self.result, cell))
                );
                draw_cell(canvas, panel, &title, cell);
                told(canvas, numbers, cell, panel);
            }
        }
    }
}

/// The number of regions below a panel: at the seed that is shown, over all seeds, and as the
/// published figure shows it.
fn told(canvas: &mut Canvas, numbers: &Numbers<'_>, cell: &CellResult, panel: Panel) {
    let number = numbers.iter().find(|n| n.metric.name == REGIONS && n.cell.levels == cell.levels);
    let (Some(number), Some((seed, _))) = (number, shown(cell)) else { return };
    let own = number.samples.iter().find(|(other, _)| *other == seed.seed);
    let Some((_, own)) = own.filter(|(_, value)| value.is_finite()) else { return };
    let bold = Font::new(12.0).bold();
    let noun = if *own == 1.0 { "region" } else { "regions" };
    let at = (panel.left, panel.bottom + 33.0);
    canvas.text(at, &format!("{own:.0} {noun}"), bold);
    let published =
        number.published.map(|_| format!("; published figure: {}", number.published_text()));
    let text = format!("{}{}", number.text(), published.unwrap_or_default());
    canvas.text((at.0 + 76.0, at.1), &text, Font::new(11.0).colour(MUTED));
}

/// A line with a head at its end.
fn arrow(canvas: &mut Canvas, from: Point, to: Point) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = libm::hypot(dx, dy);
    if length < 1.0 {
        return;
    }
    let (ux, uy) = (dx / length, dy / length);
    let foot = (to.0 - 11.0 * ux, to.1 - 11.0 * uy);
    canvas.line(&[from, foot], Pen::new(INK, 2.4));
    let wing = |side: f64| (foot.0 - side * 5.5 * uy, foot.1 + side * 5.5 * ux);
    canvas.polygon(&[to, wing(1.0), wing(-1.0)], INK, 1.0);
}
