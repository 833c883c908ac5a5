//! Memory of the engine, and where a tensor of the network (a "value") lies in it.

/// Images of a block: the unit of every sum over images.
pub const BLOCK: usize = 32;
/// Channels of a group: a row holds a group of a pair of images.
pub const GROUP: usize = 8;
/// Numbers of a row, `[channel % 8][image % 2]`.
pub const ROW: usize = 16;

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Row([f32; ROW]);

/// Numbers on a cache line's boundary, a multiple of [`ROW`] of them.
pub struct Arena(Vec<Row>);

impl Arena {
    /// Zeros.
    pub fn new(len: usize) -> Arena {
        Arena(vec![Row([0.0; ROW]); len.div_ceil(ROW)])
    }

    /// Makes room for `len` numbers. If it has to grow, all numbers become zero.
    pub fn reserve(&mut self, len: usize) {
        if self.values().len() < len {
            // Freed first: the old and the new need not fit into memory together.
            self.0 = Vec::new();
            *self = Arena::new(len);
        }
    }

    #[inline]
    pub fn values(&self) -> &[f32] {
        // SAFETY: a `Row` is sixteen initialized numbers, 64 bytes at an alignment of 64, so rows lie
        // next to each other; the slice borrows `self`.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * ROW) }
    }

    #[inline]
    pub fn values_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above; the slice borrows `self` exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * ROW) }
    }
}

/// The images of a batch in blocks of [`BLOCK`], and each block in pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Images(pub usize);

impl Images {
    #[inline]
    pub fn count(self) -> usize {
        self.0
    }

    #[inline]
    pub fn blocks(self) -> usize {
        self.0.div_ceil(BLOCK)
    }

    /// Pairs of all blocks.
    #[inline]
    pub fn pairs(self) -> usize {
        self.0.div_ceil(2)
    }

    /// Pairs of a block, which must be below [`Images::blocks`].
    #[inline(always)]
    pub fn pairs_of(self, block: usize) -> usize {
        (self.0 - block * BLOCK).min(BLOCK).div_ceil(2)
    }

    /// Whether the last pair has one image only.
    #[inline]
    pub fn odd(self) -> bool {
        self.0 % 2 == 1
    }
}

/// Where a value, all images of a batch, lies: `[block][channel / 8][pixel][pair][channel % 8][image % 2]`. Channels
/// that fill up the last group are zero, and so is the image that an odd batch lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of its first number, a multiple of [`ROW`].
    pub at: usize,
    pub channels: usize,
    pub pixels: usize,
}

impl Place {
    #[inline]
    pub fn groups(self) -> usize {
        self.channels.div_ceil(GROUP)
    }

    /// Whether two places share a number.
    pub fn meets(self, other: Place, images: Images) -> bool {
        self.at < other.at + other.len(images) && other.at < self.at + self.len(images)
    }

    /// Length in numbers, those that only fill up included.
    #[inline]
    pub fn len(self, images: Images) -> usize {
        self.groups() * self.pixels * images.pairs() * ROW
    }

    /// Position in the arena of one number.
    #[inline]
    pub fn index(self, images: Images, image: usize, channel: usize, pixel: usize) -> usize {
        let (block, within) = (image / BLOCK, image % BLOCK);
        let pairs = images.pairs_of(block);
        let before = block * self.groups() * (BLOCK / 2) + channel / GROUP * pairs;
        let rows = before * self.pixels + pixel * pairs + within / 2;
        self.at + rows * ROW + channel % GROUP * 2 + within % 2
    }
}
