//! The binary alone is the artifact: in an empty folder, without the repository and without an
//! environment, it has its declarations, claims, references, records and images.

mod common;

use common::text;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

/// The binary in a folder of its own, and an empty folder to work in.
struct Alone {
    folder: tempfile::TempDir,
}

impl Alone {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A link: a copy that another test's process still has open cannot be started.
        symlink(env!("CARGO_BIN_EXE_bgm"), folder.path().join("bgm")).unwrap();
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        Alone { folder }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn bgm(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.path("bgm"));
        command.current_dir(self.path("empty")).env_clear().env("HOME", self.path("home"));
        command.args(["--device", "cpu"]).args(arguments).output().expect("bgm starts")
    }
}

#[test]
fn it_shows_the_blessed_runs() {
    let alone = Alone::new();
    let output = alone.bgm(&["--profile", "quick", "report"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report = std::fs::read_to_string(alone.path("empty/reproduction/report.html")).unwrap();
    assert!(report.contains("fig1_toy"), "the figures are there");
    assert!(!alone.path("empty/paper_tables").exists(), "it writes what it was asked for alone");
    assert!(alone.path("home/.cache/bgm").is_dir());
}

#[test]
fn it_checks_the_images_inside() {
    let checked = Alone::new().bgm(&["data", "check", "fashion-mnist-subset"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    assert!(text(&checked.stdout).contains("fashion-mnist-subset: every hash matches"));
}

#[test]
fn it_gives_the_blessed_bits() {
    let alone = Alone::new();
    let only = ["--profile", "smoke", "--only", "table1_accuracy", "--seeds", "1"];
    let output = alone.bgm(&[&only[..], &["reproduce"]].concat());
    // One seed decides no claim.
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let output = alone.bgm(&[&only[..], &["verify", "--format", "json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let numbers = json["regression"].as_array().unwrap();
    assert!(numbers.len() >= 8, "{numbers:?}");
    assert!(numbers.iter().all(|number| number["status"] == "exact"), "{numbers:?}");
}

#[test]
fn folders_that_are_there_or_given_come_first() {
    let alone = Alone::new();
    std::fs::create_dir_all(alone.path("empty/paper_tables/profiles")).unwrap();
    let output = alone.bgm(&["--profile", "smoke", "plan"]);
    assert_eq!(output.status.code(), Some(2), "an empty checkout is not overridden");
    let output = alone.bgm(&["--tables", "mistyped", "--profile", "smoke", "plan"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("mistyped"), "{}", text(&output.stderr));
    let output = alone.bgm(&["--profile", "smoke", "bless", "--reason", "r", "--write"]);
    assert_eq!(output.status.code(), Some(2), "nothing to write to");
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let alone = Alone::new();
    std::fs::write(alone.path("home"), "a file").unwrap();
    let output = alone.bgm(&["--profile", "smoke", "plan"]);
    assert_eq!(output.status.code(), Some(4));
    let said = text(&output.stderr);
    assert!(said.contains("XDG_CACHE_HOME") && said.contains(".cache"), "{said}");
    assert!(Path::new(&alone.path("home")).is_file());
}
