//! Figures: drawn once as SVG, and rasterized from that SVG with the font inside this binary.

pub mod axes;
mod bars;
mod boundary;
pub mod canvas;
mod contour;
mod course;
mod curves;
mod decision;
mod forest;
mod heatmap;
mod journey;
mod line;
mod outline;
pub mod palette;
mod profile;
mod scaling;

use super::layout::Numbers;
use crate::experiments::RenderKind;
use resvg::{tiny_skia, usvg};

pub use forest::forest;
pub use scaling::{duration, scaling};

/// Width of every figure in pixels.
pub const WIDTH: f64 = 960.0;

/// Pixels of the PNG per pixel of the SVG.
const RASTER_SCALE: f32 = 2.0;

/// Why there is no PNG of a figure.
#[derive(Debug, thiserror::Error)]
#[error("rasterizing failed: {0}")]
pub struct FigureError(String);

/// The figure of an experiment as SVG; `None` if it has only a table.
pub fn draw(numbers: &Numbers<'_>) -> Option<String> {
    let svg = match numbers.experiment().render.kind {
        RenderKind::Table => return None,
        RenderKind::Curves => curves::draw(numbers.result),
        RenderKind::Boundary => boundary::draw(numbers),
        RenderKind::Line => line::draw(numbers),
        RenderKind::Bars => bars::draw(numbers),
        RenderKind::Heatmap => heatmap::draw(numbers),
        RenderKind::Profile => profile::draw(numbers.result),
    };
    Some(svg)
}

/// An SVG as PNG at twice its size.
///
/// # Errors
/// If the SVG cannot be read or the picture not be encoded.
pub fn rasterize(svg: &str) -> Result<Vec<u8>, FigureError> {
    let tree = usvg::Tree::from_str(&outline::outlined(svg)?, &usvg::Options::default());
    let tree = tree.map_err(|e| FigureError(e.to_string()))?;
    let size = tree.size().to_int_size().scale_by(RASTER_SCALE);
    let pixmap = size.and_then(|s| tiny_skia::Pixmap::new(s.width(), s.height()));
    let mut pixmap = pixmap.ok_or_else(|| FigureError("the picture has no area".to_owned()))?;
    let scale = tiny_skia::Transform::from_scale(RASTER_SCALE, RASTER_SCALE);
    resvg::render(&tree, scale, &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|e| FigureError(e.to_string()))
}
