//! The texts of a figure as outlines of the font inside this binary: what a rasterizer needs, that
//! has no fonts.

use super::FigureError;
use super::canvas::{Font, face, text_width};
use resvg::usvg::roxmltree::{Document, Node};
use std::fmt::Write;
use ttf_parser::{Face, OutlineBuilder};

/// The SVG with a path in the place of each `<text>`.
///
/// # Errors
/// If it is no XML, or a text lacks what [`super::canvas::Canvas::text`] writes.
pub fn outlined(svg: &str) -> Result<String, FigureError> {
    let document = Document::parse(svg).map_err(|e| FigureError(e.to_string()))?;
    let (mut outlined, mut end) = (String::with_capacity(4 * svg.len()), 0);
    for text in document.descendants().filter(|node| node.has_tag_name("text")) {
        let path = path(text).ok_or_else(|| {
            FigureError(format!("a text that cannot be drawn: {}", &svg[text.range()]))
        })?;
        outlined.push_str(&svg[end..text.range().start]);
        outlined.push_str(&path);
        end = text.range().end;
    }
    outlined.push_str(&svg[end..]);
    Ok(outlined)
}

/// A text as a path; `None` if an attribute or the font is not there.
fn path(node: Node<'_, '_>) -> Option<String> {
    let number = |name: &str| node.attribute(name)?.parse::<f64>().ok();
    let (x, y, size) = (number("x")?, number("y")?, number("font-size")?);
    let font = Font { bold: node.attribute("font-weight") == Some("bold"), ..Font::new(size) };
    let (text, face) = (node.text().unwrap_or_default(), face(font.bold)?);
    let left = match node.attribute("text-anchor")? {
        "middle" => x - text_width(text, font) / 2.0,
        "end" => x - text_width(text, font),
        _ => x,
    };
    let scale = size / f64::from(face.units_per_em());
    let mut pen = Pen { path: String::new(), x: left, y, scale };
    for character in text.chars() {
        pen.draw(face, character);
    }
    let turned = node.attribute("transform").map(|turn| format!(" transform=\"{turn}\""));
    let (turned, fill) = (turned.unwrap_or_default(), node.attribute("fill")?);
    Some(format!("<path d=\"{}\" fill=\"{fill}\"{turned}/>", pen.path))
}

/// Writes glyphs one after the other.
struct Pen {
    path: String,
    /// Where the next glyph begins, in pixels.
    x: f64,
    y: f64,
    /// Pixels of a unit of the font.
    scale: f64,
}

impl Pen {
    fn draw(&mut self, face: &Face<'_>, character: char) {
        let Some(glyph) = face.glyph_index(character) else { return };
        // A space has no outline.
        let _ = face.outline_glyph(glyph, self);
        self.x += f64::from(face.glyph_hor_advance(glyph).unwrap_or(0)) * self.scale;
    }

    /// A command of a path with its points; those of a font grow upwards.
    fn command(&mut self, name: char, points: &[(f32, f32)]) {
        self.path.push(name);
        for &(x, y) in points {
            let (x, y) = (f64::from(x) * self.scale, f64::from(y) * self.scale);
            // Writing to a string cannot fail.
            let _ = write!(self.path, " {:.3} {:.3}", self.x + x, self.y - y);
        }
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.command('M', &[(x, y)]);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.command('L', &[(x, y)]);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.command('Q', &[(x1, y1), (x, y)]);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.command('C', &[(x1, y1), (x2, y2), (x, y)]);
    }

    fn close(&mut self) {
        self.path.push('Z');
    }
}

#[cfg(test)]
mod tests {
    use super::super::canvas::{Anchor, Canvas};
    use super::*;

    #[test]
    fn every_text_becomes_a_path_where_it_stood() {
        let svg = Canvas::picture((200.0, 100.0), "a title", |canvas| {
            canvas.text((100.0, 50.0), "a < b & \u{2212}1", Font::new(12.0).anchor(Anchor::Middle));
            canvas.text((20.0, 50.0), "up", Font::new(12.0).bold().upwards());
        });
        let outlined = outlined(&svg).unwrap();
        assert!(svg.contains("<text") && !outlined.contains("<text"), "{outlined}");
        assert_eq!(outlined.matches("<path").count(), 2);
        assert!(outlined.contains("transform=\"rotate(-90 20 50)\""), "{outlined}");
        // The first point of the first text lies within its width.
        let half = text_width("a < b & \u{2212}1", Font::new(12.0)) / 2.0;
        let first = outlined.split("<path d=\"M ").nth(1).unwrap();
        let x: f64 = first.split(' ').next().unwrap().parse().unwrap();
        assert!((100.0 - half..100.0).contains(&x), "{x}");
    }

    #[test]
    fn what_is_no_picture_of_ours_is_an_error() {
        assert!(outlined("<svg").is_err());
        assert!(outlined("<svg><text>no place</text></svg>").is_err());
    }
}
