//! Sums over images: blocks, pairs within a block, and the tree over blocks.

use super::real::Real;
use bad_global_minima::models::graph::Shape;
use std::ops::Range;

/// Images of a block.
const BLOCK: usize = 32;

/// One value of the network for a whole batch: `[image][channel][pixel]`.
#[derive(Clone, Debug)]
pub struct Maps<T> {
    pub images: usize,
    pub shape: Shape,
    pub data: Vec<T>,
}

impl<T: Real> Maps<T> {
    pub fn zeros(images: usize, shape: Shape) -> Maps<T> {
        Maps { images, shape, data: vec![T::ZERO; images * shape.values()] }
    }

    pub fn at(&self, image: usize, channel: usize, pixel: usize) -> usize {
        (image * self.shape.channels + channel) * self.shape.pixels() + pixel
    }

    pub fn get(&self, image: usize, channel: usize, pixel: usize) -> T {
        self.data[self.at(image, channel, pixel)]
    }

    pub fn set(&mut self, image: usize, channel: usize, pixel: usize, value: T) {
        let at = self.at(image, channel, pixel);
        self.data[at] = value;
    }
}

/// The blocks of a batch, in order.
pub fn blocks(images: usize) -> impl Iterator<Item = Range<usize>> {
    (0..images).step_by(BLOCK).map(move |first| first..images.min(first + BLOCK))
}

/// The images `2k` and `2k + 1` of a block; the second is `None` if the block ends before it.
pub fn pairs(block: Range<usize>) -> impl Iterator<Item = [Option<usize>; 2]> {
    block
        .clone()
        .step_by(2)
        .map(move |first| [Some(first), Some(first + 1).filter(|i| block.contains(i))])
}

/// Adds the partial sums of the blocks.
pub fn tree<T: Real>(mut partial: Vec<T>) -> T {
    while partial.len() > 1 {
        let neighbours = partial.chunks(2);
        partial = neighbours.map(|c| if c.len() == 2 { c[0] + c[1] } else { c[0] }).collect();
    }
    partial[0]
}

/// `tree(total(v))` of one channel; `value(image, pixel)` is `v`.
pub fn total<T: Real>(maps: &Maps<T>, value: impl Fn(usize, usize) -> T) -> T {
    chains(maps, |image, pixel, sum| sum + value(image, pixel))
}

/// `tree(total_of_products(a, b))` of one channel; `factors(image, pixel)` are `a` and `b`.
pub fn total_of_products<T: Real>(maps: &Maps<T>, factors: impl Fn(usize, usize) -> (T, T)) -> T {
    chains(maps, |image, pixel, sum| {
        let (a, b) = factors(image, pixel);
        T::fma(a, b, sum)
    })
}

/// Four chains a parity in each block; a missing image leaves its chain as it is.
fn chains<T: Real>(maps: &Maps<T>, next: impl Fn(usize, usize, T) -> T) -> T {
    let of_block = |block: Range<usize>| {
        let mut sums = [[T::ZERO; 2]; 4];
        let mut row = 0;
        for pixel in 0..maps.shape.pixels() {
            for pair in pairs(block.clone()) {
                for (parity, image) in pair.into_iter().enumerate() {
                    if let Some(image) = image {
                        let sum = &mut sums[row % 4][parity];
                        *sum = next(image, pixel, *sum);
                    }
                }
                row += 1;
            }
        }
        let parity = |i: usize| (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]);
        parity(0) + parity(1)
    };
    tree(blocks(maps.images).map(of_block).collect())
}
