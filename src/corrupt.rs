//! Algorithm 1 of the paper: the corrupted training set that is memorized to obtain an
//! adversarial initialization.
//!
//! Each image gives `R` copies (`R`: replication factor). In each copy, `floor(N * d)` of its `d`
//! units ([`ZeroOutUnit`]; `N`: zero-out ratio), drawn uniformly without replacement, are set to
//! zero, and the label is redrawn uniformly from all classes (with probability
//! [`CorruptionSpec::random_labels`], 1 in the paper).
//!
//! No copy is stored: copy `r` of image `i` is a pure function of `(seed, i, r)`, computed when a
//! batch asks for it. So memory does not grow with `R`, and a copy does not depend on `R`, on the
//! order of the batches or on the number of threads.

use crate::image_shape::ImageShape;
use crate::planted;
use crate::rng::{Purpose, Stream};
use serde::{Deserialize, Serialize};

/// The unit that Algorithm 1 zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroOutUnit {
    /// One channel value: `d = channels * height * width`. As in the authors' code
    /// (chao1224/BadGlobalMinima).
    Values,
    /// One pixel with all of its channels: `d = height * width`.
    Pixels,
}

impl ZeroOutUnit {
    /// Number of units in one image, `d` in the paper.
    fn count(self, shape: ImageShape) -> usize {
        match self {
            ZeroOutUnit::Values => shape.values(),
            ZeroOutUnit::Pixels => shape.pixels(),
        }
    }
}

/// The parameters of Algorithm 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorruptionSpec {
    /// Replication factor `R`: corrupted copies per image.
    pub replication: u32,
    /// Zero-out ratio `N` in `[0, 1]`.
    pub zero_out: f64,
    /// Whether single values or whole pixels are zeroed.
    pub unit: ZeroOutUnit,
    /// Probability in `[0, 1]` that a copy's label is redrawn (1 in the paper; Liao et al., named
    /// by Review 4, vary it). A redrawn label may be the true one by chance; other copies keep the
    /// true label.
    pub random_labels: f64,
}

/// Number of units that Algorithm 1 zeroes in one copy: `floor(N * d)`, with a slack of 1e-9 for
/// decimal ratios.
pub fn zeroed_units(spec: &CorruptionSpec, shape: ImageShape) -> usize {
    // N * d in binary floating point can fall just short of the integer that the
    // decimal N names (0.29 * 100 = 28.999...): the slack is far below one unit.
    ((spec.zero_out * spec.unit.count(shape) as f64) + 1e-9).floor() as usize
}

/// Corrupts `image` (8-bit, `[channels, height, width]`) in place into copy `copy` of training
/// image `index`, and returns the label of the copy: `true_label`, or one of `0..classes` if it is
/// redrawn.
///
/// `spec` must have passed `RunSpec::check`, and `image` must have `shape.values()` bytes.
///
/// # Panics
/// If `classes` is zero.
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
    // Always drawn, so that the mask does not depend on `random_labels`.
    let redraw = stream.chance(spec.random_labels);
    let drawn = i64::from(stream.below(classes));
    let (units, zeroed) = (spec.unit.count(shape), zeroed_units(spec, shape));
    sample_without_replacement(&mut stream, units, zeroed, |unit| match spec.unit {
        ZeroOutUnit::Values => image[unit] = 0,
        ZeroOutUnit::Pixels => {
            image[unit..].iter_mut().step_by(shape.pixels()).for_each(|value| *value = 0)
        }
    });
    if redraw { drawn } else { true_label }
}

/// Calls `visit` with `count` distinct integers of `0..total`, every subset equally likely
/// (Floyd's algorithm).
fn sample_without_replacement(
    stream: &mut Stream,
    total: usize,
    count: usize,
    mut visit: impl FnMut(usize),
) {
    let mut taken = vec![false; total];
    for last in total - count..total {
        let draw = stream.below(last as u32 + 1) as usize;
        // The planted fault: a constant `false` unless built with the feature `planted-faults`.
        let is_taken = taken[draw] && !planted::zero_out_replacement();
        // Without a branch, which would be mispredicted often.
        let pick = std::hint::select_unpredictable(is_taken, last, draw);
        taken[pick] = true;
        visit(pick);
    }
}
