//! A sheet to draw on: plotters' SVG backend, in fractions of a pixel.
//!
//! The backend takes whole coordinates, which makes curves jagged. So everything is drawn
//! ten times as large, and the view box of the finished picture scales it back.

use super::FigureError;
use super::palette::{INK, Marker, PAPER, Rgb};
use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle,
};
use std::sync::OnceLock;

/// Where the font of a browser or rasterizer is looked for; the first is the one inside this
/// binary.
const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";
pub const REGULAR: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans.ttf");
pub const BOLD: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans-Bold.ttf");

/// Sheet units per pixel.
const FINE: f64 = 10.0;

/// A place in pixels from the upper left.
pub type Point = (f64, f64);

/// How a line looks.
#[derive(Clone, Copy)]
pub struct Pen {
    pub colour: Rgb,
    pub alpha: f64,
    /// In pixels.
    pub width: f64,
    /// Strokes and gaps in pixels; empty is solid.
    pub dashes: &'static [f64],
}

impl Pen {
    pub fn new(colour: Rgb, width: f64) -> Pen {
        Pen { colour, alpha: 1.0, width, dashes: &[] }
    }

    pub fn faint(self, alpha: f64) -> Pen {
        Pen { alpha, ..self }
    }

    pub fn dashed(self, dashes: &'static [f64]) -> Pen {
        Pen { dashes, ..self }
    }
}

/// Which part of a text stands at its place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Left,
    Middle,
    Right,
}

/// How a text looks.
#[derive(Clone, Copy)]
pub struct Font {
    /// In pixels.
    pub size: f64,
    pub bold: bool,
    pub colour: Rgb,
    pub anchor: Anchor,
    /// Read from bottom to top.
    pub upwards: bool,
}

impl Font {
    pub fn new(size: f64) -> Font {
        Font { size, bold: false, colour: INK, anchor: Anchor::Left, upwards: false }
    }

    pub fn bold(self) -> Font {
        Font { bold: true, ..self }
    }

    pub fn colour(self, colour: Rgb) -> Font {
        Font { colour, ..self }
    }

    pub fn anchor(self, anchor: Anchor) -> Font {
        Font { anchor, ..self }
    }

    pub fn upwards(self) -> Font {
        Font { upwards: true, anchor: Anchor::Middle, ..self }
    }

    fn description(self) -> FontDesc<'static> {
        register_fonts();
        let style = if self.bold { FontStyle::Bold } else { FontStyle::Normal };
        // plotters writes size / 1.24 as the font size.
        FontDesc::new(FontFamily::Name(FAMILY), self.size * FINE * 1.24, style)
    }
}

fn register_fonts() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        for (style, bytes) in [(FontStyle::Normal, REGULAR), (FontStyle::Bold, BOLD)] {
            // It can only fail on bytes that are no font, and these are compiled in.
            let _ = plotters::style::register_font(FAMILY, style, bytes);
        }
    });
}

/// Width of `text` in pixels.
pub fn text_width(text: &str, font: Font) -> f64 {
    let size = font.description().box_size(text).map(|(width, _)| f64::from(width));
    // plotters takes the size for the line height (1.164 em in this font) when it measures,
    // and for 1.24 em when it draws.
    size.unwrap_or(0.0) / FINE * 1.164 / 1.24
}

/// `text` in lines that are no wider than `width` pixels, broken at spaces.
pub fn wrap(text: &str, font: Font, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(&format!("{line} {word}"), font) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Height of a line over the size of its font.
const LINE: f64 = 1.4;

/// Height of [`Canvas::paragraph`].
pub fn paragraph_height(text: &str, font: Font, width: f64) -> f64 {
    wrap(text, font, width).len() as f64 * font.size * LINE
}

/// A picture being drawn.
pub struct Canvas<'a> {
    backend: SVGBackend<'a>,
    failure: Option<String>,
}

impl Canvas<'_> {
    /// Draws a picture of `size` pixels with `draw` and gives its SVG. `title` is what a
    /// screen reader says.
    ///
    /// # Errors
    /// If the backend refuses a shape.
    pub fn picture(
        size: (f64, f64),
        title: &str,
        draw: impl FnOnce(&mut Canvas<'_>),
    ) -> Result<String, FigureError> {
        let mut svg = String::new();
        let fine = |x: f64| (x * FINE).round() as u32;
        let sheet = (fine(size.0), fine(size.1));
        let mut canvas =
            Canvas { backend: SVGBackend::with_string(&mut svg, sheet), failure: None };
        canvas.rectangle((0.0, 0.0), size, PAPER, 1.0);
        draw(&mut canvas);
        let finished = canvas.backend.present().map_err(|e| e.to_string());
        let failure = canvas.failure.take().or(finished.err());
        drop(canvas);
        if let Some(problem) = failure {
            return Err(FigureError::Draw { problem });
        }
        let (_, body) = svg.split_once('\n').unwrap_or_default();
        let header = format!(
            "<svg width=\"{}\" height=\"{}\" viewBox=\"0 0 {} {}\" \
             xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" stroke-linejoin=\"round\">\n\
             <title>{}</title>\n",
            size.0.round(),
            size.1.round(),
            sheet.0,
            sheet.1,
            crate::report::escape::xml(title)
        );
        Ok(header + body)
    }

    fn note<E: std::fmt::Display>(&mut self, outcome: Result<(), E>) {
        if let Err(error) = outcome {
            self.failure.get_or_insert_with(|| error.to_string());
        }
    }

    /// A line through `points`; a point that is not finite breaks it.
    pub fn line(&mut self, points: &[Point], pen: Pen) {
        for stretch in points.split(|p| !(p.0.is_finite() && p.1.is_finite())) {
            if pen.dashes.is_empty() {
                self.stroke(stretch, pen);
            } else {
                for dash in dash(stretch, pen.dashes) {
                    self.stroke(&dash, pen);
                }
            }
        }
    }

    fn stroke(&mut self, points: &[Point], pen: Pen) {
        if points.len() < 2 {
            return;
        }
        let style = style(pen.colour, pen.alpha, pen.width, false);
        let outcome = self.backend.draw_path(points.iter().map(|&p| fine(p)), &style);
        self.note(outcome);
    }

    /// A filled polygon (nonzero rule); nothing if a point is not finite.
    pub fn polygon(&mut self, points: &[Point], colour: Rgb, alpha: f64) {
        if points.len() < 3 || points.iter().any(|p| !(p.0.is_finite() && p.1.is_finite())) {
            return;
        }
        let style = style(colour, alpha, 0.0, true);
        let outcome = self.backend.fill_polygon(points.iter().map(|&p| fine(p)), &style);
        self.note(outcome);
    }

    /// A filled rectangle from corner to corner.
    pub fn rectangle(&mut self, from: Point, to: Point, colour: Rgb, alpha: f64) {
        let style = style(colour, alpha, 0.0, true);
        let outcome = self.backend.draw_rect(fine(from), fine(to), &style, true);
        self.note(outcome);
    }

    /// Slanting lines over a rectangle, from its upper left to its lower right corner.
    pub fn hatch(&mut self, from: Point, to: Point, pen: Pen) {
        const STEP: f64 = 6.0;
        let height = to.1 - from.1;
        let mut foot = from.0 - height + STEP / 2.0;
        while foot < to.0 {
            // From the lower edge at `foot` up to the right, as far as the sides allow.
            let (left, right) = (foot.max(from.0), (foot + height).min(to.0));
            self.line(&[(left, to.1 - (left - foot)), (right, to.1 - (right - foot))], pen);
            foot += STEP;
        }
    }

    /// A filled mark of `radius` pixels, or its outline where `outline` gives a width.
    pub fn mark(&mut self, at: Point, radius: f64, marker: Marker, pen: Pen, filled: bool) {
        if !(at.0.is_finite() && at.1.is_finite()) {
            return;
        }
        let (x, y) = at;
        let corners: Vec<Point> = match marker {
            Marker::Circle => {
                let style = style(pen.colour, pen.alpha, pen.width, filled);
                let size = (radius * FINE).round() as u32;
                let outcome = self.backend.draw_circle(fine(at), size, &style, filled);
                return self.note(outcome);
            }
            Marker::Square => {
                let r = radius * 0.88;
                vec![(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]
            }
            Marker::Diamond => {
                let r = radius * 1.25;
                vec![(x, y - r), (x + r, y), (x, y + r), (x - r, y)]
            }
            Marker::Triangle => {
                let r = radius * 1.2;
                vec![(x, y - r), (x + r, y + r * 0.75), (x - r, y + r * 0.75)]
            }
        };
        if filled {
            self.polygon(&corners, pen.colour, pen.alpha);
        } else {
            let closed = [&corners[..], &corners[..2]].concat();
            self.stroke(&closed, pen);
        }
    }

    /// A text whose vertical middle is at `at`.
    pub fn text(&mut self, at: Point, text: &str, font: Font) {
        let anchor = match font.anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let turn = if font.upwards { FontTransform::Rotate270 } else { FontTransform::None };
        let (r, g, b) = font.colour;
        let colour = RGBColor(r, g, b);
        let style = TextStyle::from(font.description().transform(turn))
            .color(&colour)
            .pos(Pos::new(anchor, VPos::Center));
        let outcome = self.backend.draw_text(text, &style, fine(at));
        self.note(outcome);
    }

    /// Lines of text, the first one's middle at `at`; gives the height used.
    pub fn paragraph(&mut self, at: Point, width: f64, text: &str, font: Font) -> f64 {
        for (i, line) in wrap(text, font, width).iter().enumerate() {
            self.text((at.0, at.1 + i as f64 * font.size * LINE), line, font);
        }
        paragraph_height(text, font, width)
    }
}

fn fine((x, y): Point) -> (i32, i32) {
    ((x * FINE).round() as i32, (y * FINE).round() as i32)
}

fn style((r, g, b): Rgb, alpha: f64, width: f64, filled: bool) -> ShapeStyle {
    ShapeStyle {
        color: RGBColor(r, g, b).mix(alpha),
        filled,
        stroke_width: (width * FINE).round() as u32,
    }
}

/// `points` cut into the strokes of a dashed line.
fn dash(points: &[Point], pattern: &[f64]) -> Vec<Vec<Point>> {
    let mut strokes: Vec<Vec<Point>> = Vec::new();
    let (mut place, mut left) = (0, pattern[0]);
    let mut current = points.first().map(|&p| vec![p]).unwrap_or_default();
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        loop {
            let (dx, dy) = (to.0 - from.0, to.1 - from.1);
            let length = libm::hypot(dx, dy);
            if length <= left {
                left -= length;
                current.push(to);
                break;
            }
            let cut = (from.0 + dx * left / length, from.1 + dy * left / length);
            current.push(cut);
            if place % 2 == 0 {
                strokes.push(std::mem::take(&mut current));
            }
            place = (place + 1) % (pattern.len() + pattern.len() % 2);
            left = pattern[place % pattern.len()];
            current = vec![cut];
            from = cut;
        }
    }
    if place % 2 == 0 && current.len() > 1 {
        strokes.push(current);
    }
    strokes
}
