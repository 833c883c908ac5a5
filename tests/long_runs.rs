//! Long runs: a job that dies is reported with its log, tried again a bounded number of
//! times, and takes no other along; room on the disk is known before anything begins; what
//! diverges ends, and is known for it.

mod common;

use bad_global_minima::experiments::space::{Space, words};
use bad_global_minima::models::tensors::Values;
use bad_global_minima::spec::{RunSpec, Start};
use bad_global_minima::store::Store;
use bad_global_minima::store::lock::Holder;
use bad_global_minima::train::metrics::Status;
use common::{Workplace, longer_tables, repository, text, toy_chain, toy_run};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn reproduce(place: &Workplace, program: &Path) -> Command {
    let (tables, out) = (longer_tables(place), place.path("out"));
    let mut command = Command::new(program);
    command
        .current_dir(repository())
        .args(["--store".as_ref(), place.path("runs").as_os_str()])
        .args(["--tables".as_ref(), tables.as_os_str()])
        .args(["--device", "cpu", "--profile", "tiny", "reproduce", "--jobs", "2"])
        .args(["--out".as_ref(), out.as_os_str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn bgm() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_bgm"))
}

fn table(place: &Workplace) -> String {
    std::fs::read_to_string(place.path("out/tables/tiny.csv")).expect("a table")
}

/// Keys that are being worked on, with their processes.
fn locks(place: &Workplace) -> Vec<(String, Holder)> {
    let entries = std::fs::read_dir(place.path("runs")).into_iter().flatten().flatten();
    let locks = entries.filter(|e| e.path().extension().is_some_and(|ending| ending == "lock"));
    let read = |entry: std::fs::DirEntry| {
        let holder = serde_json::from_slice(&std::fs::read(entry.path()).ok()?).ok()?;
        Some((entry.path().file_stem()?.to_str()?.to_owned(), holder))
    };
    locks.filter_map(read).collect()
}

/// Waits for the first lock, or until `child` ends.
fn first_lock(place: &Workplace, child: &mut Child) -> (String, Holder) {
    loop {
        if let Some(found) = locks(place).into_iter().next() {
            return found;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended before anything was killed");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill(holder: &Holder) -> bool {
    Command::new("kill").arg("-9").arg(holder.pid.to_string()).status().unwrap().success()
}

fn undisturbed() -> String {
    let place = Workplace::new();
    let output = reproduce(&place, bgm()).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "not blessed: {}", text(&output.stderr));
    table(&place)
}

#[test]
fn a_killed_job_is_reported_and_tried_again() {
    let place = Workplace::new();
    let mut child = reproduce(&place, bgm()).spawn().unwrap();
    let (key, holder) = first_lock(&place, &mut child);
    assert!(kill(&holder));
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let retried = said.lines().find(|line| line.contains("once more from its checkpoint"));
    let retried = retried.unwrap_or_else(|| panic!("no retry in: {said}"));
    for word in [&key[..12], "SIGKILL", "log: ", &format!("logs/{key}")] {
        assert!(retried.contains(word), "'{word}' is not in: {retried}");
    }
    assert_eq!(table(&place), undisturbed());
}

#[test]
fn a_job_that_always_dies_is_given_up_and_takes_no_other_along() {
    let place = Workplace::new();
    let mut child = reproduce(&place, bgm()).spawn().unwrap();
    let (victim, first) = first_lock(&place, &mut child);
    let mut killed = vec![first.pid];
    assert!(kill(&first));
    while child.try_wait().unwrap().is_none() {
        for (key, holder) in locks(&place) {
            if key == victim && !killed.contains(&holder.pid) && kill(&holder) {
                killed.push(holder.pid);
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(killed.len(), 3, "one attempt and two more: {said}");
    assert_eq!(output.status.code(), Some(3), "{said}");
    let failed = format!("bgm: run {victim} failed: signal: 9 (SIGKILL)");
    assert!(said.contains(&failed), "{said}");
    let log = said.rsplit("log: ").next().unwrap().split(')').next().unwrap();
    assert!(Path::new(log).exists(), "{log} is not kept");
    // Whatever does not start from it was finished.
    let store = Store::open(place.path("runs")).unwrap();
    assert!(!store.keys().unwrap().is_empty(), "{said}");
    for key in store.keys().unwrap() {
        store.read(&key).unwrap();
    }
    let again = reproduce(&place, bgm()).output().unwrap();
    assert_eq!(again.status.code(), Some(3), "{}", text(&again.stderr));
    assert_eq!(table(&place), undisturbed());
}

#[test]
fn a_program_that_is_rebuilt_meanwhile_goes_on() {
    let place = Workplace::new();
    let program = place.path("bgm");
    std::fs::copy(bgm(), &program).unwrap();
    let mut child = reproduce(&place, &program).spawn().unwrap();
    first_lock(&place, &mut child);
    std::fs::remove_file(&program).unwrap();
    std::fs::write(&program, "#!/bin/sh\nexit 9\n").unwrap();
    let output: Output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(!said.contains("failed"), "{said}");
    assert_eq!(table(&place), undisturbed());
}

#[test]
fn checkpoints_go_once_a_run_is_finished() {
    let place = Workplace::new();
    let spec = place.spec_file("spec.json", &toy_chain(5, 6));
    let run = || {
        let output = place.bgm(&["run", spec.to_str().unwrap(), "--checkpoint-seconds", "0"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    run();
    let store = Store::open(place.path("runs")).unwrap();
    let keys = store.keys().unwrap();
    assert_eq!(keys.len(), 2);
    let entries = || std::fs::read_dir(place.path("runs")).unwrap().count();
    assert_eq!(entries(), 2, "more than the two runs is left");
    // Stopped between the last two steps of finishing: the next call clears up.
    for key in &keys {
        let partial = place.path("runs").join(format!("{key}.partial"));
        std::fs::create_dir(&partial).unwrap();
        std::fs::write(partial.join("checkpoint.safetensors"), [0; 100]).unwrap();
    }
    assert!(run().contains("already stored"));
    assert_eq!(entries(), 2);
}

#[test]
fn nothing_is_begun_without_room_for_it() {
    let place = Workplace::new();
    let mut spec = toy_run(2);
    spec.network.width = 3_000_000;
    let file = place.spec_file("spec.json", &spec);
    let started = Instant::now();
    let output = place.bgm(&["run", file.to_str().unwrap()]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    // Two checkpoints of weights and momentum, and the weights: 5 x 36 TB.
    for word in ["are free and about 180 TB will be needed", "--store"] {
        assert!(said.contains(word), "'{word}' is not in: {said}");
    }
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(std::fs::read_dir(place.path("runs")).unwrap().count(), 0);
}

#[test]
fn estimates_of_disk_use_are_near() {
    let place = Workplace::new();
    let mut spec = toy_run(3);
    spec.network.width = 300;
    spec.train.snapshots = vec![1, 2];
    let (key, _) = place.run(&place.spec_file("spec.json", &spec));
    let folder = place.path("runs").join(key);
    let sizes = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().metadata().unwrap().len());
    let (found, estimated) = (sizes.sum::<u64>(), Space::of(&spec).stored);
    assert!(found <= estimated && estimated < found + 30_000, "{found} bytes, not {estimated}");

    let tables = longer_tables(&place);
    let plan = |format: &str| {
        let tables = tables.to_str().unwrap();
        let arguments = ["--tables", tables, "--profile", "tiny", "plan", "--format", format];
        text(&place.bgm(&arguments).stdout)
    };
    let text = plan("text");
    assert!(text.contains("disk: estimated") && text.contains(" free"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&plan("json")).unwrap();
    let runs = json["runs"].as_array().unwrap();
    let all: u64 = runs.iter().map(|run| run["estimated_bytes"].as_u64().unwrap()).sum();
    assert!(json["needed_bytes"].as_u64().unwrap() > all, "{json}");
    assert!(json["free_bytes"].as_u64().unwrap() > 0, "{json}");
}

#[test]
fn bytes_are_written_in_words() {
    let said = [0, 999, 1000, 45_300, 123_456_789, u64::MAX].map(words);
    assert_eq!(said, ["0 B", "999 B", "1.0 kB", "45.3 kB", "123 MB", "18.4 EB"]);
}

#[test]
fn a_run_that_diverges_ends_and_is_stored_as_such() {
    let rate = RunSpec {
        train: bad_global_minima::spec::TrainSpec { learning_rate: 1e30, ..toy_run(50).train },
        ..toy_run(50)
    };
    let scale = RunSpec { start: Start::Random { scale: 1e30 }, ..toy_run(50) };
    for (spec, most) in [(rate, 10), (scale, 0)] {
        let place = Workplace::new();
        let file = place.spec_file("spec.json", &spec);
        let output = place.bgm(&["run", file.to_str().unwrap()]);
        let said = text(&output.stderr);
        assert!(output.status.success() && said.contains("Diverged"), "{said}");
        let store = Store::open(place.path("runs")).unwrap();
        let run = store.read(&store.keys().unwrap()[0]).unwrap();
        assert_eq!(run.metrics.status, Status::Diverged);
        assert!(run.metrics.epochs <= most, "{} epochs", run.metrics.epochs);
        assert!(run.metrics.evaluations.iter().all(|e| e.is_finite()));
        // Whatever its weights became, in whatever bits: they are not numbers.
        for (name, tensor) in run.weights(None).unwrap() {
            let Values::F32(values) = tensor.values else { continue };
            let nan = |value: &f32| value.to_bits() == f32::NAN.to_bits();
            assert!(values.iter().all(nan), "{name}");
        }
        let again = place.bgm(&["run", file.to_str().unwrap()]);
        assert!(text(&again.stderr).contains("already stored"), "{}", text(&again.stderr));
    }
}
