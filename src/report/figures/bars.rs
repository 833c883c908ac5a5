//! The main metric of every cell, one row a cell: mean as a mark, its interval, the single
//! seeds, and the blessed and published values where there are any.

use super::WIDTH;
use super::axes::{
    Entry, Head, Panel, Sample, Scale, UNFIT_ENTRY, labelled, longest, marks_explained, no_data,
    padded, ticks, whisker,
};
use super::canvas::{Anchor, Canvas, Font, Pen, wrap};
use super::line::{starts, within_unit};
use super::palette::{AXIS, GRID, INK, MUTED, Marker, Rgb, SHADE, as_text, colour, marker};
use crate::experiments::Experiment;
use crate::report::layout::{Number, Numbers, metric_label, product};

const ROW: f64 = 26.0;
const BETWEEN_GROUPS: f64 = 12.0;
/// Over the row of a cell that is no minimum.
const HATCH: Pen = Pen { colour: AXIS, alpha: 0.55, width: 0.9, dashes: &[] };

/// Rows that stand together: cells that differ in the series only.
struct Group<'n, 'a> {
    label: String,
    rows: Vec<&'n Number<'a>>,
}

fn groups<'n, 'a>(numbers: &'n Numbers<'a>, series: Option<usize>) -> Vec<Group<'n, 'a>> {
    let experiment = numbers.experiment();
    let Some(metric) = experiment.metrics.first() else { return Vec::new() };
    let outer: Vec<usize> =
        (0..experiment.axes.len()).filter(|&axis| Some(axis) != series).collect();
    let group = |levels: Vec<usize>| {
        let names = outer.iter().zip(&levels);
        let names = names.filter(|(axis, _)| experiment.axes[**axis].levels.len() > 1);
        let names = names.map(|(&axis, &l)| experiment.level_name(axis, l));
        let label = names.collect::<Vec<_>>().join(", ");
        let fits = |number: &&Number<'_>| {
            number.metric.name == metric.name
                && outer.iter().zip(&levels).all(|(&axis, &l)| number.cell.levels[axis] == l)
        };
        Group { label, rows: numbers.iter().filter(fits).collect() }
    };
    product(experiment, &outer).into_iter().map(group).collect()
}

/// Axis whose levels stand together in a group.
fn series_axis(experiment: &Experiment) -> Option<usize> {
    let wanted = experiment.render.series.as_deref();
    let named = experiment.axes.iter().position(|axis| Some(axis.name.as_str()) == wanted);
    named.or((experiment.axes.len() > 1).then(|| experiment.axes.len() - 1))
}

/// The figure.
pub fn draw(numbers: &Numbers<'_>) -> String {
    let experiment = numbers.experiment();
    let series = series_axis(experiment);
    let groups = groups(numbers, series);
    let rows: Vec<&Number<'_>> = groups.iter().flat_map(|g| &g.rows).copied().collect();
    let label_font = Font::new(12.0);
    let outer = longest(groups.iter().map(|g| g.label.as_str()), label_font.bold(), 250.0) + 1.0;
    let inner: Vec<String> =
        rows.iter().filter_map(|n| series_label(experiment, series, n)).collect();
    let inner = longest(inner.iter().map(String::as_str), label_font, 200.0);
    let left = 20.0 + outer + inner + if inner > 0.0 { 40.0 } else { 20.0 };
    let title = &experiment.title;
    let mut how = "Mark: mean over the seeds, with its 95% interval (Student t); small circles: \
                   the single seeds. At the right: mean \u{b1} sample standard deviation (seeds)."
        .to_owned();
    how += &marks_explained(&rows);
    let head = Head { title, how, entries: entries(experiment, series, &rows) };
    let top = head.height(WIDTH);
    let height: f64 = groups.iter().map(|g| g.rows.len() as f64 * ROW + BETWEEN_GROUPS).sum();
    let panel = Panel { left, top, right: WIDTH - 150.0, bottom: top + height };
    let ends = rows.iter().flat_map(|n| n.interval().into_iter().flatten());
    let singles = rows.iter().flat_map(|n| n.samples.iter().map(|s| s.1));
    let held = rows.iter().flat_map(|n| [n.expected(), n.published.map(|p| p.value)]).flatten();
    let range = padded(ends.chain(singles).chain(held), 0.04);
    Canvas::picture((WIDTH, panel.bottom + 56.0), title, |canvas| {
        head.draw(canvas, WIDTH);
        let Some((metric, range)) = experiment.metrics.first().zip(range) else {
            no_data(canvas, panel);
            return;
        };
        let range = within_unit(range, &metric.unit);
        let x = Scale::linear(range, (panel.left, panel.right));
        let marks = ticks(range, 8);
        for &value in &marks {
            let at = x.at(value);
            canvas.line(&[(at, panel.top), (at, panel.bottom)], Pen::new(GRID, 1.0));
        }
        panel.x_axis(canvas, x, &labelled(marks));
        panel.x_label(canvas, &starts(&metric_label(metric), range));
        let mut y = panel.top + BETWEEN_GROUPS / 2.0;
        for (place, group) in groups.iter().enumerate() {
            let end = y + group.rows.len() as f64 * ROW;
            if place % 2 == 1 {
                let half = BETWEEN_GROUPS / 2.0;
                canvas.rectangle((14.0, y - half), (panel.left, end + half), SHADE, 1.0);
            }
            let lines = wrap(&group.label, label_font.bold(), outer.max(60.0));
            let first = (y + end) / 2.0 - (lines.len() as f64 - 1.0) * 7.5;
            for (i, line) in lines.iter().enumerate() {
                canvas.text((20.0, first + i as f64 * 15.0), line, label_font.bold());
            }
            for number in &group.rows {
                let middle = y + ROW / 2.0;
                if let Some(text) = series_label(experiment, series, number) {
                    let (colour, _) = looks(experiment, series, number);
                    let font = label_font.anchor(Anchor::Right).colour(as_text(colour));
                    canvas.text((panel.left - 12.0, middle), &text, font);
                }
                row(canvas, number, looks(experiment, series, number), x, middle);
                y += ROW;
            }
            y += BETWEEN_GROUPS;
        }
    })
}

fn series_label(
    experiment: &Experiment,
    series: Option<usize>,
    number: &Number<'_>,
) -> Option<String> {
    series.map(|axis| experiment.level_name(axis, number.cell.levels[axis]))
}

/// The axis whose levels have the colours: the initialization, else the series.
fn coloured_axis(experiment: &Experiment, series: Option<usize>) -> Option<usize> {
    let is_start = |axis: &crate::experiments::Axis| axis.name.contains("init");
    experiment.axes.iter().position(is_start).or(series)
}

fn level_colour(experiment: &Experiment, axis: Option<usize>, level: usize) -> Rgb {
    let id = axis.map_or("", |axis| experiment.axes[axis].levels[level].id.as_str());
    colour(id, level)
}

/// Colour and marker of a cell.
fn looks(experiment: &Experiment, series: Option<usize>, number: &Number<'_>) -> (Rgb, Marker) {
    let axis = coloured_axis(experiment, series);
    let level = |axis: Option<usize>| axis.map_or(0, |axis| number.cell.levels[axis]);
    (level_colour(experiment, axis, level(axis)), marker(level(series)))
}

fn entries(experiment: &Experiment, series: Option<usize>, rows: &[&Number<'_>]) -> Vec<Entry> {
    let entry = |text: &str, draw| Entry { text: text.to_owned(), draw };
    let mut entries: Vec<Entry> = Vec::new();
    let coloured = coloured_axis(experiment, series);
    // Only what is drawn: a gap stands at one level of its axis.
    let levels = |axis: usize| {
        let places = 0..experiment.axes[axis].levels.len();
        places.filter(move |place| rows.iter().any(|n| n.cell.levels[axis] == *place))
    };
    if let Some(axis) = coloured {
        for place in levels(axis) {
            let name = experiment.level_name(axis, place);
            let colour = level_colour(experiment, coloured, place);
            let shape = if coloured == series { marker(place) } else { Marker::Circle };
            entries.push(entry(&name, Sample::Mark(shape, Pen::new(colour, 1.0), true)));
        }
    }
    if let Some(axis) = series.filter(|_| coloured != series) {
        for place in levels(axis) {
            let name = experiment.level_name(axis, place);
            let pen = Pen::new(INK, 1.0);
            entries.push(entry(&name, Sample::Mark(marker(place), pen, true)));
        }
    }
    if coloured.is_none() {
        let pen = Pen::new(colour("", 0), 1.0);
        entries.push(entry("mean", Sample::Mark(Marker::Circle, pen, true)));
    }
    entries.push(entry("95% interval", Sample::Interval(INK)));
    let seed = Pen::new(INK, 1.0).faint(0.45);
    entries.push(entry("one seed", Sample::Mark(Marker::Circle, seed, false)));
    if rows.iter().any(|n| n.expected().is_some()) {
        entries.push(entry("expected (blessed mean)", Sample::Tick(Pen::new(MUTED, 1.6))));
    }
    if rows.iter().any(|n| n.unfit.is_some()) {
        entries.push(entry(UNFIT_ENTRY, Sample::Hatch(HATCH)));
    }
    if rows.iter().any(|n| n.published.is_some()) {
        let pen = Pen::new(INK, 1.4);
        entries.push(entry("published", Sample::Mark(Marker::Diamond, pen, false)));
    }
    entries
}

fn row(canvas: &mut Canvas, number: &Number<'_>, looks: (Rgb, Marker), x: Scale, y: f64) {
    let (colour, marker) = looks;
    let font = Font::new(11.0).colour(MUTED);
    let Some(mean) = number.mean() else {
        canvas.text((x.start + 8.0, y), "no data", font);
        return;
    };
    if number.unfit.is_some() {
        let half = ROW / 2.0 - 2.0;
        canvas.hatch((x.start, y - half), (x.end, y + half), HATCH);
    }
    if let Some(expected) = number.expected() {
        let at = x.at(expected);
        canvas.line(&[(at, y - 9.0), (at, y + 9.0)], Pen::new(MUTED, 1.6));
    }
    if let Some([low, high]) = number.interval() {
        whisker(canvas, (x.clamped(low), y), (x.clamped(high), y), colour);
    }
    for &(_, value) in number.samples.iter().filter(|(_, value)| value.is_finite()) {
        let pen = Pen::new(colour, 1.0).faint(0.6);
        canvas.mark((x.at(value), y + 7.0), 2.4, Marker::Circle, pen, false);
    }
    canvas.mark((x.at(mean), y), 5.0, marker, Pen::new(colour, 1.0), true);
    if let Some(published) = number.published {
        let at = (x.at(published.value), y);
        canvas.mark(at, 5.5, Marker::Diamond, Pen::new(INK, 1.4), false);
    }
    let text = format!("{} {}", number.text(), number.marks());
    canvas.text((x.end + 12.0, y), text.trim_end(), font.colour(INK));
}
