//! A sheet to draw on, which becomes SVG. One unit is one pixel; coordinates are written to a
//! hundredth of it.

use super::palette::{INK, Marker, PAPER, Rgb};
use crate::report::escape;
use std::fmt::{self, Display, Write};
use std::sync::OnceLock;
use ttf_parser::Face;

/// Where the font of a browser or rasterizer is looked for; the first is the one inside this
/// binary.
const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";
const REGULAR: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans.ttf");
const BOLD: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans-Bold.ttf");

/// From the middle of a text down to its baseline, over the size: half of the font's x-height.
const MIDDLE: f64 = 0.2735;

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
}

/// The fonts inside this binary; `None` cannot be, since they are compiled in.
pub fn face(bold: bool) -> Option<&'static Face<'static>> {
    static FACES: OnceLock<[Option<Face<'static>>; 2]> = OnceLock::new();
    let faces = FACES.get_or_init(|| [REGULAR, BOLD].map(|bytes| Face::parse(bytes, 0).ok()));
    faces[usize::from(bold)].as_ref()
}

/// Width of `text` in pixels: the advances of its characters.
pub fn text_width(text: &str, font: Font) -> f64 {
    let Some(face) = face(font.bold) else { return 0.0 };
    let advance = |c| face.glyph_index(c).and_then(|glyph| face.glyph_hor_advance(glyph));
    let units: f64 = text.chars().filter_map(advance).map(f64::from).sum();
    units / f64::from(face.units_per_em()) * font.size
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
pub struct Canvas {
    body: String,
}

impl Canvas {
    /// Draws a picture of `size` pixels with `draw` and gives its SVG. `title` is what a
    /// screen reader says.
    pub fn picture(size: (f64, f64), title: &str, draw: impl FnOnce(&mut Canvas)) -> String {
        let (width, height) = (size.0.round(), size.1.round());
        let mut canvas = Canvas { body: String::new() };
        canvas.rectangle((0.0, 0.0), (width, height), PAPER, 1.0);
        draw(&mut canvas);
        format!(
            "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" stroke-linejoin=\"round\">\n\
             <title>{}</title>\n{}</svg>\n",
            escape::xml(title),
            canvas.body
        )
    }

    /// An element without content.
    fn element(&mut self, element: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "<{element}/>");
    }

    /// A line through `points`; a point that is not finite breaks it.
    pub fn line(&mut self, points: &[Point], pen: Pen) {
        for stretch in points.split(|p| !is_finite(p)).filter(|stretch| stretch.len() > 1) {
            let (points, pen) = (Places(stretch), Stroke(pen));
            self.element(format_args!("polyline points=\"{points}\" fill=\"none\"{pen}"));
        }
    }

    /// A filled polygon (nonzero rule); nothing if a point is not finite.
    pub fn polygon(&mut self, points: &[Point], colour: Rgb, alpha: f64) {
        if points.len() >= 3 && points.iter().all(is_finite) {
            let (points, fill) = (Places(points), Fill(colour, alpha));
            self.element(format_args!("polygon points=\"{points}\"{fill}"));
        }
    }

    /// A filled rectangle from corner to corner.
    pub fn rectangle(&mut self, from: Point, to: Point, colour: Rgb, alpha: f64) {
        if !(is_finite(&from) && is_finite(&to)) {
            return;
        }
        let (x, y) = (Short(from.0.min(to.0)), Short(from.1.min(to.1)));
        let (width, height) = (Short((to.0 - from.0).abs()), Short((to.1 - from.1).abs()));
        let fill = Fill(colour, alpha);
        self.element(format_args!(
            "rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"{fill}"
        ));
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
        if !is_finite(&at) {
            return;
        }
        let (x, y) = at;
        let corners: Vec<Point> = match marker {
            Marker::Circle => {
                let (x, y, r) = (Short(x), Short(y), Short(radius));
                let circle = format_args!("circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\"");
                return if filled {
                    self.element(format_args!("{circle}{}", Fill(pen.colour, pen.alpha)));
                } else {
                    self.element(format_args!("{circle} fill=\"none\"{}", Stroke(pen)));
                };
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
            self.line(&closed, pen);
        }
    }

    /// A text whose vertical middle is at `at`.
    pub fn text(&mut self, at: Point, text: &str, font: Font) {
        let anchor = match font.anchor {
            Anchor::Left => "start",
            Anchor::Middle => "middle",
            Anchor::Right => "end",
        };
        let (x, y) = (Short(at.0), Short(at.1));
        let _ = write!(
            self.body,
            "<text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\" font-family=\"{FAMILY}\" \
             font-size=\"{}\"{}",
            Short(at.1 + MIDDLE * font.size),
            Short(font.size),
            Fill(font.colour, 1.0)
        );
        if font.bold {
            self.body.push_str(" font-weight=\"bold\"");
        }
        if font.upwards {
            let _ = write!(self.body, " transform=\"rotate(-90 {x} {y})\"");
        }
        let _ = writeln!(self.body, ">{}</text>", escape::xml(text));
    }

    /// Lines of text, the first one's middle at `at`; gives the height used.
    pub fn paragraph(&mut self, at: Point, width: f64, text: &str, font: Font) -> f64 {
        for (i, line) in wrap(text, font, width).iter().enumerate() {
            self.text((at.0, at.1 + i as f64 * font.size * LINE), line, font);
        }
        paragraph_height(text, font, width)
    }
}

fn is_finite(point: &Point) -> bool {
    point.0.is_finite() && point.1.is_finite()
}

/// A number to a hundredth.
struct Short(f64);

impl Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Adding zero turns a negative zero into a positive one.
        write!(f, "{}", (self.0 * 100.0).round() / 100.0 + 0.0)
    }
}

struct Places<'a>(&'a [Point]);

impl Display for Places<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &(x, y)) in self.0.iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{},{}", Short(x), Short(y))?;
        }
        Ok(())
    }
}

/// A colour as an attribute of `part`, and its opacity where it is not 1.
fn coloured(f: &mut fmt::Formatter<'_>, part: &str, (r, g, b): Rgb, alpha: f64) -> fmt::Result {
    write!(f, " {part}=\"#{r:02X}{g:02X}{b:02X}\"")?;
    if alpha < 1.0 {
        write!(f, " {part}-opacity=\"{}\"", Short(alpha))?;
    }
    Ok(())
}

struct Fill(Rgb, f64);

impl Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        coloured(f, "fill", self.0, self.1)
    }
}

struct Stroke(Pen);

impl Display for Stroke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pen { colour, alpha, width, dashes } = self.0;
        coloured(f, "stroke", colour, alpha)?;
        write!(f, " stroke-width=\"{}\"", Short(width))?;
        for (i, &length) in dashes.iter().enumerate() {
            let before = if i == 0 { " stroke-dasharray=\"" } else { " " };
            write!(f, "{before}{}", Short(length))?;
        }
        if dashes.is_empty() { Ok(()) } else { f.write_str("\"") }
    }
}
