//! What can be known of CUDA graphs without a GPU. That replayed steps read and write the right
//! tensors, and what happens where recording is refused, is shown in `src/torch/replay.rs`; that
//! the bits are those of plain steps, by `bgm doctor` on a GPU (docs/gpu-box.md).
#![cfg(feature = "torch")]

mod common;

use common::repository;
use memchr::memmem;

/// The shim finds functions of `at::cuda` by name when a GPU is there. Another
/// libtorch with other names must be seen here and not on somebody's GPU.
#[test]
fn libtorch_has_the_names_that_the_shim_asks_for() {
    let library = repository().join(".libtorch/lib/libtorch_cuda.so");
    let Ok(content) = std::fs::read(&library) else {
        eprintln!("{}: a libtorch without its CUDA half", library.display());
        return;
    };
    let shim = std::fs::read_to_string(repository().join("src/torch/shim.cpp")).unwrap();
    let names: Vec<&str> = shim.split('"').filter(|text| text.starts_with("_ZN2at4cuda")).collect();
    assert_eq!(names.len(), 6);
    for name in names {
        // As an entry of the table of names: a zero before and after it.
        let entry = [b"\0", name.as_bytes(), b"\0"].concat();
        assert!(memmem::find(&content, &entry).is_some(), "{name} is not in libtorch_cuda.so");
    }
}
