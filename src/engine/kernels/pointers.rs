//! Pointers that kernels on several threads share: each writes another part.

use super::arena::{Arena, BLOCK, GROUP, Images, Place, ROW};
use super::pointwise::Eight;

/// An arena's numbers, to be read and written through pointers that are checked once.
pub struct Base<'a> {
    arena: &'a mut [f32],
}

impl<'a> Base<'a> {
    pub fn new(arena: &'a mut Arena) -> Self {
        Base { arena: arena.values_mut() }
    }

    /// Pointer to `len` numbers from `at` on, good for as long as this is.
    ///
    /// # Panics
    /// If they are not all inside: a mistake in a plan.
    pub fn part(&mut self, at: usize, len: usize) -> Shared {
        let inside = at <= self.arena.len() && len <= self.arena.len() - at;
        assert!(inside, "a place outside of the arena");
        // SAFETY: inside, as has just been checked.
        Shared(unsafe { self.arena.as_mut_ptr().add(at) })
    }

    /// The numbers of a value.
    ///
    /// # Panics
    /// As above.
    pub fn value(&mut self, place: Place, images: Images) -> Values {
        assert_eq!(place.at % ROW, 0, "a value begins at a row");
        let Shared(base) = self.part(place.at, place.len(images));
        Values { base, images, groups: place.groups(), pixels: place.pixels }
    }
}

/// Pointer to `len` numbers that are only read.
pub fn read(arena: &Arena, at: usize, len: usize) -> Shared {
    Shared(arena.values()[at..at + len].as_ptr().cast_mut())
}

/// The numbers of one value.
#[derive(Clone, Copy)]
pub struct Values {
    base: *mut f32,
    pub images: Images,
    pub groups: usize,
    pub pixels: usize,
}

impl Values {
    /// First number of a group of channels in a block of images.
    ///
    /// # Safety
    /// Block and group exist.
    #[inline(always)]
    pub unsafe fn group(&self, block: usize, group: usize) -> *mut f32 {
        let rows = block * self.groups * (BLOCK / 2) + group * self.images.pairs_of(block);
        self.base.add(rows * self.pixels * ROW)
    }

    /// Numbers of a group of channels in a block of images.
    #[inline(always)]
    pub fn len(&self, block: usize) -> usize {
        self.pixels * self.images.pairs_of(block) * ROW
    }
}

impl Values {
    /// Sets the image that an odd batch lacks, in one group of channels.
    ///
    /// # Safety
    /// The group exists, and nobody else uses it.
    pub unsafe fn pad(&self, group: usize, value: &Eight) {
        if !self.images.odd() {
            return;
        }
        let block = self.images.blocks() - 1;
        let pairs = self.images.pairs_of(block);
        let first = self.group(block, group);
        for pixel in 1..=self.pixels {
            let row = first.add((pixel * pairs - 1) * ROW);
            for channel in 0..GROUP {
                *row.add(2 * channel + 1) = value[channel];
            }
        }
    }
}

/// A pointer that may be used on any thread.
#[derive(Clone, Copy)]
pub struct Shared(pub *mut f32);

// SAFETY: kernels that run side by side write disjoint parts; see where they are started.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Values {}
// SAFETY: as above.
unsafe impl Sync for Values {}
