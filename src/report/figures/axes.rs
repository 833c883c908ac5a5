//! Scales, ticks, panels and legends: what every figure shares.

use super::canvas::{Anchor, Canvas, Font, Pen, Point, paragraph_height, text_width, wrap};
use super::palette::{AXIS, GRID, INK, MUTED, Marker, Rgb};
use crate::report::layout::Number;

/// From numbers to pixels.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub from: f64,
    pub to: f64,
    /// Pixel of `from`.
    pub start: f64,
    /// Pixel of `to`.
    pub end: f64,
    pub log: bool,
}

impl Scale {
    pub fn linear(range: (f64, f64), pixels: (f64, f64)) -> Scale {
        Scale { from: range.0, to: range.1, start: pixels.0, end: pixels.1, log: false }
    }

    pub fn log(range: (f64, f64), pixels: (f64, f64)) -> Scale {
        Scale { log: true, ..Scale::linear(range, pixels) }
    }

    /// Pixel of `value`; not finite if the value has no place.
    pub fn at(&self, value: f64) -> f64 {
        let turn = |x: f64| if self.log { libm::log10(x) } else { x };
        let (from, to) = (turn(self.from), turn(self.to));
        let share = if to == from { 0.5 } else { (turn(value) - from) / (to - from) };
        self.start + share * (self.end - self.start)
    }

    /// [`Scale::at`], kept within the scale.
    pub fn clamped(&self, value: f64) -> f64 {
        let (low, high) = (self.start.min(self.end), self.start.max(self.end));
        self.at(value).clamp(low, high)
    }
}

/// Round numbers in a range, about `count` of them: steps of 1, 2 or 5 times a power of ten.
pub fn ticks(range: (f64, f64), count: usize) -> Vec<f64> {
    let span = range.1 - range.0;
    if !(span.is_finite() && span > 0.0) {
        return vec![range.0];
    }
    let rough = span / count.max(1) as f64;
    let power = libm::pow(10.0, libm::floor(libm::log10(rough)));
    let step = [1.0, 2.0, 5.0, 10.0].map(|s| s * power).into_iter().find(|&s| s >= rough);
    let step = step.unwrap_or(10.0 * power);
    let first = libm::ceil(range.0 / step - 1e-9) as i64;
    let last = libm::floor(range.1 / step + 1e-9) as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// Powers of ten in a range.
pub fn decades(range: (f64, f64)) -> Vec<f64> {
    let first = libm::ceil(libm::log10(range.0) - 1e-9) as i32;
    let last = libm::floor(libm::log10(range.1) + 1e-9) as i32;
    (first..=last).map(|power| libm::pow(10.0, f64::from(power))).collect()
}

/// A number on an axis, as short as it can be.
pub fn tick_text(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-4..1e6).contains(&size) {
        format!("{value:.0e}")
    } else if size >= 1000.0 {
        grouped(value)
    } else {
        // Ticks are round numbers: nine decimals hide the binary remainder.
        let text = format!("{value:.9}");
        text.trim_end_matches('0').trim_end_matches('.').replace('-', "\u{2212}")
    }
}

/// `12,000`
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("\u{2212}{text}") } else { text }
}

/// A rectangle that data is drawn in.
#[derive(Clone, Copy, Debug)]
pub struct Panel {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Panel {
    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    pub fn middle(&self) -> Point {
        ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0)
    }

    /// Horizontal grid lines with their numbers at the left.
    pub fn y_axis(&self, canvas: &mut Canvas, scale: Scale, marks: &[f64], numbers: bool) {
        for &value in marks {
            let y = scale.at(value);
            canvas.line(&[(self.left, y), (self.right, y)], Pen::new(GRID, 1.0));
            if numbers {
                let font = Font::new(11.0).colour(MUTED).anchor(Anchor::Right);
                canvas.text((self.left - 7.0, y), &tick_text(value), font);
            }
        }
    }

    /// The line below, with a short mark and a text at each of `marks`. A text that would
    /// touch the one before is left out.
    pub fn x_axis(&self, canvas: &mut Canvas, scale: Scale, marks: &[(f64, String)]) {
        let font = Font::new(11.0).colour(MUTED).anchor(Anchor::Middle);
        let mut free_from = f64::NEG_INFINITY;
        for (value, text) in marks {
            let x = scale.at(*value);
            canvas.line(&[(x, self.bottom), (x, self.bottom + 4.0)], Pen::new(AXIS, 1.0));
            let half = text_width(text, font) / 2.0;
            if x - half >= free_from {
                canvas.text((x, self.bottom + 14.0), text, font);
                free_from = x + half + 6.0;
            }
        }
        let ends = [(self.left, self.bottom), (self.right, self.bottom)];
        canvas.line(&ends, Pen::new(AXIS, 1.0));
    }

    /// What x is, centred below.
    pub fn x_label(&self, canvas: &mut Canvas, text: &str) {
        let font = Font::new(12.0).anchor(Anchor::Middle);
        canvas.text((self.middle().0, self.bottom + 34.0), text, font);
    }

    /// What y is, upwards at `x`, in several lines where it is longer than the panel is high.
    pub fn y_label(&self, canvas: &mut Canvas, x: f64, text: &str) {
        let font = Font::new(12.0).upwards();
        let lines = wrap(text, font, self.bottom - self.top + 40.0);
        // Two lines share the room that one has around it.
        let x = x + 7.0 * lines.len().saturating_sub(1) as f64;
        for (place, line) in lines.iter().rev().enumerate() {
            canvas.text((x - place as f64 * 14.0, self.middle().1), line, font);
        }
    }
}

/// Numbers with their texts, for [`Panel::x_axis`].
pub fn labelled(marks: Vec<f64>) -> Vec<(f64, String)> {
    marks.into_iter().map(|value| (value, tick_text(value))).collect()
}

/// One sample of a legend.
pub struct Entry {
    pub text: String,
    pub draw: Sample,
}

/// What stands before the text of a legend's entry.
pub enum Sample {
    Line(Pen),
    Band(Rgb),
    Mark(Marker, Pen, bool),
    /// A line with a mark in its middle.
    MarkedLine(Pen, Marker),
    Interval(Rgb),
    /// A short upright stroke.
    Tick(Pen),
    Hatch(Pen),
}

const LEGEND_LINE: f64 = 19.0;

/// Where the entries of a legend stand, wrapping at `right`.
fn legend_places(at: Point, right: f64, entries: &[Entry]) -> Vec<Point> {
    let (mut x, mut y) = at;
    let place = |entry: &Entry| {
        let width = 30.0 + text_width(&entry.text, Font::new(11.0)) + 20.0;
        if x > at.0 && x + width - 20.0 > right {
            x = at.0;
            y += LEGEND_LINE;
        }
        let place = (x, y);
        x += width;
        place
    };
    entries.iter().map(place).collect()
}

fn legend(canvas: &mut Canvas, at: Point, right: f64, entries: &[Entry]) {
    let font = Font::new(11.0).colour(INK);
    for (entry, (x, y)) in entries.iter().zip(legend_places(at, right, entries)) {
        let middle = (x + 12.0, y);
        match entry.draw {
            Sample::Line(pen) => canvas.line(&[(x, y), (x + 24.0, y)], pen),
            Sample::Band(colour) => {
                canvas.rectangle((x, y - 5.0), (x + 24.0, y + 5.0), colour, 0.2)
            }
            Sample::Mark(marker, pen, filled) => canvas.mark(middle, 4.5, marker, pen, filled),
            Sample::MarkedLine(pen, marker) => {
                canvas.line(&[(x, y), (x + 24.0, y)], pen);
                canvas.mark(middle, 4.0, marker, Pen { dashes: &[], ..pen }, true);
            }
            Sample::Hatch(pen) => canvas.hatch((x, y - 6.0), (x + 24.0, y + 6.0), pen),
            Sample::Tick(pen) => canvas.line(&[(middle.0, y - 7.0), (middle.0, y + 7.0)], pen),
            Sample::Interval(colour) => whisker(canvas, (x + 2.0, y), (x + 22.0, y), colour),
        }
        canvas.text((x + 30.0, y), &entry.text, font);
    }
}

/// A line with a stop at each end: an interval.
pub fn whisker(canvas: &mut Canvas, from: Point, to: Point, colour: Rgb) {
    let pen = Pen::new(colour, 1.6);
    canvas.line(&[from, to], pen);
    let across = if from.1 == to.1 { (0.0, 3.5) } else { (3.5, 0.0) };
    for end in [from, to] {
        let stop = [(end.0 - across.0, end.1 - across.1), (end.0 + across.0, end.1 + across.1)];
        canvas.line(&stop, pen);
    }
}

/// Head of a figure: its title, beneath it how to read it, and the legend.
pub struct Head<'a> {
    pub title: &'a str,
    pub how: String,
    pub entries: Vec<Entry>,
}

impl Head<'_> {
    const LEFT: f64 = 20.0;
    const TOP: f64 = 24.0;

    fn fonts() -> (Font, Font) {
        (Font::new(16.0).bold(), Font::new(11.5).colour(MUTED))
    }

    /// Vertical place of the legend.
    fn legend_top(&self, width: f64) -> f64 {
        let (title, how) = Head::fonts();
        let inner = width - 2.0 * Head::LEFT;
        Head::TOP
            + 4.0
            + paragraph_height(self.title, title, inner)
            + paragraph_height(&self.how, how, inner)
    }

    /// Where the drawing can begin, on a sheet `width` wide.
    pub fn height(&self, width: f64) -> f64 {
        let at = (Head::LEFT, self.legend_top(width));
        let places = legend_places(at, width - Head::LEFT, &self.entries);
        places.last().map_or(at.1, |last| last.1 + LEGEND_LINE)
    }

    pub fn draw(&self, canvas: &mut Canvas, width: f64) {
        let (title, how) = Head::fonts();
        let (left, inner) = (Head::LEFT, width - 2.0 * Head::LEFT);
        let used = canvas.paragraph((left, Head::TOP), inner, self.title, title);
        canvas.paragraph((left, Head::TOP + used), inner, &self.how, how);
        legend(canvas, (left, self.legend_top(width)), width - left, &self.entries);
    }
}

/// Said of figures with a cell that no verdict may rest on.
pub const DAGGER: &str = " \u{2020}: a run behind it did not memorize, or diverged.";

/// Said of figures with a cell that is no minimum.
pub const UNFIT: &str = " \u{2021}: the cell does not fit its training data, so it is no minimum.";
/// The same in a legend.
pub const UNFIT_ENTRY: &str = "does not fit its training data";

/// What a figure says of its marks: see [`Number::marks`].
pub fn marks_explained(numbers: &[&Number<'_>]) -> String {
    let has = |is: fn(&Number<'_>) -> bool| numbers.iter().any(|number| is(number));
    let dagger = if has(|n| !n.poison.is_empty()) { DAGGER } else { "" };
    let double = if has(|n| n.unfit.is_some()) { UNFIT } else { "" };
    format!("{dagger}{double}")
}

/// Width of the longest text, at most `most`.
pub fn longest<'t>(texts: impl IntoIterator<Item = &'t str>, font: Font, most: f64) -> f64 {
    texts.into_iter().map(|text| text_width(text, font)).fold(0.0, f64::max).min(most)
}

/// Says in the middle of a panel that there is nothing to draw.
pub fn no_data(canvas: &mut Canvas, panel: Panel) {
    let font = Font::new(13.0).colour(MUTED).anchor(Anchor::Middle);
    canvas.text(panel.middle(), "no data", font);
}

/// Moves texts apart that would overlap: heights `wanted`, in pixels, each at least `gap`
/// from the next and all between `low` and `high`.
pub fn spread(wanted: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut placed = wanted.to_vec();
    let mut floor = low;
    for &i in &order {
        placed[i] = placed[i].max(floor);
        floor = placed[i] + gap;
    }
    let mut ceiling = high;
    for &i in order.iter().rev() {
        placed[i] = placed[i].min(ceiling);
        ceiling = placed[i] - gap;
    }
    placed
}

/// A range with some air around the values; `None` if no value is finite.
pub fn padded(values: impl IntoIterator<Item = f64>, share: f64) -> Option<(f64, f64)> {
    let finite = values.into_iter().filter(|v| v.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return None;
    }
    let air = if high > low { (high - low) * share } else { low.abs().max(1.0) * 0.1 };
    Some((low - air, high + air))
}
