//! Partial sums of blocks of images added as a tree: neighbours, then neighbours of those, an
//! odd last one passed on.

use std::mem::MaybeUninit;

/// Levels of the tree: enough for 2^15 blocks, a million images.
const LEVELS: usize = 16;

/// Sums of up to `N` numbers, block after block.
pub struct Tree<const N: usize> {
    len: usize,
    /// Finished subtrees, the largest first; each `N` numbers.
    waiting: [MaybeUninit<[f32; N]>; LEVELS],
    depth: usize,
    blocks: usize,
}

impl<const N: usize> Tree<N> {
    #[inline(always)]
    pub fn new() -> Self {
        Tree { len: 0, waiting: [const { MaybeUninit::uninit() }; LEVELS], depth: 0, blocks: 0 }
    }

    /// Begins sums of `len` numbers a block.
    #[inline(always)]
    pub fn start(&mut self, len: usize) {
        (self.len, self.depth, self.blocks) = (len, 0, 0);
    }

    /// Where the sums of the next block are to be written before [`Tree::merge_all`].
    #[inline(always)]
    pub fn next(&mut self) -> &mut [f32; N] {
        self.waiting[self.depth].write([0.0; N])
    }

    /// Takes in the sums that were written.
    #[inline(always)]
    pub fn merge_all(&mut self) {
        self.depth += 1;
        self.blocks += 1;
        for _ in 0..self.blocks.trailing_zeros() {
            self.merge();
        }
    }

    /// The sum of all blocks, of which there was one.
    #[inline(always)]
    pub fn total(&mut self) -> &[f32; N] {
        assert!(self.depth > 0, "a sum of no blocks");
        while self.depth > 1 {
            self.merge();
        }
        // SAFETY: the first block was written here.
        unsafe { self.waiting[0].assume_init_ref() }
    }

    #[inline(always)]
    fn merge(&mut self) {
        self.depth -= 1;
        let (left, right) = self.waiting.split_at_mut(self.depth);
        // SAFETY: both are below `depth` as it was, and were written.
        let (left, right) =
            unsafe { (left[self.depth - 1].assume_init_mut(), right[0].assume_init_ref()) };
        for (left, right) in left[..self.len].iter_mut().zip(right) {
            *left += right;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the definition says it.
    fn by_levels(mut sums: Vec<f32>) -> f32 {
        while sums.len() > 1 {
            sums =
                sums.chunks(2).map(|two| if let [a, b] = two { a + b } else { two[0] }).collect();
        }
        sums[0]
    }

    #[test]
    fn block_by_block_is_level_by_level() {
        for blocks in 1..40 {
            let sums: Vec<f32> = (0..blocks).map(|b| 1.0 / (3.0 + b as f32)).collect();
            let mut tree = Tree::<2>::new();
            tree.start(1);
            for &sum in &sums {
                tree.next()[0] = sum;
                tree.merge_all();
            }
            assert_eq!(tree.total()[0].to_bits(), by_levels(sums).to_bits(), "{blocks} blocks");
        }
    }
}
