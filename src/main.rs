//! The binary: the library, and the files of the repository that it works with.

use bad_global_minima::cli;
use bad_global_minima::embedded::{Embedded, EmbeddedFile};
use include_dir::{Dir, include_dir};
use std::process::ExitCode;

/// Folders that are compiled in, by their names in the repository.
static FOLDERS: [(&str, Dir<'_>); 4] = [
    ("paper_tables", include_dir!("$CARGO_MANIFEST_DIR/paper_tables")),
    ("expected", include_dir!("$CARGO_MANIFEST_DIR/expected")),
    ("data/fashion-mnist-pool", include_dir!("$CARGO_MANIFEST_DIR/data/fashion-mnist-pool")),
    ("data/fashion-mnist-subset", include_dir!("$CARGO_MANIFEST_DIR/data/fashion-mnist-subset")),
];

/// Whether the files are left out (`BGM_BARE`): scripts/gpu-kit.sh carries them beside the program.
const BARE: bool = option_env!("BGM_BARE").is_some();

fn collect(root: &str, dir: &Dir<'static>, files: &mut Vec<EmbeddedFile>) {
    for file in dir.files() {
        let path = format!("{root}/{}", file.path().display());
        files.push(EmbeddedFile { path: path.leak(), bytes: file.contents() });
    }
    for inner in dir.dirs() {
        collect(root, inner, files);
    }
}

fn main() -> ExitCode {
    if BARE {
        return ExitCode::from(cli::main(Embedded::default()));
    }
    let mut files = Vec::new();
    for (root, dir) in &FOLDERS {
        collect(root, dir, &mut files);
    }
    let protocol = include_bytes!("../docs/protocol.md");
    files.push(EmbeddedFile { path: "docs/protocol.md", bytes: protocol });
    ExitCode::from(cli::main(Embedded(files.leak())))
}
