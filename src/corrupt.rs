//! Algorithm 1 of the paper: the corrupted training set on which an adversarial
//! initialization is memorized.
//!
//! For every image, `R` times: zero a uniformly random subset of exactly
//! `floor(N * d)` of its values, drawn without replacement, and pair the result
//! with a uniformly random label. Nothing is stored: copy `r` of image `i` is a pure
//! function of `(seed, i, r)` and is computed when a batch asks for it, so memory
//! does not grow with `R` and a copy is the same whatever `R`, order or thread.

use crate::planted;
use crate::rng::{Purpose, Stream};
use serde::{Deserialize, Serialize};

/// What one zeroed unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroOutUnit {
    /// One channel value, as in the authors' generator: `d = channels * height * width`.
    Values,
    /// One pixel with all of its channels: `d = height * width`.
    Pixels,
}

/// The parameters of Algorithm 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorruptionSpec {
    /// Replication factor `R`: corrupted copies per image.
    pub replication: u32,
    /// Zero-out ratio `N` in `[0, 1]`.
    pub zero_out: f64,
    /// What is zeroed.
    pub unit: ZeroOutUnit,
    /// Probability that a copy's label is redrawn (1 in the paper; Liao et al. vary it).
    /// A copy that is not redrawn keeps its true label.
    pub random_labels: f64,
}

/// Shape of one image in values: `[channels, height, width]`, stored in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl ImageShape {
    /// Number of channel values, `d` in the paper.
    pub fn values(self) -> usize {
        self.channels * self.pixels()
    }

    /// Number of pixels.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }
}

/// Number of units that Algorithm 1 zeroes in one copy: exactly `floor(N * d)`.
pub fn zeroed_units(spec: &CorruptionSpec, shape: ImageShape) -> usize {
    let units = match spec.unit {
        ZeroOutUnit::Values => shape.values(),
        ZeroOutUnit::Pixels => shape.pixels(),
    };
    // N * d in binary floating point can fall just short of the integer that the
    // decimal N names (0.29 * 100 = 28.999...): the slack is far below one unit.
    ((spec.zero_out * units as f64) + 1e-9).floor() as usize
}

/// Turns `image` (8-bit, `[channels, height, width]`) into copy `copy` of image
/// `index` in place and returns its label.
///
/// `true_label` is what a copy keeps when its label is not redrawn; `classes` is the
/// number of classes that a random label is drawn from.
pub fn corrupt(
    spec: &CorruptionSpec,
    seed: u64,
    (index, copy): (u64, u32),
    image: &mut [u8],
    shape: ImageShape,
    (true_label, classes): (i64, u32),
) -> i64 {
    debug_assert_eq!(image.len(), shape.values());
    debug_assert!(copy < spec.replication, "copy {copy} of {}", spec.replication);
    let mut stream = Stream::open(seed, Purpose::Corruption, &[index, u64::from(copy)]);
    let redraw = stream.chance(spec.random_labels);
    let drawn = i64::from(stream.below(classes));
    let units = match spec.unit {
        ZeroOutUnit::Values => shape.values(),
        ZeroOutUnit::Pixels => shape.pixels(),
    };
    distinct(&mut stream, units, zeroed_units(spec, shape), |unit| match spec.unit {
        ZeroOutUnit::Values => image[unit] = 0,
        ZeroOutUnit::Pixels => {
            image[unit..].iter_mut().step_by(shape.pixels()).for_each(|value| *value = 0)
        }
    });
    if redraw { drawn } else { true_label }
}

/// Calls `chosen` with `count` distinct integers of `0..total`, every subset equally likely
/// (Floyd's algorithm).
fn distinct(stream: &mut Stream, total: usize, count: usize, mut chosen: impl FnMut(usize)) {
    let mut taken = vec![false; total];
    for last in total - count..total {
        let draw = stream.below(last as u32 + 1) as usize;
        let is_taken = taken[draw] && !planted::zero_out_replacement();
        // No branch: a processor cannot foresee what chance decides.
        let pick = std::hint::select_unpredictable(is_taken, last, draw);
        taken[pick] = true;
        chosen(pick);
    }
}
