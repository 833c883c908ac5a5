//! The main metric over two axes, its numbers in the cells.

use super::WIDTH;
use super::axes::{
    Entry, Head, Panel, Sample, Scale, UNFIT_ENTRY, longest, marks_explained, no_data, tick_text,
    ticks,
};
use super::canvas::{Anchor, Canvas, Font, Pen, wrap};
use super::palette::{AXIS, INK, MUTED, PAPER, sequential, text_on};
use crate::experiments::Experiment;
use crate::report::layout::{Number, Numbers, metric_label, product, show};
use crate::report::words;

const CELL_HEIGHT: f64 = 60.0;

/// The axes of the figure: along x, along y, and those that make panels.
struct Axes {
    x: usize,
    y: Option<usize>,
    panels: Vec<usize>,
}

impl Axes {
    fn new(experiment: &Experiment) -> Axes {
        let find = |name: &Option<String>| {
            experiment.axes.iter().position(|axis| Some(&axis.name) == name.as_ref())
        };
        let last = experiment.axes.len().saturating_sub(1);
        let x = find(&experiment.render.x).unwrap_or(last);
        let named = find(&experiment.render.rows).or(find(&experiment.render.series));
        let y = named.filter(|&y| y != x);
        let y = y.or((0..experiment.axes.len()).find(|&axis| axis != x));
        let others = |&axis: &usize| axis != x && Some(axis) != y;
        Axes { x, y, panels: (0..experiment.axes.len()).filter(others).collect() }
    }

    /// Whether a number belongs to the panel of these levels.
    fn is_in(&self, number: &Number<'_>, levels: &[usize]) -> bool {
        self.panels.iter().zip(levels).all(|(&axis, &level)| number.cell.levels[axis] == level)
    }
}

/// The figure.
pub fn draw(numbers: &Numbers<'_>) -> String {
    let experiment = numbers.experiment();
    let axes = Axes::new(experiment);
    let mut panels = product(experiment, &axes.panels);
    let rows = axes.y.map_or(1, |y| experiment.axes[y].levels.len());
    let main: Vec<&Number<'_>> = match experiment.metrics.first() {
        Some(metric) => numbers.iter().filter(|n| n.metric.name == metric.name).collect(),
        None => Vec::new(),
    };
    // A gap stands at one level only: the other one's panel would be empty.
    panels.retain(|levels| main.iter().any(|n| axes.is_in(n, levels)));
    let means: Vec<f64> = main.iter().filter_map(|n| n.mean()).collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut how = "In each cell: mean over the seeds, and below it ± the sample standard \
                   deviation (number of seeds). The colour is the mean."
        .to_owned();
    if main.iter().any(|number| numbers.verdict(number.cell).is_some()) {
        how += " The word is the claim's verdict on this cell.";
    }
    how += &marks_explained(&main);
    let columns = if panels.len() > 1 { 2 } else { 1 };
    let grid_height = rows as f64 * CELL_HEIGHT;
    let row_height = grid_height + 100.0;
    let title = &experiment.title;
    let hatched = main.iter().any(|number| number.unfit.is_some()).then(|| Entry {
        text: UNFIT_ENTRY.to_owned(),
        draw: Sample::Hatch(Pen::new(INK, 0.9).faint(0.5)),
    });
    let head = Head { title, how, entries: hatched.into_iter().collect() };
    let top = head.height(WIDTH);
    let names = axes.y.iter().flat_map(|&y| &experiment.axes[y].levels);
    let room = longest(names.map(|l| l.label.as_str()), Font::new(11.5), 108.0) + 1.0;
    let grids = panels.len().div_ceil(columns) as f64 * row_height;
    // The colour bar and its label need some height of their own.
    let size = (WIDTH, top + grids.max(300.0));
    Canvas::picture(size, title, |canvas| {
        head.draw(canvas, WIDTH);
        let across = (WIDTH - 130.0) / columns as f64;
        for (place, levels) in panels.iter().enumerate() {
            let left = (place % columns) as f64 * across + 56.0 + room;
            let above = top + (place / columns) as f64 * row_height + 30.0;
            let panel = Panel {
                left,
                top: above,
                right: left + across - 76.0 - room,
                bottom: above + grid_height,
            };
            let names = axes.panels.iter().zip(levels);
            let names = names.map(|(&axis, &l)| experiment.level_name(axis, l));
            let name = names.collect::<Vec<_>>().join(", ");
            canvas.text((panel.left, panel.top - 14.0), &name, Font::new(13.0).bold());
            let here = main.iter().copied().filter(|n| axes.is_in(n, levels));
            draw_grid(canvas, numbers, &axes, here, panel, (low, high), room);
        }
        let bar = Panel {
            left: WIDTH - 100.0,
            top: top + 30.0,
            right: WIDTH - 82.0,
            bottom: top + 30.0 + grid_height.max(240.0),
        };
        let label = experiment.metrics.first().map(metric_label).unwrap_or_default();
        colour_bar(canvas, bar, (low, high), &label);
    })
}

fn draw_grid<'n, 'a: 'n>(
    canvas: &mut Canvas,
    all: &Numbers<'_>,
    axes: &Axes,
    numbers: impl Iterator<Item = &'n Number<'a>>,
    panel: Panel,
    (low, high): (f64, f64),
    room: f64,
) {
    let experiment = all.experiment();
    let Some(x_axis) = experiment.axes.get(axes.x) else {
        return no_data(canvas, panel);
    };
    let y_axis = axes.y.map(|y| &experiment.axes[y]);
    let width = panel.width() / x_axis.levels.len() as f64;
    for number in numbers {
        let column = number.cell.levels[axes.x] as f64;
        let row = axes.y.map_or(0, |y| number.cell.levels[y]) as f64;
        let from = (panel.left + column * width, panel.top + row * CELL_HEIGHT);
        let to = (from.0 + width - 2.0, from.1 + CELL_HEIGHT - 2.0);
        let middle = ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0);
        let font = Font::new(13.0).anchor(Anchor::Middle);
        let Some(mean) = number.mean() else {
            canvas.rectangle(from, to, AXIS, 0.15);
            canvas.text(middle, "no data", Font { size: 11.0, ..font }.colour(MUTED));
            continue;
        };
        let share = if high > low { (mean - low) / (high - low) } else { 0.5 };
        let fill = sequential(share);
        canvas.rectangle(from, to, fill, 1.0);
        let show = |value| show(number.metric, value);
        let colour = text_on(fill);
        if number.unfit.is_some() {
            canvas.hatch(from, to, Pen::new(colour, 0.9).faint(0.45));
        }
        let text = format!("{} {}", show(mean), number.marks());
        let text = text.trim_end();
        let verdict = all.verdict(number.cell);
        let lift = if verdict.is_some() { 14.0 } else { 7.0 };
        canvas.text((middle.0, middle.1 - lift), text, font.bold().colour(colour));
        let spread = match number.sd() {
            Some(sd) => format!("± {} ({})", show(sd), number.n()),
            None => format!("({})", number.n()),
        };
        let small = Font { size: 10.0, ..font }.colour(colour);
        canvas.text((middle.0, middle.1 + 17.0 - lift), &spread, small);
        if let Some(verdict) = verdict {
            let text = format!("{} {}", words::icon(verdict), words::verdict(verdict));
            canvas.text((middle.0, middle.1 + 19.0), &text, small.bold());
        }
    }
    let font = Font::new(11.5).anchor(Anchor::Middle);
    for (i, level) in x_axis.levels.iter().enumerate() {
        let at = panel.left + (i as f64 + 0.5) * width - 1.0;
        for (line, text) in wrap(&level.label, font, width - 6.0).iter().enumerate() {
            canvas.text((at, panel.bottom + 14.0 + line as f64 * 14.0), text, font);
        }
    }
    panel.x_label(canvas, &x_axis.label);
    let Some(y_axis) = y_axis else { return };
    for (i, level) in y_axis.levels.iter().enumerate() {
        let at = panel.top + (i as f64 + 0.5) * CELL_HEIGHT - 1.0;
        let lines = wrap(&level.label, font, room);
        let first = at - (lines.len() as f64 - 1.0) * 7.0;
        for (line, text) in lines.iter().enumerate() {
            let at = (panel.left - 10.0, first + line as f64 * 14.0);
            canvas.text(at, text, font.anchor(Anchor::Right));
        }
    }
    panel.y_label(canvas, panel.left - room - 30.0, &y_axis.label);
}

fn colour_bar(canvas: &mut Canvas, bar: Panel, range: (f64, f64), label: &str) {
    // A single value needs no scale.
    if range.0 >= range.1 {
        return;
    }
    const STEPS: usize = 64;
    let height = (bar.bottom - bar.top) / STEPS as f64;
    for step in 0..STEPS {
        let bottom = bar.bottom - step as f64 * height;
        let share = step as f64 / (STEPS - 1) as f64;
        // Half a pixel more, so that no seam shows between the steps.
        let top = (bottom - height - 0.5).max(bar.top);
        canvas.rectangle((bar.left, top), (bar.right, bottom), sequential(share), 1.0);
    }
    let scale = Scale::linear(range, (bar.bottom, bar.top));
    for value in ticks(range, 5) {
        let y = scale.at(value);
        canvas.line(&[(bar.right - 5.0, y), (bar.right, y)], Pen::new(PAPER, 1.0));
        canvas.line(&[(bar.right, y), (bar.right + 4.0, y)], Pen::new(INK, 1.0));
        canvas.text((bar.right + 8.0, y), &tick_text(value), Font::new(11.0).colour(MUTED));
    }
    bar.y_label(canvas, bar.left - 14.0, label);
}
