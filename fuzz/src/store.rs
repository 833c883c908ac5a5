//! The files of a store.

#[path = "../../src/store/paths.rs"]
pub mod paths;
#[path = "../../src/store/record.rs"]
pub mod record;
