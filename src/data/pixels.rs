//! 8-bit values that are shared, never copied: in memory or mapped from a file.

use memmap2::Mmap;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A run of 8-bit values. Cloning and slicing cost nothing, however large the file behind
/// them is; reading one touches only the pages that hold it.
#[derive(Clone)]
pub struct Pixels {
    store: Store,
    range: Range<usize>,
}

#[derive(Clone)]
enum Store {
    Memory(Arc<Vec<u8>>),
    Mapped(Arc<Mmap>),
}

impl Pixels {
    /// Values `range` of a mapped file.
    pub(super) fn mapped(map: Arc<Mmap>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= map.len());
        Pixels { store: Store::Mapped(map), range }
    }

    /// Values `range` of these, shared with them.
    ///
    /// # Panics
    /// If they do not reach that far, as slicing does.
    pub fn slice(&self, range: Range<usize>) -> Pixels {
        assert!(range.start <= range.end && range.end <= self.range.len());
        let start = self.range.start;
        Pixels { store: self.store.clone(), range: start + range.start..start + range.end }
    }

    /// Whether the values lie in a file instead of in memory.
    pub fn is_mapped(&self) -> bool {
        matches!(self.store, Store::Mapped(_))
    }
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.store {
            Store::Memory(values) => &values[self.range.clone()],
            Store::Mapped(map) => &map[self.range.clone()],
        }
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(values: Vec<u8>) -> Self {
        let range = 0..values.len();
        Pixels { store: Store::Memory(Arc::new(values)), range }
    }
}

impl PartialEq for Pixels {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl std::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.is_mapped() { "mapped" } else { "in memory" };
        write!(f, "{} values {place}", self.range.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_slices_share_their_values() {
        let all = Pixels::from(vec![0, 1, 2, 3, 4, 5]);
        let part = all.slice(1..5).slice(1..3);
        assert_eq!(part[..], [2, 3]);
        assert_eq!(part.as_ptr(), all[2..].as_ptr());
    }
}
