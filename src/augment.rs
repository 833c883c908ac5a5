//! Data augmentation as in the authors' loader: a random crop after zero padding of the
//! raw image, then a horizontal flip. Both are a pure function of (seed, epoch, example).

use crate::image_shape::ImageShape;
use crate::planted;
use crate::rng::{Purpose, Stream};
use serde::{Deserialize, Serialize};

/// How images are augmented.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentSpec {
    /// Zero padding, in pixels, on each side of the raw image before the crop.
    pub crop_padding: u32,
    /// Probability of a horizontal flip.
    pub flip: f64,
}

/// One draw of the augmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Offset of the crop in the padded image, `0..=2 * crop_padding`, downwards.
    pub top: u32,
    /// The same to the right.
    pub left: u32,
    /// Whether the crop is mirrored left to right.
    pub flip: bool,
}

/// The draw for `example` in `epoch` (epochs count from 1).
pub fn draw(spec: &AugmentSpec, seed: u64, epoch: u64, example: u64) -> Draw {
    let mut stream = Stream::open(seed, Purpose::Augmentation, &[epoch, example]);
    let mut offsets = 2 * spec.crop_padding + 1;
    if planted::crop_off_by_one() {
        offsets -= 1;
    }
    let (top, left) = (stream.below(offsets), stream.below(offsets));
    let chance = if planted::flip_too_often() { 1.2 * spec.flip } else { spec.flip };
    let flip = stream.chance(chance) || planted::flip_always();
    Draw { top, left, flip }
}

/// Writes the crop (and flip) of `image` to `out`; both `[channels, height, width]`.
/// What lies outside the image is zero, as raw padding is.
pub fn apply(draw: Draw, padding: u32, image: &[u8], shape: ImageShape, out: &mut [u8]) {
    let (height, width) = (shape.height as i64, shape.width as i64);
    let down = i64::from(draw.top) - i64::from(padding);
    let right = i64::from(draw.left) - i64::from(padding);
    let planes = image.chunks_exact(shape.pixels()).zip(out.chunks_exact_mut(shape.pixels()));
    for (from, to) in planes {
        for (y, row) in (0..height).zip(to.chunks_exact_mut(shape.width)) {
            for (x, value) in (0..width).zip(row.iter_mut()) {
                let x = if draw.flip { width - 1 - x } else { x };
                let (from_y, from_x) = (y + down, x + right);
                let inside = (0..height).contains(&from_y) && (0..width).contains(&from_x);
                *value = if inside { from[(from_y * width + from_x) as usize] } else { 0 };
            }
        }
    }
}
