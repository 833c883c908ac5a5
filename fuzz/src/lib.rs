//! The parsers of `bgm`, compiled without libtorch from the same files, so that fuzzing
//! builds in a minute and needs no set-up.
#![allow(dead_code)]

#[path = "../../src/augment.rs"]
pub mod augment;
pub mod backend;
#[path = "../../src/corrupt.rs"]
pub mod corrupt;
#[path = "../../src/data/mod.rs"]
pub mod data;
pub mod experiments;
pub mod models;
#[path = "../../src/planted.rs"]
pub mod planted;
#[path = "../../src/rng.rs"]
pub mod rng;
#[path = "../../src/spec/mod.rs"]
pub mod spec;
pub mod store;
pub mod targets;
pub mod train;

use crate as parsers;
