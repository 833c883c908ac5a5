//! With the feature `torch`: compiles the small C++ file that reaches what tch does not wrap, and
//! sets an rpath, so that the binaries run without LD_LIBRARY_PATH. Where there is another copy of
//! the same libtorch, LD_LIBRARY_PATH names it.
//!
//! Embeds the commit that the program is built from, so that a run records the program's own
//! commit wherever the program is called, and the commit of docs/protocol.md for references.
//! BGM_COMMIT, BGM_COMMIT_DATE and BGM_PROTOCOL_COMMIT give them where there is no git: in an
//! archive of the sources, say.

/// What the program is made of. Whether it differs from the commit is embedded too. Declarations,
/// references and images are not in this list, although the program has a copy of them: what they
/// are is in the keys and hashes of runs.
const SOURCES: [&str; 6] = ["src", "Cargo.toml", "Cargo.lock", "build.rs", "templates", "assets"];

fn main() {
    for path in SOURCES {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    commit::embed();
    #[cfg(feature = "torch")]
    torch::build();
}

mod commit {
    use std::process::Command;

    pub fn embed() {
        println!("cargo:rerun-if-env-changed=BGM_COMMIT");
        println!("cargo:rerun-if-env-changed=BGM_COMMIT_DATE");
        // Moves with every commit and checkout, in a linked working tree too.
        if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
            println!("cargo:rerun-if-changed={log}");
        }
        let given = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let head = head();
        let its_date = head.as_ref().and_then(|_| git(&["show", "-s", "--format=%cs", "HEAD"]));
        let its_protocol = head.as_ref().and_then(|_| protocol());
        let commit = given("BGM_COMMIT").or(head).unwrap_or_default();
        let date = given("BGM_COMMIT_DATE").or(its_date).unwrap_or_default();
        println!("cargo:rustc-env=BGM_COMMIT={commit}");
        println!("cargo:rustc-env=BGM_COMMIT_DATE={date}");
        println!("cargo:rerun-if-env-changed=BGM_PROTOCOL_COMMIT");
        if std::path::Path::new(PROTOCOL).exists() {
            println!("cargo:rerun-if-changed={PROTOCOL}");
        }
        let protocol = given("BGM_PROTOCOL_COMMIT").or(its_protocol).unwrap_or_default();
        println!("cargo:rustc-env=BGM_PROTOCOL_COMMIT={protocol}");
    }

    /// The commit checked out, with `+` if what the program is made of differs from it.
    fn head() -> Option<String> {
        // An archive of the sources may lie in a folder of another repository.
        let top = std::fs::canonicalize(git(&["rev-parse", "--show-toplevel"])?).ok()?;
        let here = std::fs::canonicalize(std::env::var("CARGO_MANIFEST_DIR").ok()?).ok()?;
        if top != here {
            return None;
        }
        let head = git(&["rev-parse", "HEAD"])?;
        let status = ["status", "--porcelain", "--untracked-files=no", "--"];
        let changes = git(&[&status[..], &super::SOURCES[..]].concat())?;
        Some(if changes.is_empty() { head } else { format!("{head}+") })
    }

    /// What was declared before the confirmatory runs.
    const PROTOCOL: &str = "docs/protocol.md";

    /// The last commit that touched the protocol, with `+` if it was changed since.
    fn protocol() -> Option<String> {
        let commit = git(&["log", "-1", "--format=%H", "--", PROTOCOL])?;
        let changes = git(&["status", "--porcelain", "--", PROTOCOL])?;
        let mark = if changes.is_empty() { "" } else { "+" };
        (!commit.is_empty()).then(|| format!("{commit}{mark}"))
    }

    fn git(arguments: &[&str]) -> Option<String> {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
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
        compile(&libtorch);
        link(&libtorch);
    }

    /// Compiles the shim, unless it was compiled since it was changed: libtorch's headers take a
    /// while, and this program runs whenever any source does change.
    fn compile(libtorch: &Path) {
        let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
        let (archive, stamp) = (out.join("libbgm_shim.a"), out.join("libtorch"));
        let made = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
        let current = made(&archive) > made(Path::new("src/torch/shim.cpp"))
            && std::fs::read_to_string(&stamp).is_ok_and(|text| Path::new(&text) == libtorch);
        if current {
            println!("cargo:rustc-link-lib=static=bgm_shim");
            println!("cargo:rustc-link-search=native={}", out.display());
            println!("cargo:rustc-link-lib=stdc++");
            return;
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
        // Without the stamp it is compiled again the next time, no more.
        let _ = std::fs::write(stamp, libtorch.as_os_str().as_encoded_bytes());
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
