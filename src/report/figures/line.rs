//! The main metric over a numeric axis: a line for each level of the series, intervals over
//! seeds, the single seeds.

use super::WIDTH;
use super::axes::{
    Entry, Head, Panel, Sample, Scale, UNFIT_ENTRY, longest, marks_explained, no_data, padded,
    spread, tick_text, ticks, whisker,
};
use super::canvas::{Canvas, Font, Pen, text_width, wrap};
use super::palette::{AXIS, INK, Marker, PAPER, Rgb, as_text, colour, dashes, marker};
use crate::experiments::Experiment;
use crate::report::layout::{Number, Numbers, metric_label, product, show};

const PANEL_HEIGHT: f64 = 320.0;

/// Where levels stand along x.
struct Places {
    /// A number and a text for each level of the axis.
    marks: Vec<(f64, String)>,
    scale: Scale,
    /// What the axis' label says of the scale.
    kind: &'static str,
}

impl Places {
    /// Levels of the axis at `axis`: by their values, or in their order where one has none. On a
    /// logarithmic axis zero stands one step left of the smallest value.
    fn new(experiment: &Experiment, axis: usize, pixels: (f64, f64)) -> Places {
        let levels = &experiment.axes[axis].levels;
        let values: Option<Vec<f64>> = levels.iter().map(|level| level.value).collect();
        let Some(values) = values else {
            let marks: Vec<(f64, String)> =
                levels.iter().enumerate().map(|(i, l)| (i as f64, l.label.clone())).collect();
            let scale = Scale::linear((-0.3, levels.len() as f64 - 0.7), pixels);
            return Places { marks, scale, kind: "" };
        };
        let positive: Vec<f64> = values.iter().copied().filter(|&v| v > 0.0).collect();
        if experiment.render.log_x && !positive.is_empty() {
            let low = positive.iter().copied().fold(f64::INFINITY, f64::min);
            let high = positive.iter().copied().fold(0.0, f64::max);
            let steps = positive.len().max(2) as f64 - 1.0;
            let step = if high > low { libm::pow(high / low, 1.0 / steps) } else { 2.0 };
            let place = |value: f64| if value > 0.0 { value } else { low / step };
            let first = if positive.len() < values.len() { low / step } else { low };
            let margin = libm::pow(high / first, 0.03).max(1.05);
            let scale = Scale::log((first / margin, high * margin), pixels);
            let marks = values.iter().map(|&v| (place(v), tick_text(v))).collect();
            let has_zero = positive.len() < values.len();
            let kind = if has_zero { " (log scale, 0 set apart)" } else { " (log scale)" };
            return Places { marks, scale, kind };
        }
        let range = padded(values.iter().copied(), 0.03).unwrap_or((0.0, 1.0));
        let marks = values.iter().map(|&v| (v, tick_text(v))).collect();
        Places { marks, scale: Scale::linear(range, pixels), kind: "" }
    }
}

/// The figure.
pub fn draw(numbers: &Numbers<'_>) -> String {
    let experiment = numbers.experiment();
    let find = |name: &Option<String>| {
        experiment.axes.iter().position(|axis| Some(&axis.name) == name.as_ref())
    };
    let numeric = |axis: &crate::experiments::Axis| axis.levels.iter().all(|l| l.value.is_some());
    let x_axis = find(&experiment.render.x).or(experiment.axes.iter().position(numeric));
    let x_axis = x_axis.unwrap_or(0);
    let series = find(&experiment.render.series).filter(|&axis| axis != x_axis);
    let rest: Vec<usize> =
        (0..experiment.axes.len()).filter(|&axis| axis != x_axis && Some(axis) != series).collect();
    let panels = product(experiment, &rest);
    let columns = if panels.len() > 1 { 2 } else { 1 };
    let main: Vec<&Number<'_>> = match experiment.metrics.first() {
        Some(metric) => numbers.iter().filter(|n| n.metric.name == metric.name).collect(),
        None => Vec::new(),
    };
    let y_label = experiment.metrics.first().map(metric_label).unwrap_or_default();
    let mut how = "Line: mean over the seeds; bar: its 95% interval (Student t); small circles: \
                   the single seeds."
        .to_owned();
    how += &marks_explained(&main);
    let ends = main.iter().flat_map(|n| n.interval().into_iter().flatten());
    let samples = main.iter().flat_map(|n| n.samples.iter().map(|s| s.1));
    let range = padded(ends.chain(samples), 0.05);
    let range = range.map(|range| within_unit(range, &experiment.metrics[0].unit));
    let title = &experiment.title;
    let head = Head { title, how, entries: entries(experiment, series, &main) };
    let top = head.height(WIDTH);
    let most = if columns == 1 { 150.0 } else { 80.0 };
    let names = series.iter().flat_map(|&axis| {
        (0..experiment.axes[axis].levels.len()).map(move |level| experiment.level_name(axis, level))
    });
    let names: Vec<String> = names.collect();
    let room = longest(names.iter().map(String::as_str), Font::new(11.0), most) + 1.0;
    let rows = panels.len().div_ceil(columns);
    let row_height = PANEL_HEIGHT + 92.0;
    let size = (WIDTH, top + rows as f64 * row_height);
    Canvas::picture(size, title, |canvas| {
        head.draw(canvas, WIDTH);
        let width = (WIDTH - 20.0) / columns as f64;
        for (place, levels) in panels.iter().enumerate() {
            let left = 72.0 + (place % columns) as f64 * width;
            let above = top + (place / columns) as f64 * row_height + 26.0;
            let panel = Panel {
                left,
                top: above,
                right: left + width - 72.0 - 70.0 - room,
                bottom: above + PANEL_HEIGHT,
            };
            let names = rest.iter().zip(levels);
            let names: Vec<String> =
                names.map(|(&axis, &level)| experiment.level_name(axis, level)).collect();
            let bold = Font::new(13.0).bold();
            canvas.text((panel.left, panel.top - 14.0), &names.join(", "), bold);
            let Some((range, x)) = range.zip(experiment.axes.get(x_axis)) else {
                no_data(canvas, panel);
                continue;
            };
            let y = Scale::linear(range, (panel.bottom, panel.top));
            panel.y_axis(canvas, y, &ticks(range, 6), true);
            panel.y_label(canvas, panel.left - 52.0, &starts(&y_label, range));
            let places = Places::new(experiment, x_axis, (panel.left, panel.right));
            panel.x_axis(canvas, places.scale, &places.marks);
            panel.x_label(canvas, &format!("{}{}", x.label, places.kind));
            let here: Vec<&Number<'_>> = main
                .iter()
                .copied()
                .filter(|n| rest.iter().zip(levels).all(|(&a, &l)| n.cell.levels[a] == l))
                .collect();
            let ends = draw_lines(canvas, experiment, &here, (x_axis, series), &places, y);
            if ends.is_empty() {
                no_data(canvas, panel);
            }
            end_labels(canvas, experiment, series, &ends, panel, room);
        }
    })
}

/// Accuracies do not go beyond 0 and 100.
pub fn within_unit(range: (f64, f64), unit: &str) -> (f64, f64) {
    if unit == "%" { (range.0.max(0.0), range.1.min(100.0)) } else { range }
}

/// The axis' label, saying where it starts unless that is zero.
pub fn starts(label: &str, range: (f64, f64)) -> String {
    if range.0 > 0.0 { format!("{label}, axis does not start at 0") } else { label.to_owned() }
}

/// Looks of a level of the series.
fn looks(experiment: &Experiment, series: Option<usize>, level: usize) -> (Rgb, Pen, Marker) {
    let id = series.map_or("", |axis| experiment.axes[axis].levels[level].id.as_str());
    let colour = colour(id, level);
    (colour, Pen::new(colour, 2.2).dashed(dashes(level)), marker(level))
}

fn entries(experiment: &Experiment, series: Option<usize>, main: &[&Number<'_>]) -> Vec<Entry> {
    let level = |level: usize| {
        let (_, pen, marker) = looks(experiment, series, level);
        let text =
            series.map_or_else(|| "mean".to_owned(), |axis| experiment.level_name(axis, level));
        Entry { text, draw: Sample::MarkedLine(pen, marker) }
    };
    let count = series.map_or(1, |axis| experiment.axes[axis].levels.len());
    let interval = Entry { text: "95% interval".to_owned(), draw: Sample::Interval(INK) };
    let seed = Pen::new(INK, 1.0).faint(0.4);
    let seed =
        Entry { text: "one seed".to_owned(), draw: Sample::Mark(Marker::Circle, seed, false) };
    // Only what is drawn: a gap stands at one level of its axis.
    let is_drawn = |level: &usize| {
        series.is_none_or(|axis| main.iter().any(|n| n.cell.levels[axis] == *level))
    };
    let hollow = main.iter().any(|n| n.unfit.is_some()).then(|| Entry {
        text: UNFIT_ENTRY.to_owned(),
        draw: Sample::Mark(Marker::Circle, Pen::new(INK, 2.0), false),
    });
    (0..count).filter(is_drawn).map(level).chain([interval, seed]).chain(hollow).collect()
}

/// The last mean of a line, its place, and the level of the series.
struct End {
    at: (f64, f64),
    mean: f64,
    level: usize,
}

fn draw_lines(
    canvas: &mut Canvas,
    experiment: &Experiment,
    numbers: &[&Number<'_>],
    (x_axis, series): (usize, Option<usize>),
    places: &Places,
    y: Scale,
) -> Vec<End> {
    let count = series.map_or(1, |axis| experiment.axes[axis].levels.len());
    let mut ends = Vec::new();
    for level in 0..count {
        let (colour, pen, marker) = looks(experiment, series, level);
        // Neighbours that share an x stand side by side.
        let shift = (level as f64 - (count as f64 - 1.0) / 2.0) * 4.0;
        let mut points: Vec<(f64, f64, f64, bool)> = Vec::new();
        for number in numbers {
            if series.is_some_and(|axis| number.cell.levels[axis] != level) {
                continue;
            }
            let x = places.scale.at(places.marks[number.cell.levels[x_axis]].0) + shift;
            for &(_, value) in number.samples.iter().filter(|(_, value)| value.is_finite()) {
                let pen = Pen::new(colour, 1.0).faint(0.45);
                canvas.mark((x + 5.0, y.at(value)), 2.3, Marker::Circle, pen, false);
            }
            if let Some([low, high]) = number.interval() {
                whisker(canvas, (x, y.clamped(low)), (x, y.clamped(high)), colour);
            }
            if let Some(mean) = number.mean() {
                points.push((x, y.at(mean), mean, number.unfit.is_none()));
                let marks = number.marks();
                if !marks.is_empty() {
                    canvas.text((x - 16.0, y.at(mean) - 8.0), &marks, Font::new(12.0));
                }
            }
        }
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let line: Vec<_> = points.iter().map(|p| (p.0, p.1)).collect();
        canvas.line(&line, pen);
        for &(x, height, _, fits) in &points {
            let solid = Pen { dashes: &[], ..pen };
            canvas.mark((x, height), 4.2, marker, solid, true);
            if !fits {
                canvas.mark((x, height), 2.6, marker, Pen::new(PAPER, 1.0), true);
            }
        }
        let end =
            |&(x, height, mean, _): &(f64, f64, f64, bool)| End { at: (x, height), mean, level };
        ends.extend(points.last().map(end));
    }
    ends
}

/// Direct labels, right of the panel: the last value and what the line is.
fn end_labels(
    canvas: &mut Canvas,
    experiment: &Experiment,
    series: Option<usize>,
    ends: &[End],
    panel: Panel,
    room: f64,
) {
    let wanted: Vec<f64> = ends.iter().map(|end| end.at.1).collect();
    let heights = spread(&wanted, 30.0, panel.top, panel.bottom);
    for (&End { at: (x, height), mean, level }, &at) in ends.iter().zip(&heights) {
        let (colour, ..) = looks(experiment, series, level);
        let start = panel.right + 12.0;
        canvas.line(&[(x + 8.0, height), (start, at)], Pen::new(AXIS, 0.8));
        let font = Font::new(11.0).colour(as_text(colour));
        let number = show(&experiment.metrics[0], mean);
        canvas.text((start + 4.0, at), &number, font.bold());
        let next = start + 10.0 + text_width(&number, font.bold());
        let label = series.map(|axis| experiment.level_name(axis, level)).unwrap_or_default();
        for (i, line) in wrap(&label, font, room).iter().enumerate() {
            canvas.text((next, at + 13.0 * i as f64), line, font);
        }
    }
}
