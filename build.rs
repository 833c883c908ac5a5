//! With the feature `torch`: compiles the small C++ file that reaches what tch does not wrap, and
//! sets an rpath, so that the binaries run without LD_LIBRARY_PATH. Where there is another copy of
//! the same libtorch, LD_LIBRARY_PATH names it. Without the feature there is nothing to do.

fn main() {
    println!("cargo:rerun-if-changed=src/torch/shim.cpp");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    #[cfg(feature = "torch")]
    torch::build();
}

#[cfg(feature = "torch")]
mod torch {
    use std::env;
    use std::path::{Path, PathBuf};

    pub fn build() {
        let libtorch = env::var("LIBTORCH").map(PathBuf::from).unwrap_or_default();
        let header = libtorch.join("include/ATen/Context.h");
        if !header.exists() {
            println!(
                "cargo:warning=libtorch not found at '{}': run `make setup` first",
                libtorch.display()
            );
            std::process::exit(1);
        }
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .warnings(false)
            .define("_GLIBCXX_USE_CXX11_ABI", "1")
            .opt_level(1)
            .debug(false)
            .include(libtorch.join("include"))
            .include(libtorch.join("include/torch/csrc/api/include"))
            .file("src/torch/shim.cpp")
            .compile("bgm_shim");
        link(&libtorch);
    }

    /// Runtime search path of every binary, test and bench of this package. Libtorch is found
    /// where the build found it; in `.libtorch` of the repository that the binary lies in
    /// (`target/release` and `target/release/deps`), which may have been moved; and in `libtorch`
    /// beside a binary that was carried elsewhere. LD_LIBRARY_PATH comes before all of these.
    fn link(libtorch: &Path) {
        let relative = [
            "$ORIGIN/../../.libtorch/lib",
            "$ORIGIN/../../../.libtorch/lib",
            "$ORIGIN/libtorch/lib",
        ];
        let built = libtorch.join("lib");
        let places = relative.iter().map(Path::new).chain([built.as_path()]);
        for place in places {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", place.display());
        }
    }
}
