//! Reproducibility artifact and verification harness for "Bad Global Minima Exist and SGD
//! Can Reach Them" (Liu, Papailiopoulos, Achlioptas; NeurIPS 2020).
//!
//! Data flow: `spec -> key -> (stored? | train -> measure -> store) -> aggregate
//! over seeds -> table / figure -> compare with expected and published -> verdicts ->
//! report`. Modules are floors; each imports only what is listed after it: `cli`, `report`,
//! `verify`, `schedule`, `store`, `experiments`, `measure`, `train`, `torch`, `engine`, `data`,
//! `backend`, `models`, `spec`, `augment`, `corrupt`, `image_shape`, `embedded`, `disk`, `rng`,
//! `planted`, `digest`. No files import each other in a circle (`tests/structure.rs`).
// They panic where a stream is closed or a disk full: `cli::terminal` writes instead.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod augment;
pub mod backend;
pub mod cli;
pub mod corrupt;
pub mod data;
mod digest;
pub mod disk;
pub mod embedded;
pub mod engine;
pub mod experiments;
pub mod image_shape;
pub mod measure;
pub mod models;
pub mod planted;
pub mod report;
pub mod rng;
pub mod schedule;
pub mod spec;
pub mod store;
#[cfg(feature = "torch")]
pub mod torch;
pub mod train;
pub mod verify;
