//! Accuracy over epochs: the random-label fit before, the true labels after, one divider at
//! the moment the labels change, and the learning rate beneath.

use super::WIDTH;
use super::axes::{
    DAGGER, Entry, Head, Panel, Sample, Scale, decades, labelled, longest, no_data, spread, ticks,
};
use super::canvas::{Anchor, Canvas, Font, Pen, text_width, wrap};
use super::course::{
    Curve, Group, Stretch, Time, Track, average, groups, images_along, track, track_before,
};
use super::palette::{AXIS, INK, MUTED, SHADE, as_text};
use crate::experiments::results::{ExperimentResult, RunResult};
use crate::train::metrics::Evaluation;
use crate::train::schedule::planned_rate;

const ACCURACY_HEIGHT: f64 = 300.0;
const RATE_HEIGHT: f64 = 84.0;
/// Between the accuracy and the rate beneath it.
const GAP: f64 = 22.0;

/// The figure.
pub fn draw(result: &ExperimentResult) -> String {
    let groups = groups(result);
    let columns = if groups.len() > 1 { 2 } else { 1 };
    let rows = groups.len().div_ceil(columns);
    let panel_height = ACCURACY_HEIGHT + GAP + RATE_HEIGHT + 92.0;
    let title = &result.experiment.title;
    let head = Head { title, how: how(&groups), entries: entries() };
    let top = head.height(WIDTH) + 8.0;
    let height = top + rows as f64 * panel_height;
    let most = if columns == 1 { 150.0 } else { 90.0 };
    let labels = groups.iter().flat_map(|g| &g.curves).map(|c| c.label.as_str());
    let room = longest(labels, Font::new(11.0), most) + 1.0;
    Canvas::picture((WIDTH, height), title, |canvas| {
        head.draw(canvas, WIDTH);
        let width = (WIDTH - 20.0) / columns as f64;
        for (place, group) in groups.iter().enumerate() {
            let left = 74.0 + (place % columns) as f64 * width;
            let above = top + (place / columns) as f64 * panel_height + 26.0;
            let panel = Panel {
                left,
                top: above,
                right: left + width - 74.0 - 78.0 - room,
                bottom: above + ACCURACY_HEIGHT,
            };
            let time = Time::new(&groups, (panel.left, panel.right));
            draw_panel(canvas, group, panel, &time, room);
        }
    })
}

/// How to read the figure.
fn how(groups: &[Group<'_>]) -> String {
    let curves = || groups.iter().flat_map(|group| &group.curves);
    let mut how =
        "Thick: test accuracy, mean over the seeds, with its 95% interval (Student t) as \
                   a band; faint: the single seeds. Dotted: accuracy on the labels that are \
                   trained on."
            .to_owned();
    if curves().flat_map(|curve| &curve.runs).any(|run| run.parent.is_some()) {
        how += " Random-label fits take different times: all are aligned at their end, 0.";
    }
    how += &images_along(curves().flat_map(|curve| curve.runs.iter().copied()));
    if curves().any(Curve::is_poisoned) {
        how += DAGGER;
    }
    how
}

fn entries() -> Vec<Entry> {
    let line = |text: &str, pen| Entry { text: text.to_owned(), draw: Sample::Line(pen) };
    vec![
        line("test accuracy (mean)", Pen::new(INK, 2.4)),
        Entry { text: "95% interval".to_owned(), draw: Sample::Band(INK) },
        line("one seed", Pen::new(INK, 1.0).faint(0.35)),
        line("accuracy on the training labels (mean)", Pen::new(INK, 1.2).dashed(&[1.2, 2.4])),
    ]
}

fn draw_panel(canvas: &mut Canvas, group: &Group<'_>, panel: Panel, time: &Time, room: f64) {
    let font = Font::new(13.0).bold();
    canvas.text((panel.left, panel.top - 14.0), &group.label, font);
    let y = Scale::linear((0.0, 100.0), (panel.bottom, panel.top));
    let rates =
        Panel { top: panel.bottom + GAP, bottom: panel.bottom + GAP + RATE_HEIGHT, ..panel };
    let divider = time.at(0.0);
    if time.before.is_some() {
        for part in [panel, rates] {
            canvas.rectangle((part.left, part.top), (divider, part.bottom), SHADE, 1.0);
        }
    }
    panel.y_axis(canvas, y, &[0.0, 20.0, 40.0, 60.0, 80.0, 100.0], true);
    panel.y_label(canvas, panel.left - 58.0, "accuracy (%)");
    if time.before.is_some() {
        canvas.line(&[(divider, panel.top), (divider, rates.bottom)], Pen::new(MUTED, 1.2));
        let font = Font::new(11.0).colour(MUTED);
        let left = font.anchor(Anchor::Right);
        canvas.text((divider - 6.0, panel.bottom - 10.0), "random-label fit", left);
        canvas.text((divider + 6.0, panel.bottom - 10.0), "true labels", font);
    }
    if group.curves.iter().all(|curve| curve.runs.is_empty()) {
        no_data(canvas, panel);
    }
    let ends = accuracies(canvas, group, time, y);
    end_labels(canvas, &ends, panel, room);
    learning_rates(canvas, group, rates, time);
    time_axis(canvas, rates, time);
}

fn time_axis(canvas: &mut Canvas, panel: Panel, time: &Time) {
    let divider = time.at(0.0);
    let marks = |scale: &Scale| {
        let room = ((scale.end - scale.start) / 50.0).max(4.0) as usize;
        labelled(ticks((scale.from, scale.to), room))
    };
    if let Some(before) = &time.before {
        Panel { right: divider, ..panel }.x_axis(canvas, *before, &marks(before));
    }
    let mut after = marks(&time.after);
    if time.before.is_some() {
        after.remove(0);
    }
    Panel { left: divider, ..panel }.x_axis(canvas, time.after, &after);
    let text = match (&time.before, time.same_scale) {
        (None, _) => "epochs",
        (Some(_), true) => "epochs since the labels became true",
        (Some(_), false) => "epochs since the labels became true (scales differ at 0)",
    };
    panel.x_label(canvas, text);
}

/// The last mean of a curve and its place.
struct End<'g, 'a> {
    at: (f64, f64),
    value: f64,
    curve: &'g Curve<'a>,
}

/// Means, bands and seeds; gives the ends of the curves.
fn accuracies<'g, 'a>(
    canvas: &mut Canvas,
    group: &'g Group<'a>,
    time: &Time,
    y: Scale,
) -> Vec<End<'g, 'a>> {
    let place = |&(epoch, value): &(f64, f64)| (time.at(epoch), y.clamped(value));
    let mut drawn: Vec<Vec<&str>> = Vec::new();
    let mut ends = Vec::new();
    for curve in group.curves.iter().filter(|curve| !curve.runs.is_empty()) {
        let pen = Pen::new(curve.colour, 2.4).dashed(curve.dashes);
        let stretches: [Stretch; 2] = [track_before, track];
        // Curves that start from the same run share what came before: it is drawn once.
        let parents: Vec<&str> =
            curve.runs.iter().filter_map(|r| r.parent.as_ref()).map(|p| p.key.as_str()).collect();
        let seen = drawn.contains(&parents);
        drawn.push(parents);
        for (stretch, is_before) in stretches.iter().zip([true, false]) {
            if is_before && seen {
                continue;
            }
            let pen = if is_before { Pen { dashes: &[], ..pen } } else { pen };
            let tests: Vec<Track> =
                curve.runs.iter().map(|run| stretch(run, |e| e.test_accuracy)).collect();
            let tests: Vec<Track> = tests.into_iter().filter(|t| !t.is_empty()).collect();
            let trains = curve.runs.iter().map(|run| stretch(run, |e| e.train_accuracy));
            let trains: Vec<Track> = trains.filter(|t| !t.is_empty()).collect();
            let means = average(&tests);
            let band: Vec<(f64, [f64; 2])> =
                means.iter().filter_map(|m| m.2.map(|interval| (m.0, interval))).collect();
            let low = band.iter().map(|(x, i)| place(&(*x, i[0])));
            let high = band.iter().rev().map(|(x, i)| place(&(*x, i[1])));
            let outline: Vec<_> = low.chain(high).collect();
            canvas.polygon(&outline, curve.colour, 0.13);
            for test in &tests {
                let points: Vec<_> = test.iter().map(place).collect();
                canvas.line(&points, Pen::new(curve.colour, 0.9).faint(0.3));
            }
            let mean: Vec<_> = means.iter().map(|m| place(&(m.0, m.1))).collect();
            canvas.line(&mean, pen);
            let train: Vec<_> = average(&trains).iter().map(|m| place(&(m.0, m.1))).collect();
            canvas.line(&train, Pen::new(curve.colour, 1.2).dashed(&[1.2, 2.4]));
            if let (false, Some(last)) = (is_before, means.last().filter(|m| m.1.is_finite())) {
                ends.push(End { at: place(&(last.0, last.1)), value: last.1, curve });
            }
        }
    }
    ends
}

/// Direct labels, right of the panel: the final value and what the line is.
fn end_labels(canvas: &mut Canvas, ends: &[End<'_, '_>], panel: Panel, room: f64) {
    let font = Font::new(11.0);
    let texts: Vec<Vec<String>> =
        ends.iter().map(|end| wrap(&end.curve.end_label(), font, room)).collect();
    let most = texts.iter().map(Vec::len).max().unwrap_or(1);
    let wanted: Vec<f64> = ends.iter().map(|end| end.at.1).collect();
    let heights = spread(&wanted, 13.0 * most as f64 + 5.0, panel.top, panel.bottom);
    for ((end, lines), &height) in ends.iter().zip(&texts).zip(&heights) {
        let from = (end.at.0 + 2.0, end.at.1);
        let elbow = (panel.right + 10.0, height);
        canvas.line(&[from, elbow], Pen::new(AXIS, 0.8));
        let pen = Pen::new(end.curve.colour, 2.4).dashed(end.curve.dashes);
        canvas.line(&[elbow, (elbow.0 + 20.0, height)], pen);
        let colour = as_text(end.curve.colour);
        let number = format!("{:.1}", end.value);
        let x = elbow.0 + 25.0;
        canvas.text((x, height), &number, font.bold().colour(colour));
        let x = x + text_width(&number, font.bold()) + 6.0;
        for (i, line) in lines.iter().enumerate() {
            canvas.text((x, height + 13.0 * i as f64), line, font.colour(colour));
        }
    }
}

/// Rate of every epoch of a run, placed at its end, and of the first one at the start: from
/// the schedule, epoch by epoch, where that does not depend on the course of training; else
/// as it was recorded at the evaluations.
fn rates(run: &RunResult, offset: f64) -> Track {
    let train = &run.spec.train;
    let planned = |epoch: u32| planned_rate(&train.schedule, train.learning_rate, epoch.max(1));
    let whole: Option<Track> = (0..=run.metrics.epochs)
        .map(|epoch| Some((f64::from(epoch) - offset, planned(epoch)?)))
        .collect();
    let recorded = |e: &Evaluation| (f64::from(e.epoch) - offset, e.learning_rate);
    whole.unwrap_or_else(|| run.metrics.evaluations.iter().map(recorded).collect())
}

/// Learning rates as steps on a logarithmic axis. Courses that are the same are drawn once.
fn learning_rates(canvas: &mut Canvas, group: &Group<'_>, panel: Panel, time: &Time) {
    let course = |run: &RunResult| -> Track {
        let before =
            run.parent.as_deref().map(|parent| rates(parent, f64::from(parent.metrics.epochs)));
        before.into_iter().flatten().chain(rates(run, 0.0)).collect()
    };
    let mut courses: Vec<(Track, &Curve<'_>)> = Vec::new();
    for curve in &group.curves {
        let Some(run) = curve.runs.first() else { continue };
        let course = course(run);
        if !courses.iter().any(|(other, _)| *other == course) {
            courses.push((course, curve));
        }
    }
    let rates = courses.iter().flat_map(|(course, _)| course).map(|p| p.1);
    let (low, high) = rates
        .filter(|&r| r > 0.0 && r.is_finite())
        .fold((f64::INFINITY, 0.0f64), |(low, high), rate| (low.min(rate), high.max(rate)));
    panel.y_label(canvas, panel.left - 58.0, "learning rate");
    if low > high {
        return;
    }
    let scale = Scale::log((low / 2.0, high * 2.0), (panel.bottom, panel.top));
    let marks = decades((low / 2.0, high * 2.0));
    let marks = if marks.is_empty() { vec![high] } else { marks };
    panel.y_axis(canvas, scale, &marks, true);
    for (place, (course, curve)) in courses.iter().enumerate() {
        let mut points = Vec::new();
        for pair in course.windows(2) {
            // A rate is that of the epochs before its evaluation; where the labels change
            // it is the one after.
            let ((x0, first), (x1, rate)) = (pair[0], pair[1]);
            let rate = if x1 <= x0 { first } else { rate };
            points.push((time.at(x0), scale.at(rate)));
            points.push((time.at(x1), scale.at(rate)));
        }
        // Courses that partly coincide: the later one lets the earlier one show.
        let over: &'static [f64] = if place == 0 { &[] } else { &[5.0, 5.0] };
        canvas.line(&points, Pen::new(curve.colour, 1.8).dashed(over));
    }
}
