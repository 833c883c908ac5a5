//! Why a random-label fit may be impossible.

use super::source::{Batch, Source, Split};
use crate::digest::sha256;
use std::collections::BTreeMap;

impl Source {
    /// Two examples of the training set as it is memorized that have the same inputs and different
    /// labels, if there are such: no network fits both. Copies of a small, dark image can be, where
    /// Algorithm 1 zeroes only pixels that were black.
    pub fn contradiction(&self) -> Option<[usize; 2]> {
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
