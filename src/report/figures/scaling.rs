//! Where a grid stops scaling: time and idle share over the number of workers.

use super::WIDTH;
use super::axes::{Entry, Head, Panel, Sample, Scale, decades, ticks};
use super::canvas::{Anchor, Canvas, Font, Pen};
use super::palette::{Marker, as_text, colour, dashes};
use crate::schedule::simulate::Simulated;

const PANEL_HEIGHT: f64 = 260.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = WIDTH - 130.0;

/// The figure; `how` says what the times rest on.
pub fn scaling(points: &[Simulated], title: &str, how: &str) -> String {
    let time = Pen::new(colour("", 0), 2.2);
    let bound = Pen::new(colour("", 1), 2.0).dashed(dashes(1));
    let idle = Pen::new(colour("", 2), 2.2);
    let marked = |text: &str, pen, marker| Entry {
        text: text.to_owned(),
        draw: Sample::MarkedLine(pen, marker),
    };
    let lines = Entry {
        text: "no schedule is shorter: longest chain, or all work spread evenly".to_owned(),
        draw: Sample::Line(bound),
    };
    let entries = vec![
        marked("makespan", time, Marker::Circle),
        lines,
        marked("idle share", idle, Marker::Square),
    ];
    let head = Head { title, how: how.to_owned(), entries };
    let top = head.height(WIDTH) + 16.0;
    let upper = Panel { left: LEFT, top, right: RIGHT, bottom: top + PANEL_HEIGHT };
    let below = upper.bottom + 80.0;
    let lower = Panel { top: below, bottom: below + PANEL_HEIGHT * 0.7, ..upper };
    Canvas::picture((WIDTH, lower.bottom + 56.0), title, |canvas| {
        head.draw(canvas, WIDTH);
        let most = points.iter().map(|p| p.workers).max().unwrap_or(1);
        let x = Scale::log((0.9, most as f64 * 1.1), (LEFT, RIGHT));
        let marks: Vec<_> =
            points.iter().map(|p| (p.workers as f64, p.workers.to_string())).collect();
        let (unit, second) = unit(points.iter().map(|p| p.makespan).fold(0.0, f64::max));
        let scaled = |seconds: f64| seconds / second;
        let ends = points.iter().flat_map(|p| [scaled(p.makespan), scaled(p.bound)]);
        let (low, high) = ends.fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
        if low > high || low <= 0.0 {
            super::axes::no_data(canvas, upper);
            return;
        }
        let range = (low * 0.7, high * 1.4);
        let y = Scale::log(range, (upper.bottom, upper.top));
        upper.y_axis(canvas, y, &marks_on_log(range), true);
        upper.y_label(canvas, LEFT - 62.0, &format!("Makespan ({unit}, log scale)"));
        let at = |pick: fn(&Simulated) -> f64| -> Vec<_> {
            points.iter().map(|p| (x.at(p.workers as f64), y.at(scaled(pick(p))))).collect()
        };
        canvas.line(&at(|p| p.bound), bound);
        series(canvas, &at(|p| p.makespan), time, Marker::Circle);
        upper.x_axis(canvas, x, &marks);
        upper.x_label(canvas, "Workers (log scale)");
        let share = Scale::linear((0.0, 100.0), (lower.bottom, lower.top));
        lower.y_axis(canvas, share, &ticks((0.0, 100.0), 5), true);
        lower.y_label(canvas, LEFT - 62.0, "Idle (% of the workers' time)");
        let places: Vec<_> =
            points.iter().map(|p| (x.at(p.workers as f64), share.at(100.0 * p.idle))).collect();
        series(canvas, &places, idle, Marker::Square);
        lower.x_axis(canvas, x, &marks);
        lower.x_label(canvas, "Workers (log scale)");
        if let Some(last) = points.last() {
            let label = |canvas: &mut Canvas, y: f64, pen: Pen, text: String| {
                let font = Font::new(11.0).bold().colour(as_text(pen.colour));
                canvas.text((RIGHT + 12.0, y), &text, font.anchor(Anchor::Left));
            };
            let end = scaled(last.makespan);
            label(canvas, y.at(end), time, duration(last.makespan));
            label(canvas, share.at(100.0 * last.idle), idle, format!("{:.0}%", 100.0 * last.idle));
        }
    })
}

fn series(canvas: &mut Canvas, points: &[(f64, f64)], pen: Pen, marker: Marker) {
    canvas.line(points, pen);
    for &at in points {
        canvas.mark(at, 4.2, marker, pen, true);
    }
}

/// A unit in which the longest time is a number that one reads, and its seconds.
fn unit(longest: f64) -> (&'static str, f64) {
    match longest {
        s if s < 600.0 => ("seconds", 1.0),
        s if s < 36_000.0 => ("minutes", 60.0),
        s if s < 3_600_000.0 => ("hours", 3600.0),
        _ => ("days", 86400.0),
    }
}

/// Powers of ten in a range, and between them two and five times as much where those alone
/// would be few.
fn marks_on_log(range: (f64, f64)) -> Vec<f64> {
    let whole = decades(range);
    if whole.len() > 4 {
        return whole;
    }
    let wide = decades((range.0 / 10.0, range.1));
    let steps = wide.into_iter().flat_map(|mark| [1.0, 2.0, 5.0].map(|step| mark * step));
    steps.filter(|mark| (range.0..=range.1).contains(mark)).collect()
}

/// A time in words: `3.2 h`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.1} min", s / 60.0),
        s if s < 360_000.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / 86400.0),
    }
}
