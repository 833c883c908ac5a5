//! The arithmetic: kernels for each set of instructions, and functions that check where their
//! operands lie before they hand pointers to a kernel. The only room of the engine with
//! `unsafe` code.
//!
//! Every number is one chain of operations in the order of `docs/numerics.md`. The width of a
//! vector, the shape of a tile and the threads only choose which chains run side by side.
#![allow(unsafe_code)]
// Kernels are unsafe from end to end; `# Safety` stands where the conditions are checked.
#![allow(unsafe_op_in_unsafe_fn)]
// Loops over registers read better with indices.
#![allow(clippy::needless_range_loop)]

mod arena;
mod convolution;
mod geometry;
mod movement;
mod normalize;
mod normalize_back;
mod pointers;
mod pointwise;
mod pooling;
mod rows;
mod simd;
mod table;
mod team;
mod tree;
mod update;
mod vector;
mod weights;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use arena::{Arena, BLOCK, GROUP, Images, Place, ROW};
pub use convolution::{Layer, Weighted};
pub use geometry::{Geometry, Window};
pub use movement::{Kept, Pooled, Target};
pub use normalize::{BATCH_NORM_EPS, Blend, ForwardTerm, Moments, NormForward, Source};
pub use normalize_back::{BackTerm, BlendBack, NormBack};
pub use pointwise::Eight;
pub use pooling::Pooling;
pub use simd::{Simd, SimdError};
pub use table::Table;
pub use team::Team;
pub use update::Rule;
pub use vector::ORDER;

/// Kernels and the threads that run them.
#[derive(Clone, Copy)]
pub struct Machine<'a> {
    pub table: &'a Table,
    pub team: &'a Team,
}
