//! Bad input: a message that names the file and the field, the documented exit code,
//! nothing lost. Never a panic.

mod common;

use common::{Workplace, repository, small_chain, small_run, text, toy_run};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

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
    check(|s| s["network"]["width"] = json!(0), 2, &["network.width = 0"]);
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

/// A stored toy run with a snapshot, so that there is a file of each kind.
struct Stored {
    place: Workplace,
    spec: PathBuf,
    key: String,
    hash: String,
}

/// The files of a stored run.
const KINDS: [&str; 6] = [
    "spec.json",
    "metrics.json",
    "weights.safetensors",
    "snapshot-00002.safetensors",
    "environment.json",
    "manifest.json",
];

impl Stored {
    fn new() -> Stored {
        let place = Workplace::new();
        let mut run = toy_run(3);
        run.train.snapshots = vec![2];
        let spec = place.spec_file("spec.json", &run);
        let (key, hash) = place.run(&spec);
        let stored = Stored { place, spec, key, hash };
        let names = std::fs::read_dir(stored.folder()).unwrap().count();
        assert_eq!(names, KINDS.len());
        stored
    }

    fn folder(&self) -> PathBuf {
        self.place.path("runs").join(&self.key)
    }

    /// The next call names the file, says what is wrong with it, makes the run again with the
    /// same bits, and keeps the damaged one.
    #[track_caller]
    fn is_made_again(&self, name: &str, words: &[&str], number: usize) {
        let output = self.place.bgm(&["run", self.spec.to_str().unwrap()]);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        assert_eq!(text(&output.stdout).trim(), format!("{} {}", self.key, self.hash), "{name}");
        // A flipped digit of a hash looks like damage to the file that it belongs to.
        let path = match name {
            "manifest.json" => name.to_owned(),
            _ => format!("{}/{name}", self.key),
        };
        let always = [path.as_str(), "made again", "trained:"];
        for word in always.iter().chain(words) {
            assert!(said.contains(word), "'{word}' is not in: {said}");
        }
        let kept = self.place.path("runs/damaged").join(format!("{}-{number}", self.key));
        assert!(kept.is_dir(), "{name}: nothing kept");
    }
}

#[test]
fn damage_to_any_stored_file_is_named_and_the_run_is_made_again() {
    let stored = Stored::new();
    let mut number = 0;
    for name in KINDS {
        let path = stored.folder().join(name);
        // The length is read each time: an environment that is written again may differ in it.
        let resize = |to: &dyn Fn(u64) -> u64| {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_len(to(file.metadata().unwrap().len())).unwrap();
        };
        let damages: [&dyn Fn(); 6] = [
            &|| flip_byte(&path, 0.6),
            &|| flip_byte(&path, 0.0),
            &|| resize(&|length| length - 1),
            &|| resize(&|_| 0),
            &|| resize(&|length| length + 1),
            &|| std::fs::remove_file(&path).unwrap(),
        ];
        for damage in damages {
            damage();
            stored.is_made_again(name, &[], number);
            number += 1;
        }
    }
}

#[test]
fn a_stored_run_cannot_reach_out_of_its_folder() {
    let stored = Stored::new();
    let folder = stored.folder();
    let outside = stored.place.path("outside.json");
    // A link, even to the very same bytes, and a pipe that nobody ever writes to.
    std::fs::copy(folder.join("metrics.json"), &outside).unwrap();
    std::fs::remove_file(folder.join("metrics.json")).unwrap();
    std::os::unix::fs::symlink(&outside, folder.join("metrics.json")).unwrap();
    stored.is_made_again("metrics.json", &["no plain file"], 0);
    std::fs::remove_file(folder.join("weights.safetensors")).unwrap();
    let pipe = folder.join("weights.safetensors");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    stored.is_made_again("weights.safetensors", &["no plain file"], 1);
    // A manifest that names files elsewhere, or of another run.
    let manifest = folder.join("manifest.json");
    let good = std::fs::read_to_string(&manifest).unwrap();
    let other = "ab".repeat(32);
    for (number, (from, to, words)) in [
        ("\"metrics.json\"", "\"../outside.json\"", "../outside.json"),
        ("\"metrics.json\"", "\"/etc/passwd\"", "no file of a run"),
        ("\"metrics.json\"", "\"..\"", "no file of a run"),
        ("\"snapshot-00002.safetensors\"", "\"snapshot-2.safetensors\"", "no file of a run"),
        (stored.key.as_str(), other.as_str(), "belongs to run abab"),
        (stored.key.as_str(), "../../outside", "no run key"),
        (stored.hash.as_str(), other.as_str(), "result_hash"),
    ]
    .into_iter()
    .enumerate()
    {
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        std::fs::write(&manifest, bad).unwrap();
        stored.is_made_again("manifest.json", &[words], 2 + number);
    }
    assert!(outside.exists());
}

#[test]
fn a_damaged_checkpoint_is_named_and_not_used() {
    let place = Workplace::new();
    let spec = place.spec_file("spec.json", &toy_run(3));
    let expected = place.run(&spec);
    for content in [&b"short"[..], &[7; 5000]] {
        std::fs::remove_dir_all(place.path("runs")).unwrap();
        let partial = place.path("runs").join(format!("{}.partial", expected.0));
        std::fs::create_dir_all(&partial).unwrap();
        std::fs::write(partial.join("checkpoint.safetensors"), content).unwrap();
        let output = place.bgm(&["run", spec.to_str().unwrap()]);
        let said = text(&output.stderr);
        assert_eq!(text(&output.stdout).trim(), format!("{} {}", expected.0, expected.1), "{said}");
        for word in ["checkpoint.safetensors: was cut off or changed", "from its start"] {
            assert!(said.contains(word), "'{word}' is not in: {said}");
        }
    }
}

#[test]
fn damaged_measurements_are_named_and_made_again() {
    let place = Workplace::new();
    let job = |place: &Workplace| {
        let measure = json!({ "kind": "boundary", "columns": 5, "reach": 3.0 });
        let job = json!({ "spec": toy_run(3), "measures": [measure] });
        let mut child = place
            .command(&["run", "-"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), job.to_string().as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    job(&place);
    let run = std::fs::read_dir(place.path("runs/measured")).unwrap().next().unwrap().unwrap();
    let file = std::fs::read_dir(run.path()).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let (half, changed) = (good[..good.len() / 2].to_vec(), {
        let mut bytes = good.clone();
        let digit = bytes.iter().rposition(|b| b.is_ascii_digit()).unwrap();
        bytes[digit] ^= 1;
        bytes
    });
    for bad in [vec![], half, changed] {
        std::fs::write(&file, bad).unwrap();
        assert!(job(&place).contains(&name), "the damage is not named");
        assert_eq!(std::fs::read(&file).unwrap(), good);
    }
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    assert!(job(&place).contains("no plain file"));
    assert_eq!(std::fs::read(&file).unwrap(), good);
}

#[test]
fn a_spec_or_a_job_cannot_reach_out_of_its_folder() {
    for name in ["../fashion-mnist-subset", "fashion-mnist-subset/../x", "/etc", "..", ""] {
        check(|s| s["data"]["images"]["dataset"] = json!(name), 2, &["data list"]);
    }
    // A parent is a spec; a key in its place is no way to name a folder.
    check(|s| s["start"] = json!({ "run": "../../etc/passwd" }), 2, &["spec.json"]);
    let place = Workplace::new();
    for target in ["../../etc/passwd", "../runs", "ab/../cd", ".."] {
        let output = place.bgm(&["run", target]);
        let code = output.status.code();
        assert_eq!(code, Some(2), "{target}: {}", text(&output.stderr));
    }
    for job in [
        json!({ "spec": small_run(), "measures": [], "key": "../../x" }),
        json!({ "spec": small_run(), "measures": [{ "kind": "../../x" }] }),
        json!({ "spec": { "..": 1 }, "measures": [] }),
    ] {
        let mut child = place
            .command(&["run", "-"])
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), job.to_string().as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("job on standard input"));
    }
}

#[test]
fn a_data_manifest_cannot_reach_out_of_its_folder() {
    let place = Workplace::new();
    let data = copy_data(&place);
    let manifest = data.join("manifest.toml");
    let good = std::fs::read_to_string(&manifest).unwrap();
    for name in ["../../../etc/passwd", "/etc/passwd", "a/../../b"] {
        let bad = good.replace("train-images-idx3-ubyte.gz", name);
        assert_ne!(bad, good);
        std::fs::write(&manifest, bad).unwrap();
        let (code, said) = run_with_data(&place);
        assert_eq!(code, 4, "{said}");
        assert!(said.contains("manifest.toml") && said.contains("outside"), "{said}");
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
    let output = place.bgm(&["--device", "cuda:99", "run", spec.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("cuda:99"), "{}", text(&output.stderr));
}
