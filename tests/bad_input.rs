//! Bad input: a message that names the file and the field, the documented exit code,
//! nothing lost. Never a panic.

mod common;

use common::{Workplace, repository, small_chain, small_run, text};
use serde_json::{Value, json};
use std::path::Path;

/// Runs a changed spec; the exit code and what was said.
fn refuse(change: impl FnOnce(&mut Value)) -> (i32, String) {
    let place = Workplace::new();
    let mut spec = serde_json::to_value(small_chain()).unwrap();
    change(&mut spec);
    let path = place.path("spec.json");
    std::fs::write(&path, spec.to_string()).unwrap();
    let output = place.bgm(&["run", path.to_str().unwrap()]);
    (output.status.code().expect("an exit code, no signal"), text(&output.stderr))
}

#[track_caller]
fn check(change: impl FnOnce(&mut Value), code: i32, words: &[&str]) {
    let (found, said) = refuse(change);
    for word in words {
        assert!(said.contains(word), "'{word}' is not in: {said}");
    }
    assert_eq!(found, code, "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn impossible_values_are_named_by_field() {
    check(
        |s| s["start"]["run"]["train"]["corruption"]["replication"] = json!(0),
        2,
        &["spec.json", "start.run.train.corruption.replication = 0", "at least 1"],
    );
    check(
        |s| s["start"]["run"]["train"]["corruption"]["zero_out"] = json!(1.5),
        2,
        &["zero_out = 1.5", "between 0 and 1"],
    );
    check(
        |s| s["train"]["optimizer"]["sgd"]["momentum"] = json!(1.0),
        2,
        &["train.optimizer.sgd.momentum = 1", "below 1"],
    );
    check(|s| s["train"]["learning_rate"] = json!(0.0), 2, &["train.learning_rate = 0"]);
    check(|s| s["train"]["batch_size"] = json!(0), 2, &["train.batch_size = 0"]);
    check(|s| s["network"]["width"] = json!(0), 2, &["network"]);
    check(
        |s| s["train"]["schedule"] = json!({"multi_step": {"milestones": [5, 3], "gamma": 0.1}}),
        2,
        &["milestones", "increasing"],
    );
    check(
        |s| s["train"]["augmentation"]["flip"] = json!(-0.1),
        2,
        &["train.augmentation.flip", "between 0 and 1"],
    );
}

#[test]
fn unknown_and_missing_fields_are_refused() {
    check(|s| s["train"]["nesterov"] = json!(true), 2, &["spec.json", "nesterov"]);
    check(
        |s| drop(s["train"].as_object_mut().unwrap().remove("batch_size")),
        2,
        &["spec.json", "batch_size"],
    );
    check(|s| *s = json!("text"), 2, &["spec.json"]);
    check(|s| s["network"]["arch"] = json!("resnet19"), 2, &["resnet19", "resnet18"]);
}

#[test]
fn more_images_than_there_are() {
    check(|s| s["data"]["images"]["train"] = json!(5000), 2, &["data.images.train = 5000", "2000"]);
    check(|s| s["data"]["images"]["pool"] = json!(99), 2, &["data.images.pool = 99", "28x28"]);
    check(
        |s| s["data"]["images"]["dataset"] = json!("imagenet22k"),
        2,
        &["imagenet22k", "data list"],
    );
}

#[test]
fn a_last_batch_of_one_is_refused_where_batch_norm_would_divide_by_nothing() {
    check(
        |s| {
            s["start"] = json!({ "random": { "scale": 1.0 } });
            s["train"]["batch_size"] = json!(39);
        },
        2,
        &["train.batch_size = 39", "last batch of one", "40 examples"],
    );
}

/// A copy of the embedded data in the workplace.
fn copy_data(place: &Workplace) -> std::path::PathBuf {
    let (from, to) =
        (repository().join("data/fashion-mnist-subset"), place.path("data/fashion-mnist-subset"));
    std::fs::create_dir_all(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to
}

fn flip_byte(path: &Path, place: f64) {
    let mut bytes = std::fs::read(path).unwrap();
    let index = ((bytes.len() - 1) as f64 * place) as usize;
    bytes[index] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

fn run_with_data(place: &Workplace) -> (i32, String) {
    let spec = place.spec_file("spec.json", &small_run());
    let data = place.path("data");
    let output = place.bgm(&["--data", data.to_str().unwrap(), "run", spec.to_str().unwrap()]);
    (output.status.code().unwrap(), text(&output.stderr))
}

#[test]
fn a_flipped_byte_in_a_data_file_is_found() {
    let place = Workplace::new();
    let data = copy_data(&place);
    assert_eq!(run_with_data(&place).0, 0);
    std::fs::remove_dir_all(place.path("runs")).unwrap();
    for name in ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"] {
        flip_byte(&data.join(name), 0.5);
        let (code, said) = run_with_data(&place);
        assert_eq!(code, 4, "{said}");
        assert!(said.contains(name) && said.contains("SHA-256"), "{said}");
        flip_byte(&data.join(name), 0.5);
    }
    std::fs::remove_file(data.join("manifest.toml")).unwrap();
    let (code, said) = run_with_data(&place);
    assert!(code == 4 && said.contains("manifest.toml"), "{code} {said}");
}

#[test]
fn a_label_that_is_no_class_is_found() {
    use bad_global_minima::data::{idx, manifest::Manifest};
    let place = Workplace::new();
    let data = copy_data(&place);
    let name = "train-labels-idx1-ubyte.gz";
    let labels: Vec<u8> = (0..2000).map(|i| (i % 11) as u8).collect();
    idx::write_gz(&data.join(name), &[2000], &labels).unwrap();
    // With a manifest that agrees: the reader itself must object.
    let old = Manifest::read(&data.join("manifest.toml")).unwrap();
    let names: Vec<String> = old.file.iter().map(|f| f.path.clone()).collect();
    let new = Manifest::of(&data, &names, "test").unwrap();
    std::fs::write(data.join("manifest.toml"), toml::to_string(&new).unwrap()).unwrap();
    let (code, said) = run_with_data(&place);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains(name) && said.contains("label 10"), "{said}");
}

#[test]
fn a_flipped_byte_in_any_stored_file_is_found_and_the_run_is_made_again() {
    let place = Workplace::new();
    let spec = place.spec_file("spec.json", &small_run());
    let (key, hash) = place.run(&spec);
    let folder = place.path("runs").join(&key);
    let names: Vec<_> =
        std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), 5);
    for (number, name) in names.iter().enumerate() {
        flip_byte(&folder.join(name), 0.6);
        let output = place.bgm(&["run", spec.to_str().unwrap()]);
        assert!(output.status.success(), "{name:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stdout).trim(), format!("{key} {hash}"), "{name:?}");
        assert!(text(&output.stderr).contains("trained"), "{name:?} was used as it is");
        // What was found damaged is kept for a look at it.
        let kept = place.path("runs/damaged").join(format!("{key}-{number}"));
        assert!(kept.join(name).exists(), "{name:?}");
    }
}

#[test]
fn usage_errors_have_exit_code_2_and_say_what_there_is() {
    let place = Workplace::new();
    for (arguments, words) in [
        (&["--profile", "huge", "plan"][..], &["huge", "quick", "smoke"][..]),
        (&["--only", "table9", "plan"], &["table9", "table1_accuracy"]),
        (&["--seeds", "0", "plan"], &["--seeds"]),
        (&["run", "zzz"], &["zzz", "spec file"]),
        (&["run", "0123456789abcdef"], &["0123456789abcdef"]),
        (&["reproduce", "--jobs", "many"], &["--jobs"]),
        (&["trace", "0123456789abcdef", "--steps", "0"], &["--steps"]),
        (&["bless", "--reason", " "], &["--reason"]),
        (&["diff", "nowhere", "elsewhere"], &["nowhere"]),
    ] {
        let output = place.bgm(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{arguments:?}: '{word}' is not in: {said}");
        }
    }
}

#[test]
fn a_device_that_is_not_there_has_exit_code_4() {
    let place = Workplace::new();
    let spec = place.spec_file("spec.json", &small_run());
    let output = place.bgm(&["--device", "cuda:7", "run", spec.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("cuda:7"), "{}", text(&output.stderr));
}
