//! The recipes of docs/extend.md, followed to the letter. That for an experiment is followed by
//! `tests/new_experiment.rs`, that for a data set by `tests/data_import.rs`.

mod common;

use common::{Workplace, code_blocks, copy_folder, repository, text};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn a_claim_is_judged_on_the_blessed_values() {
    let place = Workplace::new();
    let expected = place.path("expected");
    copy_folder(&repository().join("expected"), &expected);
    let claims = expected.join("claims.toml");
    let added = &code_blocks("extend.md", "toml")[2];
    assert!(added.starts_with("[[claim]]"), "{added}");
    let before = fs::read_to_string(&claims).unwrap();
    fs::write(&claims, format!("{before}\n{added}")).unwrap();
    let output = place.bgm(&[
        "--profile",
        "quick",
        "--expected",
        expected.to_str().unwrap(),
        "bless",
        "--verdicts-only",
        "--reason",
        "one claim more",
        "--write",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let reference = fs::read_to_string(expected.join("quick.toml")).unwrap();
    assert!(reference.contains("[verdicts.E1]"));
}

/// Puts the `+` lines of each hunk behind its other lines, which are in the file once.
fn apply(root: &Path, changes: &str) {
    for hunk in changes.split("--- ").skip(1) {
        let (name, lines) = hunk.split_once('\n').unwrap();
        let (added, kept): (Vec<&str>, Vec<&str>) =
            lines.lines().partition(|line| line.starts_with('+'));
        let joined = |lines: &[&str]| lines.iter().map(|l| format!("{}\n", &l[1..])).collect();
        let (anchor, added): (String, String) = (joined(&kept), joined(&added));
        let file = root.join(name.trim());
        let before = fs::read_to_string(&file).unwrap();
        assert_eq!(before.matches(&anchor).count(), 1, "{name}: {anchor}");
        fs::write(file, before.replace(&anchor, &format!("{anchor}{added}"))).unwrap();
    }
}

/// A network and a measurement in a copy of the repository, built and run.
#[test]
#[ignore = "builds the program: make test-long"]
fn a_network_and_a_measurement_are_what_the_recipes_say() {
    let place = Workplace::new();
    let root = place.path("copy");
    fs::create_dir(&root).unwrap();
    let data = ["data/fashion-mnist-pool", "data/fashion-mnist-subset"];
    for folder in ["src", "benches", "paper_tables", "expected", "docs", "templates", "assets"]
        .iter()
        .chain(&data)
    {
        copy_folder(&repository().join(folder), &root.join(folder));
    }
    for file in ["Cargo.toml", "Cargo.lock", "build.rs"] {
        fs::copy(repository().join(file), root.join(file)).unwrap();
    }
    let code = code_blocks("extend.md", "rust");
    fs::write(root.join("src/models/arch/small.rs"), &code[0]).unwrap();
    fs::write(root.join("src/measure/weight_length.rs"), &code[1]).unwrap();
    for changes in code_blocks("extend.md", "diff") {
        apply(&root, &changes);
    }
    let experiment = code_blocks("extend.md", "toml").pop().unwrap();
    fs::write(root.join("paper_tables/small_network.toml"), experiment).unwrap();
    let built = Command::new("cargo")
        .current_dir(&root)
        .args(["build", "--release", "--quiet", "--bin", "bgm"])
        .env("CARGO_TARGET_DIR", repository().join("target/recipes"))
        .status();
    assert!(built.unwrap().success());
    let output = Command::new(repository().join("target/recipes/release/bgm"))
        .current_dir(&root)
        .args(["--profile", "smoke", "--only", "small_network", "--seeds", "1", "reproduce"])
        .output()
        .unwrap();
    // Not blessed yet, so not complete.
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let table = root.join("reproduction/tables/small_network.csv");
    let mut table = csv::Reader::from_path(table).unwrap();
    let rows: Vec<BTreeMap<String, String>> =
        table.deserialize().collect::<Result<_, _>>().unwrap();
    let row = rows.iter().find(|row| row["metric"] == "weights.length").unwrap();
    let length: f64 = row["mean"].parse().unwrap();
    assert!(length > 1.0, "{row:?}");
}
