//! What the benchmarks share.
#![allow(dead_code)] // each of them uses some of it

pub mod chart;
pub mod compare;
pub mod flop;
#[cfg(feature = "torch")]
pub mod peak;
pub mod process;
pub mod rounds;
pub mod summary;
pub mod trainer;
pub mod workload;
