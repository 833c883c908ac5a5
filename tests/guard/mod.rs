//! An allocator that ends (or begins) every allocation at a page that nobody may touch: one
//! number too far ends the process. Freed memory may not be touched either.
//!
//! The only `unsafe` code of the tests: an allocator cannot be written without.
#![allow(unsafe_code)]

use libc::{
    MADV_DONTNEED, MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_PRIVATE, PROT_NONE, PROT_READ,
    PROT_WRITE, madvise, mmap, mprotect,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};

const PAGE: usize = 4096;
/// Addresses to spend: none is given out twice. Memory is only what is alive.
const REGION: usize = 1 << 36;
/// Shorter allocations hold no numbers of a network.
const SHORTEST: usize = 16;

/// Which end of an allocation lies at the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    First = 1,
    Last = 2,
}

/// The system's allocator until [`Guard::arm`].
pub struct Guard {
    /// An [`End`], or 0.
    armed: AtomicU8,
    first: AtomicUsize,
    next: AtomicUsize,
}

impl Guard {
    pub const fn new() -> Guard {
        Guard { armed: AtomicU8::new(0), first: AtomicUsize::new(0), next: AtomicUsize::new(0) }
    }

    /// From here on allocations of this process end at a guard. Once only.
    pub fn arm(&self, end: End) {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        // SAFETY: new addresses, chosen by the system.
        let region = unsafe { mmap(null_mut(), REGION, PROT_NONE, flags, -1, 0) };
        assert!(region != MAP_FAILED, "64 GiB of addresses");
        let region = region as usize;
        self.first.store(region, SeqCst);
        self.next.store(region + PAGE, SeqCst);
        self.armed.store(end as u8, SeqCst);
    }

    fn owns(&self, at: usize) -> bool {
        let first = self.first.load(SeqCst);
        first != 0 && (first..first + REGION).contains(&at)
    }
}

/// Bytes of the pages that an allocation takes.
fn pages(size: usize) -> usize {
    size.next_multiple_of(PAGE)
}

// SAFETY: pages of the region are given out once, page by page; everything else is the system's.
unsafe impl GlobalAlloc for Guard {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (armed, size) = (self.armed.load(SeqCst), layout.size());
        if armed == 0 || size < SHORTEST || layout.align() > PAGE {
            // SAFETY: as the caller promises.
            return unsafe { System.alloc(layout) };
        }
        let at = self.next.fetch_add(pages(size) + PAGE, SeqCst);
        if at + pages(size) + PAGE > self.first.load(SeqCst) + REGION {
            return null_mut();
        }
        // SAFETY: these pages are nobody else's.
        let opened = unsafe { mprotect(at as *mut _, pages(size), PROT_READ | PROT_WRITE) };
        if opened != 0 {
            return null_mut();
        }
        let slack = (pages(size) - size) / layout.align() * layout.align();
        (if armed == End::First as u8 { at } else { at + slack }) as *mut u8
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let at = pointer as usize;
        if !self.owns(at) {
            // SAFETY: the system gave it.
            return unsafe { System.dealloc(pointer, layout) };
        }
        let (first, size) = (at / PAGE * PAGE, pages(layout.size()));
        // SAFETY: the pages that `alloc` opened; closing them cannot fail in a way that matters.
        unsafe {
            madvise(first as *mut _, size, MADV_DONTNEED);
            mprotect(first as *mut _, size, PROT_NONE);
        }
    }
}

/// Reads the number after the last one of a list, or the one before its first.
pub fn read_outside(list: &[f32], end: End) -> f32 {
    let pointer = list.as_ptr();
    let outside = match end {
        End::First => pointer.wrapping_sub(1),
        End::Last => pointer.wrapping_add(list.len()),
    };
    // SAFETY: none; the guard ends the process here, which is what its test wants to see.
    unsafe { outside.read_volatile() }
}
