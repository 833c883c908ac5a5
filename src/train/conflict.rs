//! Why a random-label fit may take long, or be impossible.

use super::source::{Batch, Source, Split};
use crate::digest::sha256;
use std::collections::BTreeMap;

/// Multiplications that a search for the nearest pair may take: ten seconds of a core.
const MAX_WORK: f64 = 4e10;

/// The two most similar examples of a training set that have different labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conflict {
    /// Their places in the training set.
    pub examples: [usize; 2],
    /// Euclidean distance of their inputs, over the mean distance of two examples far apart in the
    /// order of the training set. At 0 no network fits both.
    pub distance: f64,
}

impl Source {
    /// The nearest two examples with different labels in the training set as it is memorized, if
    /// there are any. Copies of a small, dark image can be nearly the same picture, where Algorithm 1
    /// zeroes only pixels that were black. In a set too large for a search among all pairs only
    /// inputs that are exactly the same are found.
    pub fn conflict(&self) -> Option<Conflict> {
        let examples = self.len(Split::TrainPlain);
        let mut batch = Batch::default();
        self.fill_batch(Split::TrainPlain, 0..examples.min(1), &mut batch);
        let width = batch.inputs.len();
        if (examples as f64).powi(2) / 2.0 * width as f64 > MAX_WORK {
            let same = self.same_inputs()?;
            return Some(Conflict { examples: same, distance: 0.0 });
        }
        self.fill_batch(Split::TrainPlain, 0..examples, &mut batch);
        let input = |example: usize| &batch.inputs[example * width..][..width];
        let labels = &batch.labels;
        let mut nearest: Option<(f32, [usize; 2])> = None;
        for b in 0..examples {
            for a in (0..b).filter(|&a| labels[a] != labels[b]) {
                let square = square_distance(input(a), input(b));
                if nearest.is_none_or(|(least, _)| square < least) {
                    nearest = Some((square, [a, b]));
                }
            }
        }
        let (square, pair) = nearest?;
        let apart = |a: usize| {
            let b = (a + examples / 2) % examples;
            f64::from(square_distance(input(a), input(b))).sqrt()
        };
        let usual = (0..examples).map(apart).sum::<f64>() / examples as f64;
        let distance = if square == 0.0 { 0.0 } else { f64::from(square).sqrt() / usual };
        Some(Conflict { examples: pair, distance })
    }

    /// Two examples with exactly the same inputs and different labels, if there are such.
    pub fn same_inputs(&self) -> Option<[usize; 2]> {
        let mut seen: BTreeMap<String, (usize, i64)> = BTreeMap::new();
        let mut batch = Batch::default();
        for example in 0..self.len(Split::TrainPlain) {
            self.fill_batch(Split::TrainPlain, std::iter::once(example), &mut batch);
            let bytes: Vec<u8> = batch.inputs.iter().flat_map(|x| x.to_le_bytes()).collect();
            let label = batch.labels[0];
            let (first, its_label) = *seen.entry(sha256(&bytes)).or_insert((example, label));
            if its_label != label {
                return Some([first, example]);
            }
        }
        None
    }
}

/// In eight sums side by side, which the compiler can keep in one vector.
fn square_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a_eights, a_rest) = a.as_chunks::<8>();
    let (b_eights, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_eights.iter().zip(b_eights) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += (a - b) * (a - b);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b));
    sums.iter().sum::<f32>() + rest.sum::<f32>()
}
