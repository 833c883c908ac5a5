//! One function a parser of `bgm`, for the fuzz targets and `tests/fuzz_seeds.rs`.

use bad_global_minima as parsers;

pub mod targets;
