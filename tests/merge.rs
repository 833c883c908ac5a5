//! `bgm store merge`: what two places made becomes one store. Nothing wrong gets in, nothing
//! that was there is lost, and whatever stands in the way is named.

mod common;

use bad_global_minima::backend::Platform;
use bad_global_minima::experiments::results::Measured;
use bad_global_minima::spec::{Key, Numerics};
use bad_global_minima::store::lock::Silence;
use bad_global_minima::store::merge::{MergeError, Options};
use bad_global_minima::store::{Environment, Finished, Store, paths};
use common::{Workplace, copy_folder, text, toy_run};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

const MEASURED: &str = "0123456789abcdef";

/// Three runs, in stores that share one of them.
struct Two {
    place: Workplace,
    /// `ours` has the first two, `theirs` the last two; the second is measured there.
    keys: [Key; 3],
    ours: PathBuf,
    theirs: PathBuf,
}

fn measured(value: f64) -> Measured {
    Measured { values: BTreeMap::from([("x".to_owned(), value)]), ..Measured::default() }
}

fn measure(root: &Path, key: &Key, value: f64) {
    let store = Store::open(root).unwrap();
    let hash = store.read(key).unwrap().result_hash;
    store.keep_measured(key, MEASURED, &hash, &measured(value)).unwrap();
}

impl Two {
    fn new() -> Two {
        let place = Workplace::new();
        let keys = [3, 4, 5].map(|epochs| {
            let mut run = toy_run(epochs);
            run.train.snapshots = vec![2];
            place.run(&place.spec_file("spec.json", &run)).0.parse().unwrap()
        });
        let (ours, theirs) = (place.path("ours"), place.path("theirs"));
        for (root, these) in [(&ours, [0, 1]), (&theirs, [1, 2])] {
            for index in these {
                let key: &Key = &keys[index];
                copy_folder(&paths::run(&place.path("runs"), key), &paths::run(root, key));
            }
        }
        measure(&theirs, &keys[1], 1.0);
        measure(&theirs, &keys[2], 2.0);
        Two { place, keys, ours, theirs }
    }

    fn merge(&self) -> Output {
        let (ours, theirs) = (self.ours.to_str().unwrap(), self.theirs.to_str().unwrap());
        self.place.bgm(&["store", "merge", theirs, "--into", ours])
    }

    #[track_caller]
    fn check(&self, code: i32, words: &[&str]) -> String {
        let output = self.merge();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "'{word}' is not in: {said}");
        }
        said
    }

    /// Everything is in our store, and nothing else.
    #[track_caller]
    fn all_is_there(&self) {
        let store = Store::open(&self.ours).unwrap();
        for key in &self.keys {
            let run = store.read(key).unwrap();
            let made = Store::open(self.place.path("runs")).unwrap().read(key).unwrap();
            assert_eq!((&run.result_hash, &run.metrics), (&made.result_hash, &made.metrics));
            run.weights(Some(2)).unwrap();
        }
        let value = |key: &Key| {
            let hash = store.read(key).unwrap().result_hash;
            store.measured(key, MEASURED, &hash).unwrap()
        };
        assert_eq!(value(&self.keys[1]), Some(measured(1.0)));
        assert_eq!(value(&self.keys[2]), Some(measured(2.0)));
        let mut left: Vec<String> = names(&self.ours);
        left.retain(|name| name != "damaged");
        let mut expected: Vec<String> = self.keys.iter().map(Key::to_string).collect();
        expected.push("measured".to_owned());
        expected.sort();
        assert_eq!(left, expected);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// All files below a folder with their content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path(), std::fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// Puts another result in the place of a run, as another machine would have made it.
fn make_differently(root: &Path, key: &Key) {
    let store = Store::open(root).unwrap();
    let run = store.read(key).unwrap();
    let weights = run.weights(None).unwrap();
    let snapshot = std::fs::read(paths::run(root, key).join(paths::snapshot(2))).unwrap();
    std::fs::remove_dir_all(paths::run(root, key)).unwrap();
    let mut metrics = run.metrics.clone();
    metrics.evaluations[0].train_loss += 1e-9;
    let platform =
        Platform { numerics: Numerics::libtorch_cpu("2.11.0"), device: "Another GPU".to_owned() };
    let environment =
        Environment { platform, commit: "c0ffee".to_owned(), ..run.environment.clone() };
    store
        .commit(&Finished {
            key,
            spec: &run.spec,
            metrics: &metrics,
            weights: &weights,
            snapshots: &BTreeMap::from([(2, snapshot)]),
            environment: &environment,
        })
        .unwrap();
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_missing_is_brought_and_what_is_there_is_left() {
    let two = Two::new();
    let before = content(&two.theirs);
    two.check(0, &["1 runs and 2 measurements merged, 1 were there already"]);
    two.all_is_there();
    assert_eq!(content(&two.theirs), before, "the other store was changed");
    let ours = content(&two.ours);
    two.check(0, &["0 runs and 0 measurements merged, 2 were there already"]);
    assert_eq!(content(&two.ours), ours);
    // Into a store that is not there yet, from two at once.
    let (ours, theirs) = (two.ours.to_str().unwrap(), two.theirs.to_str().unwrap());
    let third = two.place.path("third");
    let output =
        two.place.bgm(&["store", "merge", ours, theirs, "--into", third.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(names(&third), names(&two.ours));
}

#[test]
fn two_results_for_one_run_are_named_and_both_stay() {
    let two = Two::new();
    make_differently(&two.theirs, &two.keys[1]);
    let theirs = Store::open(&two.theirs).unwrap().read(&two.keys[1]).unwrap();
    let ours = Store::open(&two.ours).unwrap().read(&two.keys[1]).unwrap();
    let place = |root: &Path| paths::run(root, &two.keys[1]).display().to_string();
    let said = two.check(
        1,
        &[
            "has two results",
            "neither was changed",
            &place(&two.ours),
            &place(&two.theirs),
            &ours.result_hash,
            &theirs.result_hash,
            &ours.environment.platform.device,
            "Another GPU",
            "c0ffee",
            "determinism level D2",
            "1 conflicts",
        ],
    );
    assert!(!said.contains("at fault"), "{said}");
    let store = Store::open(&two.ours).unwrap();
    assert_eq!(store.read(&two.keys[1]).unwrap().result_hash, ours.result_hash);
    // The rest was merged; what was measured of the other result was not.
    store.read(&two.keys[2]).unwrap();
    assert_eq!(store.measured(&two.keys[1], MEASURED, &ours.result_hash).unwrap(), None);
    assert_eq!(
        Store::open(&two.theirs).unwrap().read(&two.keys[1]).unwrap().metrics,
        theirs.metrics
    );
}

#[test]
fn two_values_of_a_measurement_are_named_and_both_stay() {
    let two = Two::new();
    measure(&two.ours, &two.keys[1], 1.5);
    let file = |root: &Path| paths::measurement(root, &two.keys[1], MEASURED).display().to_string();
    two.check(1, &["measurement", &file(&two.ours), &file(&two.theirs), "neither was changed"]);
    let store = Store::open(&two.ours).unwrap();
    let hash = store.read(&two.keys[1]).unwrap().result_hash;
    assert_eq!(store.measured(&two.keys[1], MEASURED, &hash).unwrap(), Some(measured(1.5)));
    store.read(&two.keys[2]).unwrap();
}

#[test]
fn damaged_runs_are_named_and_left_where_they_are() {
    let two = Two::new();
    let weights = paths::run(&two.theirs, &two.keys[1]).join(paths::WEIGHTS);
    flip(&weights);
    let measurement = paths::measurement(&two.theirs, &two.keys[2], MEASURED);
    std::fs::write(&measurement, b"{}").unwrap();
    let paths = [weights.to_str().unwrap(), measurement.to_str().unwrap()];
    two.check(4, &[paths[0], paths[1], "not merged", "2 damaged", "1 runs and 0 measurements"]);
    let store = Store::open(&two.ours).unwrap();
    two.keys.iter().for_each(|key| drop(store.read(key).unwrap()));
}

#[test]
fn what_is_damaged_here_is_repaired() {
    let two = Two::new();
    flip(&paths::run(&two.ours, &two.keys[1]).join(paths::METRICS));
    measure(&two.ours, &two.keys[0], 3.0);
    std::fs::create_dir_all(two.ours.join("measured").join(two.keys[1].as_str())).unwrap();
    std::fs::write(paths::measurement(&two.ours, &two.keys[1], MEASURED), b"x").unwrap();
    two.check(0, &["2 runs and 2 measurements merged"]);
    two.all_is_there();
    assert!(paths::damaged(&two.ours, &two.keys[1], 0).exists(), "the damaged one is gone");
}

#[test]
fn a_merge_that_is_broken_off_leaves_nothing_half_done() {
    let asked = Cell::new(0);
    let limit = Cell::new(u32::MAX);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > limit.get()
    };
    let options = Options { lock_patience: Duration::ZERO, stop: &stop, progress: &|_, _| {} };
    let whole = Two::new();
    let merge = |two: &Two| {
        asked.set(0);
        let (ours, theirs) = (Store::open(&two.ours), Store::existing(&two.theirs));
        ours.unwrap().merge(&theirs.unwrap(), &options)
    };
    merge(&whole).unwrap();
    let times = asked.get();
    assert!(times > 8, "asked only {times} times");
    let two = Two::new();
    let before = content(&two.ours);
    for moment in 0..times {
        limit.set(moment);
        let stopped = merge(&two);
        assert!(matches!(stopped, Err(MergeError::Stopped)), "{moment}: {stopped:?}");
        let left = names(&two.ours);
        assert!(!left.iter().any(|name| name.contains('.')), "{moment}: {left:?}");
        // All of a run or nothing of it.
        Store::open(&two.ours).unwrap().keys().unwrap().iter().for_each(|key| {
            drop(Store::open(&two.ours).unwrap().read(key).unwrap());
        });
        if moment == 0 {
            assert_eq!(content(&two.ours), before);
        }
    }
    limit.set(u32::MAX);
    merge(&two).unwrap();
    two.all_is_there();
}

#[test]
fn a_run_that_somebody_works_on_is_left_for_later_with_its_checkpoint() {
    let two = Two::new();
    let store = Store::open(&two.ours).unwrap();
    let partial = paths::partial(&two.ours, &two.keys[2]);
    std::fs::create_dir_all(&partial).unwrap();
    std::fs::write(paths::checkpoint(&two.ours, &two.keys[2]), b"of some use").unwrap();
    let held = store.try_lock(&two.keys[2], &mut Silence::default()).unwrap().expect("a lock");
    let options = Options { lock_patience: Duration::ZERO, stop: &|| false, progress: &|_, _| {} };
    let theirs = Store::existing(&two.theirs).unwrap();
    let merged = store.merge(&theirs, &options).unwrap();
    assert_eq!(merged.busy.into_iter().collect::<Vec<_>>(), [two.keys[2].clone()]);
    assert_eq!((merged.runs, merged.measurements), (0, 1));
    assert!(paths::checkpoint(&two.ours, &two.keys[2]).exists());
    drop(held);
    let merged = store.merge(&theirs, &options).unwrap();
    assert_eq!((merged.runs, merged.measurements), (1, 1));
    two.all_is_there();
}

#[test]
fn what_cannot_be_merged_is_said() {
    let two = Two::new();
    let ours = two.ours.to_str().unwrap();
    let refuse = |arguments: &[&str], code: i32, word: &str| {
        let output = two.place.bgm(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(word), "'{word}' is not in: {said}");
    };
    let linked = two.place.path("linked");
    std::os::unix::fs::symlink(&two.ours, &linked).unwrap();
    for itself in [ours, linked.to_str().unwrap()] {
        refuse(&["store", "merge", itself, "--into", ours], 2, "into itself");
    }
    let missing = two.place.path("missing");
    refuse(&["store", "merge", missing.to_str().unwrap(), "--into", ours], 4, "missing");
    assert!(!missing.exists());
    refuse(&["store", "merge"], 2, "required");
    // A run of theirs that names a file elsewhere gets nowhere.
    let manifest = paths::run(&two.theirs, &two.keys[2]).join(paths::MANIFEST);
    let bad = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, bad.replace("\"metrics.json\"", "\"../../../x\"")).unwrap();
    two.check(4, &["no file of a run", "1 damaged"]);
    assert!(!two.ours.join(two.keys[2].as_str()).exists());
}
