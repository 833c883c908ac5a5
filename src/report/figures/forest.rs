//! All claims at a glance: each effect with its interval against its margin, zero in line.

use super::WIDTH;
use super::axes::{Entry, Head, Sample, whisker};
use super::canvas::{Canvas, Font, Pen, wrap};
use super::palette::{AXIS, GRID, INK, MUTED, Marker, Rgb, SHADE};
use crate::report::words;
use crate::verify::outcome::{ClaimOutcome, Verdict};

/// Height of a row, unless its description needs more.
const ROW: f64 = 38.0;
/// Where the interval of a supported effect lies.
const HELD: Rgb = (0xdc, 0xef, 0xe7);
/// Height of a line of a description.
const LINE: f64 = 12.0;
const LEFT: f64 = 400.0;
const RIGHT: f64 = WIDTH - 224.0;

/// Colour and marker of a verdict.
fn looks(verdict: Verdict) -> (Rgb, Marker) {
    match verdict {
        Verdict::Supported => ((0x00, 0x6b, 0x4f), Marker::Circle),
        Verdict::Refuted => ((0xb0, 0x3a, 0x00), Marker::Square),
        Verdict::Inconclusive => ((0x5b, 0x63, 0x6e), Marker::Diamond),
    }
}

/// The figure.
pub fn forest(claims: &[ClaimOutcome], profile: &str) -> String {
    let title = format!("Every claim against its margin (profile {profile})");
    let how = "Each row has its own scale (units differ); only zero is common. Mark and bar: the \
               effect and its 95% interval. Upright strokes: the bounds that it must keep; tinted: \
               where the whole interval lies if the claim is supported."
        .to_owned();
    let entry = |verdict: Verdict| {
        let (colour, marker) = looks(verdict);
        let text = words::verdict(verdict).to_owned();
        Entry { text, draw: Sample::Mark(marker, Pen::new(colour, 1.0), true) }
    };
    let verdicts = [Verdict::Supported, Verdict::Refuted, Verdict::Inconclusive];
    let head = Head { title: &title, how, entries: verdicts.map(entry).into() };
    let top = head.height(WIDTH) + 4.0;
    let mut bottom = top;
    let mut rows = Vec::new();
    for claim in claims {
        let height = ROW.max(description(claim).len() as f64 * LINE + 10.0);
        rows.push((bottom, height));
        bottom += height;
    }
    Canvas::picture((WIDTH, bottom + 24.0), &title, |canvas| {
        head.draw(canvas, WIDTH);
        for (above, height) in rows.iter().step_by(2) {
            canvas.rectangle((12.0, *above), (WIDTH - 12.0, above + height), SHADE, 1.0);
        }
        let zero = LEFT + (RIGHT - LEFT) / 2.0;
        canvas.line(&[(zero, top), (zero, bottom)], Pen::new(AXIS, 1.0));
        for (claim, (above, height)) in claims.iter().zip(&rows) {
            row(canvas, claim, above + height / 2.0);
        }
    })
}

/// What is compared, in lines that fit their column.
fn description(claim: &ClaimOutcome) -> Vec<String> {
    wrap(&words::direction(claim), Font::new(10.5), LEFT - 192.0)
}

fn row(canvas: &mut Canvas, claim: &ClaimOutcome, y: f64) {
    let (colour, marker) = looks(claim.verdict);
    let small = Font::new(10.5).colour(MUTED);
    canvas.text((20.0, y), &claim.id, Font::new(13.0).bold());
    let verdict = format!("{} {}", words::icon(claim.verdict), words::verdict(claim.verdict));
    let bearing = words::bearing(claim.bears);
    let above = if bearing.is_empty() { 0.0 } else { 7.0 };
    canvas.text((68.0, y - above), &verdict, Font::new(11.5).bold().colour(colour));
    canvas.text((68.0, y + 7.0), bearing, small);
    let lines = description(claim);
    let first = y - (lines.len() as f64 - 1.0) * LINE / 2.0;
    for (i, line) in lines.iter().enumerate() {
        canvas.text((178.0, first + i as f64 * LINE), line, small);
    }
    let middle = (LEFT + RIGHT) / 2.0;
    let numbers = claim.statistic.into_iter().chain(claim.interval.into_iter().flatten());
    let bounds = || claim.bounds.into_iter().flatten();
    let numbers = numbers.chain(bounds()).filter(|v| v.is_finite());
    let reach = numbers.fold(0.0f64, |reach, value| reach.max(value.abs()));
    let reach = if reach > 0.0 { reach * 1.05 } else { 1.0 };
    let x = |value: f64| middle + (value / reach).clamp(-1.0, 1.0) * (RIGHT - LEFT) / 2.0;
    if claim.statistic.is_some() && bounds().count() > 0 {
        let [low, high] = claim.bounds;
        let (low, high) = (low.map_or(LEFT, x), high.map_or(RIGHT, x));
        canvas.rectangle((low, y - 10.0), (high, y + 10.0), HELD, 1.0);
    }
    canvas.line(&[(LEFT, y), (RIGHT, y)], Pen::new(GRID, 1.0));
    if claim.statistic.is_some() {
        for bound in bounds() {
            let at = x(bound);
            canvas.line(&[(at, y - 10.0), (at, y + 10.0)], Pen::new(INK, 1.2));
        }
    }
    if let Some([low, high]) = claim.interval {
        whisker(canvas, (x(low), y), (x(high), y), colour);
    }
    let font = Font::new(11.0);
    match claim.statistic.filter(|value| value.is_finite()) {
        Some(value) => {
            canvas.mark((x(value), y), 5.0, marker, Pen::new(colour, 1.0), true);
            let effect = words::effect(Some(value), claim.interval);
            let effect = format!("{} {}", effect.value, effect.interval);
            canvas.text((RIGHT + 16.0, y - 7.0), &effect, font.bold());
            let margin = format!("must be {}, n = {}", claim.must_be, claim.n);
            canvas.text((RIGHT + 16.0, y + 8.0), &margin, small);
        }
        None => {
            canvas.text((RIGHT + 16.0, y - 7.0), "no effect to show", small);
            canvas.text((RIGHT + 16.0, y + 8.0), &format!("n = {}", claim.n), small);
        }
    }
}
