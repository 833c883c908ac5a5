//! Which training images a run takes of a data set, by its seed.

use super::folders::interleave;
use super::{DataError, ImageSet};
use crate::rng::{Purpose, Stream};
use std::collections::BTreeMap;

/// Most bytes of images that are drawn: they are copied, one by one, into memory.
const MAX_BYTES: usize = 4 << 30;

/// Numbers of all images with these labels in the order in which a run with this seed takes
/// them: the images of each class shuffled, classes taking turns in proportion to their sizes.
///
/// So the first `n` of them are as balanced as `n` can be, and are the same whatever comes
/// after: a run on 1,000 images and one on 2,000 share the first 1,000.
pub fn order(labels: &[u8], seed: u64) -> Vec<u32> {
    let mut classes: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
    for (index, &label) in (0..).zip(labels) {
        classes.entry(label).or_default().push(index);
    }
    for (&class, members) in &mut classes {
        Stream::open(seed, Purpose::Draw, &[u64::from(class)]).shuffle(members);
    }
    interleave(classes.into_values().collect())
}

/// The first `count` images of [`order`].
///
/// # Errors
/// If they are too many to copy into memory.
///
/// # Panics
/// If there are fewer.
pub(super) fn draw(set: &ImageSet, seed: u64, count: usize) -> Result<ImageSet, DataError> {
    let bytes = count.saturating_mul(set.shape.values());
    if bytes > MAX_BYTES {
        return Err(DataError::Spec {
            field: "data.images.draw".into(),
            value: "seed".into(),
            problem: format!(
                "{count} images would be copied, {bytes} bytes; take fewer, or write \"first\""
            ),
        });
    }
    let (mut pixels, mut labels) = (Vec::with_capacity(bytes), Vec::with_capacity(count));
    for &index in &order(&set.labels, seed)[..count] {
        pixels.extend_from_slice(set.image(index as usize));
        labels.push(set.labels[index as usize]);
    }
    Ok(ImageSet { shape: set.shape, pixels: pixels.into(), labels })
}
