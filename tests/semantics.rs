//! The guard of `TRAINING_SEMANTICS` that holds on every machine: whoever changes a line that
//! decides what a run computes must say whether its meaning changed. Two nets: the code
//! itself, without comments and layout, and the numbers of a few short runs.

mod common;

use bad_global_minima::data::Catalog;
use bad_global_minima::models::weights;
use bad_global_minima::spec::{RunSpec, TRAINING_SEMANTICS};
use bad_global_minima::train::{self, Inputs, Unobserved};
use common::{guarded, repository, short_runs};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Files and folders whose code decides what a run computes.
const CODE: [&str; 17] = [
    "src/augment.rs",
    "src/corrupt.rs",
    "src/data/idx.rs",
    "src/data/mod.rs",
    "src/data/normalize.rs",
    "src/data/pixels.rs",
    "src/data/prepared",
    "src/data/prepared.rs",
    "src/data/records.rs",
    "src/data/subset.rs",
    "src/data/toy.rs",
    "src/digest.rs",
    "src/engine",
    "src/image_shape.rs",
    "src/models",
    "src/rng.rs",
    "src/train",
];

const LOCK: &str = "tests/semantics.lock";

const WHAT_TO_DO: &str = "\
If what a run computes has changed, raise TRAINING_SEMANTICS in src/spec/mod.rs: stored runs of
the old meaning are then never used for the new one. If it has not (a name, a message, a
measurement), leave it. Either way write the new state down with
    BGM_ACCEPT=1 cargo test --release --test semantics
and say in the commit which of the two it was.";

/// Rust code without comments, layout, trailing commas and its `#[cfg(test)]` module.
fn bare(code: &str) -> String {
    let characters: Vec<char> = code.chars().collect();
    let at = |i: usize| characters.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::new();
    let (mut i, mut space) = (0, false);
    while i < characters.len() {
        let c = at(i);
        if c == '/' && at(i + 1) == '/' {
            while i < characters.len() && at(i) != '\n' {
                i += 1;
            }
            continue;
        }
        if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(i), at(i + 1)) {
                    ('/', '*') => depth += 1,
                    ('*', '/') => depth -= 1,
                    _ => {
                        i += 1;
                        continue;
                    }
                }
                i += 2;
                if depth == 0 {
                    break;
                }
            }
            space = true;
            continue;
        }
        if c.is_whitespace() {
            space = true;
            i += 1;
            continue;
        }
        // Between two words the space is part of the code.
        if space && is_word(c) && out.ends_with(is_word) {
            out.push(' ');
        }
        space = false;
        if matches!(c, ')' | ']' | '}') && out.ends_with(',') {
            out.pop();
        }
        let is_character = c == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'');
        if c != '"' && !is_character {
            out.push(c);
            i += 1;
            continue;
        }
        // A literal, to its end.
        out.push(c);
        i += 1;
        while i < characters.len() {
            let next = at(i);
            out.push(next);
            i += 1;
            if next == '\\' {
                out.push(at(i));
                i += 1;
            } else if next == c {
                break;
            }
        }
    }
    match out.find("#[cfg(test)]mod tests") {
        Some(tests) => out[..tests].to_owned(),
        None => out,
    }
}

fn files(path: &Path) -> Vec<std::path::PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.flat_map(|entry| files(&entry)).collect();
    found.sort();
    found
}

fn code() -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    for path in CODE.iter().flat_map(|path| files(&repository().join(path))) {
        let code = bare(&std::fs::read_to_string(&path).unwrap());
        let hash: String =
            Sha256::digest(code).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let name = path.strip_prefix(repository()).unwrap().display().to_string();
        hashes.insert(name, hash);
    }
    hashes
}

/// Numbers of the short runs.
fn numbers() -> BTreeMap<String, f64> {
    let catalog = Catalog::new(repository().join("data"));
    let device = common::cpu();
    let train = |spec: &RunSpec, parent: Option<&weights::NamedTensors>| {
        let inputs = Inputs { catalog: &catalog, device: &device, parent, resume: None, key: "" };
        train::train(spec, &inputs, &mut Unobserved).unwrap()
    };
    let mut numbers = BTreeMap::new();
    for (name, spec) in short_runs() {
        let parent = spec.parent().map(|parent| train(parent, None).weights());
        let metrics = train(&spec, parent.as_ref()).metrics;
        numbers.extend(guarded(name, &spec, &metrics));
    }
    numbers
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Lock {
    semantics: u32,
    code: BTreeMap<String, String>,
    numbers: BTreeMap<String, f64>,
}

#[test]
fn a_change_of_training_code_or_of_its_numbers_is_declared() {
    let now = Lock { semantics: TRAINING_SEMANTICS, code: code(), numbers: numbers() };
    let path = repository().join(LOCK);
    if std::env::var_os("BGM_ACCEPT").is_some() {
        std::fs::write(&path, toml::to_string(&now).unwrap()).unwrap();
    }
    let then: Lock = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut changes = Vec::new();
    if now.semantics != then.semantics {
        changes.push(format!("TRAINING_SEMANTICS: {} -> {}", then.semantics, now.semantics));
    }
    let names: std::collections::BTreeSet<_> = now.code.keys().chain(then.code.keys()).collect();
    for name in names {
        if now.code.get(name) != then.code.get(name) {
            changes.push(format!("{name}: its code has changed"));
        }
    }
    let names: std::collections::BTreeSet<_> =
        now.numbers.keys().chain(then.numbers.keys()).collect();
    for name in names {
        match (then.numbers.get(name), now.numbers.get(name)) {
            (Some(&before), Some(&after)) if common::alike(before, after) => {}
            (before, after) => changes.push(format!("{name}: {before:?} -> {after:?}")),
        }
    }
    assert!(
        changes.is_empty(),
        "since {LOCK} was written:\n  {}\n{WHAT_TO_DO}",
        changes.join("\n  ")
    );
}

#[test]
fn comments_layout_and_tests_are_no_change_and_anything_else_is() {
    let code = "fn f(x: f64) -> f64 {\n    g(x, 0.9)\n}\n";
    let same = "/// What it does.\nfn f(\n    x: f64, /* in /* deep */ */\n) -> f64 {\n    // why\n    g(x, 0.9,)\n}\n#[cfg(test)]\nmod tests { fn t() {} }\n";
    assert_eq!(bare(code), bare(same));
    for other in [
        "fn f(x: f64) -> f64 {\n    g(x, 0.8)\n}\n",
        "fn f(x: f64) -> f64 {\n    g(0.9, x)\n}\n",
        "fn f(x: f64) -> f64 {\n    -g(x, 0.9)\n}\n",
    ] {
        assert_ne!(bare(code), bare(other));
    }
    assert_ne!(bare("a(\"x // y\")"), bare("a(\"x // z\")"), "a string is no comment");
    assert_eq!(bare("let a: &'s str = b'\\'';"), "let a:&'s str=b'\\'';");
}
