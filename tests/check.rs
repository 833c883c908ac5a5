//! `bgm check`: runs trained again and compared with what is stored, and `bgm report` from
//! records. Whatever differs, is missing or cannot be compared is named.

mod common;

use bad_global_minima::experiments::results::Measured;
use bad_global_minima::spec::Key;
use bad_global_minima::store::record::{RunManifest, json};
use bad_global_minima::store::{Store, paths};
use bad_global_minima::train::metrics::Metrics;
use common::{Workplace, copy_folder, repository, text};
use std::path::{Path, PathBuf};
use std::process::Output;

/// The tiny profile: one seed of two cells, three runs. `made` holds them; the records of them
/// lie in `expected/records/tiny.tar.gz`.
struct Tiny {
    place: Workplace,
    made: PathBuf,
}

impl Tiny {
    fn new() -> Tiny {
        let place = Workplace::new();
        let (tables, tiny) = (place.path("paper_tables"), repository().join("tests/tiny"));
        copy_folder(&repository().join("paper_tables"), &tables);
        std::fs::copy(tiny.join("tiny.toml"), tables.join("tiny.toml")).unwrap();
        std::fs::copy(tiny.join("profile.toml"), tables.join("profiles/tiny.toml")).unwrap();
        std::fs::create_dir_all(place.path("expected/records")).unwrap();
        let claims = repository().join("expected/claims.toml");
        std::fs::copy(claims, place.path("expected/claims.toml")).unwrap();
        let tiny = Tiny { made: place.path("made"), place };
        let out = tiny.place.path("reproduction");
        let made = tiny.bgm(&tiny.made, &["reproduce", "--out", out.to_str().unwrap()]);
        assert!(matches!(made.status.code(), Some(0 | 3)), "{}", text(&made.stderr));
        let records = tiny.place.path("expected/records/tiny.tar.gz");
        Store::open(&tiny.made).unwrap().export(&records, |_| true).unwrap();
        tiny
    }

    /// `bgm` with the tiny profile and a store.
    fn bgm(&self, store: &Path, arguments: &[&str]) -> Output {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bgm"));
        command.current_dir(repository()).args(["--profile", "tiny", "--device", "cpu"]);
        command.arg("--store").arg(store).arg("--tables").arg(self.place.path("paper_tables"));
        command.arg("--expected").arg(self.place.path("expected"));
        command.args(arguments).output().unwrap()
    }

    /// `bgm check` against a store: exit code, and all that was said.
    fn check(&self, store: &Path, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.bgm(store, &[&["check"], arguments].concat());
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.code(), said)
    }

    /// The run that starts from another one.
    fn child(&self) -> Key {
        let store = Store::open(&self.made).unwrap();
        let has_parent = |key: &Key| store.read(key).unwrap().spec.parent().is_some();
        store.keys().unwrap().into_iter().find(has_parent).unwrap()
    }

    /// The run that it starts from.
    fn parent(&self) -> Key {
        let store = Store::open(&self.made).unwrap();
        let parent = store.read(&self.child()).unwrap().spec.parent().unwrap().clone();
        let is_parent = |key: &Key| store.read(key).unwrap().spec == parent;
        store.keys().unwrap().into_iter().find(is_parent).unwrap()
    }

    /// A store like `made`, with one file of a run changed and all hashes made to fit.
    fn forged(&self, key: &Key, file: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> PathBuf {
        let store = self.place.path("forged");
        drop(std::fs::remove_dir_all(&store));
        copy_folder(&self.made, &store);
        let folder = paths::run(&store, key);
        let changed = change(std::fs::read(folder.join(file)).unwrap());
        std::fs::write(folder.join(file), changed).unwrap();
        let read = |name: &&str| ((*name).to_owned(), std::fs::read(folder.join(name)).unwrap());
        let files: Vec<(String, Vec<u8>)> = paths::OF_EVERY_RUN.iter().map(read).collect();
        let manifest = RunManifest::of(key, &files);
        std::fs::write(folder.join(paths::MANIFEST), json(&manifest)).unwrap();
        store
    }
}

/// Changes the last digit of the second evaluation's test loss.
fn change_a_digit(metrics: Vec<u8>) -> Vec<u8> {
    let mut metrics: Metrics = serde_json::from_slice(&metrics).unwrap();
    let loss = &mut metrics.evaluations[1].test_loss;
    *loss = f64::from_bits(loss.to_bits() ^ 1);
    json(&metrics)
}

#[test]
fn what_is_trained_again_is_equal_and_a_draw_can_be_repeated() {
    let tiny = Tiny::new();
    // Nothing in the store: the records that come with the profile stand in, and stay there.
    let empty = tiny.place.path("empty");
    let (code, said) = tiny.check(&empty, &["--sample", "2"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("equal, bit for bit (weights").count(), 2, "{said}");
    assert!(said.contains("1 measurements"), "{said}");
    assert!(Store::open(&empty).unwrap().keys().unwrap().is_empty());
    let draw = said.split("--draw ").nth(1).unwrap().split(',').next().unwrap();
    let names = |said: &str| -> Vec<String> {
        said.lines().filter(|line| line.starts_with("tiny ")).map(str::to_owned).collect()
    };
    let (_, again) = tiny.check(&empty, &["--sample", "2", "--draw", draw]);
    assert_eq!(names(&again), names(&said));
    // All that the profile needs is all that there is.
    let out = tiny.place.path("needed.tar.gz");
    let export = ["store", "export", "--needed", "--out", out.to_str().unwrap()];
    assert!(tiny.bgm(&tiny.made, &export).status.success());
    let whole = std::fs::read(tiny.place.path("expected/records/tiny.tar.gz")).unwrap();
    assert!(std::fs::read(&out).unwrap() == whole);
    // Another draw is another choice.
    let drawn = |draw: &str| names(&tiny.check(&empty, &["--sample", "1", "--draw", draw]).1);
    let first = drawn("0");
    assert!((1..9).any(|draw| drawn(&draw.to_string()) != first), "{first:?}");
    // By key and by cell, against the store itself; a scratch store of one's own is kept.
    let scratch = tiny.place.path("scratch");
    let child = tiny.child();
    let arguments = [child.short(), "--scratch", scratch.to_str().unwrap()];
    assert_eq!(tiny.check(&tiny.made, &arguments).0, Some(0));
    let (made, again) = (Store::open(&tiny.made).unwrap(), Store::open(&scratch).unwrap());
    assert_eq!(again.keys().unwrap().len(), 2, "the run and the one before it");
    let result = |store: &Store| store.read(&child).unwrap().result_hash;
    assert_eq!(result(&made), result(&again));
    let cell = ["tiny", "--cell", "start=adversarial", "--seed", "0"];
    let (code, said) = tiny.check(&tiny.made, &cell);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("tiny start=adversarial, seed 0, run "), "{said}");
    assert!(said.contains("1 of 1 trained again are equal"), "{said}");
}

#[test]
fn the_first_number_that_differs_is_named_with_both_values() {
    let tiny = Tiny::new();
    let child = tiny.child();
    let made = Store::open(&tiny.made).unwrap().read(&child).unwrap();
    let before = made.metrics.evaluations[1].test_loss;
    let forged = tiny.forged(&child, paths::METRICS, change_a_digit);
    let (code, said) = tiny.check(&forged, &[child.as_str()]);
    assert_eq!(code, Some(1), "{said}");
    let changed = f64::from_bits(before.to_bits() ^ 1);
    let epoch = made.metrics.evaluations[1].epoch;
    let expected =
        format!("evaluation 2 (epoch {epoch}), test_loss: {changed} in the record, {before} now");
    assert!(said.contains(&expected), "{said}");
    assert!(!said.contains("SHA-256 of"), "{said}");
    assert!(said.contains("0 of 1 trained again are equal"), "{said}");

    // Weights alone: no metric is blamed.
    let flip = |mut weights: Vec<u8>| {
        *weights.last_mut().unwrap() ^= 1;
        weights
    };
    let forged = tiny.forged(&child, paths::WEIGHTS, flip);
    let (code, said) = tiny.check(&forged, &[child.as_str()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("SHA-256 of weights.safetensors"), "{said}");
    assert!(!said.contains("evaluation 2"), "{said}");

    // The run before it.
    let forged = tiny.forged(&tiny.parent(), paths::METRICS, change_a_digit);
    let (code, said) = tiny.check(&forged, &[child.as_str()]);
    assert_eq!(code, Some(1), "{said}");
    let expected = format!("the run before it, {}: evaluation 2", tiny.parent().short());
    assert!(said.contains(&expected), "{said}");

    // A measurement.
    let forged = tiny.place.path("measured");
    copy_folder(&tiny.made, &forged);
    let store = Store::open(&forged).unwrap();
    let file = std::fs::read_dir(paths::measured(&forged, &child)).unwrap().next().unwrap();
    let id = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
    let mut measured: Measured = store.measured(&child, &id, &made.result_hash).unwrap().unwrap();
    *measured.values.get_mut("boundary_length").unwrap() += 1.0;
    store.keep_measured(&child, &id, &made.result_hash, &measured).unwrap();
    let (code, said) = tiny.check(&forged, &[child.as_str()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("measurement boundary, boundary_length: "), "{said}");
}

#[test]
fn what_is_damaged_or_missing_or_of_other_numerics_is_named_and_not_equal() {
    let tiny = Tiny::new();
    let child = tiny.child();
    // A digit changed and no hash: damage.
    let store = tiny.place.path("damaged");
    copy_folder(&tiny.made, &store);
    let metrics = paths::run(&store, &child).join(paths::METRICS);
    std::fs::write(&metrics, change_a_digit(std::fs::read(&metrics).unwrap())).unwrap();
    let (code, said) = tiny.check(&store, &[child.as_str()]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("metrics.json"), "{said}");

    // The same in the run before it.
    let store = tiny.place.path("damaged-parent");
    copy_folder(&tiny.made, &store);
    let metrics = paths::run(&store, &tiny.parent()).join(paths::METRICS);
    std::fs::write(&metrics, change_a_digit(std::fs::read(&metrics).unwrap())).unwrap();
    let (code, said) = tiny.check(&store, &[child.as_str()]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains(&format!("the run before it, {}", tiny.parent().short())), "{said}");

    // Neither in the store nor in the records.
    let records = tiny.place.path("expected/records");
    std::fs::remove_dir_all(&records).unwrap();
    let store = tiny.place.path("holed");
    copy_folder(&tiny.made, &store);
    std::fs::remove_dir_all(paths::run(&store, &child)).unwrap();
    let (code, said) = tiny.check(&store, &["tiny"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("nothing to compare with") && said.contains(child.short()), "{said}");
    assert!(said.contains("1 of 1 trained again are equal"), "the other one is: {said}");
    let (code, said) = tiny.check(&tiny.place.path("empty"), &["--sample", "3"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("nothing to compare with"), "{said}");

    // A measurement that is not stored.
    let store = tiny.place.path("unmeasured");
    copy_folder(&tiny.made, &store);
    std::fs::remove_dir_all(paths::measured(&store, &child)).unwrap();
    let (code, said) = tiny.check(&store, &[child.as_str()]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("measurement boundary: nothing to compare with"), "{said}");

    // A run of a GPU, from the records of the repository.
    let file = repository().join("expected/records/pilot-headline-cifar.tar.gz");
    let key = Store::unpack(&file).unwrap().store.keys().unwrap().remove(0);
    let output = tiny.place.bgm(&["check", key.short()]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    for part in ["nothing to compare with", "pilot-headline-cifar.tar.gz", "cuda", "portable-1"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn names_that_match_nothing_are_refused() {
    let tiny = Tiny::new();
    let made = tiny.made.to_str().unwrap();
    let child = tiny.child();
    for (arguments, part) in [
        (&[] as &[&str], "required"),
        (&["nothing"], "table1_accuracy"),
        (&["0123456789ab"], "no profile plans a run 0123456789ab"),
        (&["tiny", "--cell", "start"], "AXIS=LEVEL"),
        (&["tiny", "--cell", "begin=random"], "it has: start"),
        (&["tiny", "--cell", "start=none"], "there are: random, adversarial"),
        (&["tiny", "--seed", "77"], "has that seed"),
        (&[child.as_str(), "--seed", "0"], "name one"),
        (&["--sample", "0"], "0"),
        (&["tiny", "--draw", "3"], "--draw"),
        (&["tiny", "--scratch", made], "is the store itself"),
    ] {
        let (code, said) = tiny.check(&tiny.made, arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    // Records are not what was trained in the scratch store.
    let scratch = tiny.place.path("scratch");
    let records = tiny.place.path("expected/records/tiny.tar.gz");
    let into = ["store", "merge", records.to_str().unwrap(), "--into", scratch.to_str().unwrap()];
    assert!(tiny.bgm(&tiny.made, &into).status.success());
    let (code, said) = tiny.check(&tiny.made, &["tiny", "--scratch", scratch.to_str().unwrap()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("there as a record"), "{said}");
}

#[test]
fn a_report_of_an_empty_store_shows_the_records_and_says_so() {
    let tiny = Tiny::new();
    let report = |store: &Path, name: &str, options: &[&str]| {
        let out = tiny.place.path(name);
        let arguments = [&["report", "--out", out.to_str().unwrap()], options].concat();
        let output = tiny.bgm(store, &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let page = std::fs::read_to_string(out.join("report.html")).unwrap();
        let table = std::fs::read_to_string(out.join("tables/tiny.csv")).unwrap();
        (page, table, text(&output.stderr))
    };
    let empty = tiny.place.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let (page, table, said) = report(&empty, "from_records", &[]);
    let (own_page, own_table, _) = report(&tiny.made, "from_store", &[]);
    assert_eq!(table, own_table);
    for text in [&page, &said] {
        assert!(text.contains("These are records: 3 of the 3 runs"), "{text}");
        assert!(text.contains("tiny.tar.gz"), "{text}");
    }
    assert!(!own_page.contains("These are records"));
    // They are in no store: to the gate, all is still missing.
    assert!(Store::open(&empty).unwrap().keys().unwrap().is_empty());
    assert_eq!(tiny.bgm(&empty, &["verify"]).status.code(), Some(3));
    // With a run of its own, a store is shown as it is, unless records are asked for.
    let mixed = tiny.place.path("mixed");
    copy_folder(&tiny.made, &mixed);
    std::fs::remove_dir_all(paths::run(&mixed, &tiny.child())).unwrap();
    let (page, table, _) = report(&mixed, "mixed_out", &[]);
    assert!(!page.contains("These are records") && table != own_table);
    let records = tiny.place.path("expected/records");
    let options = ["--records", records.to_str().unwrap()];
    let (page, table, _) = report(&mixed, "filled", &options);
    assert!(page.contains("These are records: 1 of the 3 runs") && table == own_table);
}
