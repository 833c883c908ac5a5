//! Named random streams: the only source of randomness in this crate.
//!
//! A stream is a ChaCha8 generator whose 256-bit seed is the SHA-256 of
//! `(format tag, master seed, purpose, indices)`. What a stream yields depends on
//! what it is *for* and never on what was drawn before, so the crop of example `i`
//! in epoch `e` is the same whatever the batch size, thread or resume point.
//!
//! Bounded integers, shuffles and normals are our own few lines: those of the
//! `rand` crates change between versions, and libm's differ between systems.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

/// Changes whenever the mapping from names to streams changes.
const FORMAT_TAG: &[u8] = b"bgm-rng-v2";

/// What a stream is for. The discriminant is part of the seed: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial value of one parameter tensor; index: hash of its name.
    InitialWeights = 1,
    /// Zero-out mask and label of one corrupted copy; indices: image, copy.
    Corruption = 2,
    /// Order of the examples in one epoch; index: epoch.
    Shuffle = 3,
    /// Crop and flip of one example in one epoch; indices: epoch, example.
    Augmentation = 4,
    /// Points of the two-dimensional toy; index: split.
    ToyPoints = 5,
    /// Which images a subset takes from a class; indices: split, class.
    Subset = 6,
    /// Start of an iterative measurement (power iteration, PGD); index: its own.
    Measurement = 7,
    /// Labels and noise that a test draws.
    Test = 8,
    /// Order of the images of an imported class, and its split; indices: split, class.
    Import = 9,
    /// Which training images a run takes; index: class.
    Draw = 10,
    /// Which runs `bgm check --sample` trains again.
    Sample = 11,
}

/// A stream of random values for one purpose.
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// Opens the stream named by `(seed, purpose, indices)`.
    pub fn open(seed: u64, purpose: Purpose, indices: &[u64]) -> Self {
        let mut hash = Sha256::new();
        hash.update(FORMAT_TAG);
        hash.update(seed.to_le_bytes());
        hash.update((purpose as u32).to_le_bytes());
        for index in indices {
            hash.update(index.to_le_bytes());
        }
        Stream(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// A uniform 32-bit integer.
    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A uniform integer in `0..bound`, without modulo bias (Lemire 2019).
    ///
    /// # Panics
    /// If `bound` is zero: there is nothing to draw from.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "cannot draw an integer below zero");
        loop {
            let wide = u64::from(self.bits()) * u64::from(bound);
            // The threshold lies below the bound, so the slow division is seldom needed.
            if wide as u32 >= bound || wide as u32 >= bound.wrapping_neg() % bound {
                return (wide >> 32) as u32;
            }
        }
    }

    /// A uniform number in `[0, 1)` with 24 bits, exact in `f32`.
    pub fn unit_f32(&mut self) -> f32 {
        (self.bits() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// A uniform number in `[0, 1)` with 53 bits.
    pub fn unit_f64(&mut self) -> f64 {
        let wide = (u64::from(self.bits()) << 32) | u64::from(self.bits());
        (wide >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// `true` with probability `p`; always draws, so that the stream keeps its place.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit_f64() < p
    }

    /// A standard normal number (Box-Muller, the cosine branch). The logarithm and
    /// cosine come from the `libm` crate, whose results are the same on every machine.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(1.0 - self.unit_f64())).sqrt();
        radius * libm::cos(2.0 * std::f64::consts::PI * self.unit_f64())
    }

    /// Shuffles in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

/// A stable 64-bit index for a name (the first eight bytes of its SHA-256).
pub fn name_index(name: &str) -> u64 {
    let digest = Sha256::digest(name.as_bytes());
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_pinned() {
        let mut stream = Stream::open(7, Purpose::Test, &[1, 2]);
        let drawn: Vec<u32> = (0..4).map(|_| stream.bits()).collect();
        insta::assert_debug_snapshot!(drawn);
    }

    #[test]
    fn index_order_and_purpose_matter() {
        let first = |seed, purpose, indices: &[u64]| Stream::open(seed, purpose, indices).bits();
        let base = first(7, Purpose::Test, &[1, 2]);
        assert_ne!(base, first(7, Purpose::Test, &[2, 1]));
        assert_ne!(base, first(8, Purpose::Test, &[1, 2]));
        assert_ne!(base, first(7, Purpose::Shuffle, &[1, 2]));
    }

    #[test]
    fn bounded_integers_are_uniform() {
        let mut stream = Stream::open(1, Purpose::Test, &[]);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[stream.below(6) as usize] += 1;
        }
        let chi2: f64 = counts.iter().map(|&c| (f64::from(c) - 1e4).powi(2) / 1e4).sum();
        assert!(chi2 < 20.5, "chi-square with 5 degrees of freedom: {chi2}"); // p = 0.001
    }

    #[test]
    fn bounded_integers_are_those_of_lemires_method() {
        // Bounds above half the range reject nearly every second draw.
        for bound in [1, 2, 3, 10, 784, 65_537, u32::MAX / 2 + 2, u32::MAX - 1, u32::MAX] {
            let [mut ours, mut bits] = [0, 0].map(|seed| Stream::open(seed, Purpose::Test, &[]));
            for _ in 0..2_000 {
                // As published: the threshold first.
                let threshold = bound.wrapping_neg() % bound;
                let expected = loop {
                    let wide = u64::from(bits.bits()) * u64::from(bound);
                    if wide as u32 >= threshold {
                        break (wide >> 32) as u32;
                    }
                };
                assert_eq!(ours.below(bound), expected, "bound {bound}");
            }
        }
    }

    #[test]
    fn normals_have_unit_variance() {
        let mut stream = Stream::open(2, Purpose::Test, &[]);
        let draws: Vec<f64> = (0..40_000).map(|_| stream.normal()).collect();
        let mean = draws.iter().sum::<f64>() / 40_000.0;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 40_000.0;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
