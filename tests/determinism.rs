//! Determinism level D1: the same spec gives the same bits, interrupted or not, here or in
//! another store.

mod common;

use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::spec::{Optimizer, RunSpec, Stop};
use common::{Workplace, small_chain, small_run, text};
use std::time::Duration;

/// Long enough to be killed in the middle; both parts with all there is to restore.
fn long_chain() -> RunSpec {
    let mut chain = small_chain();
    chain.network.width = 16;
    chain.train.stop = Stop::Epochs(40);
    chain.train.evaluate_every = 10;
    if let bad_global_minima::spec::Start::Run(parent) = &mut chain.start {
        parent.network.width = 16;
        parent.train.stop = Stop::Epochs(30);
        parent.train.evaluate_every = 10;
    }
    chain
}

#[test]
fn killed_at_random_moments_and_gone_on_with_a_run_has_the_same_bits() {
    let undisturbed = Workplace::new();
    let expected = undisturbed.run(&undisturbed.spec_file("spec.json", &long_chain()));

    let disturbed = Workplace::new();
    let spec = disturbed.spec_file("spec.json", &long_chain());
    let mut moments = Stream::open(1, Purpose::Test, &[]);
    let mut kills = 0;
    for _ in 0..20 {
        let mut child = disturbed
            // Checkpoints after every epoch, so that each kill has one to go on from.
            .command(&["run", spec.to_str().unwrap(), "--checkpoint-seconds", "0"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(200 + moments.below(900))));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
    }
    assert!(kills > 0, "nothing was killed: the run is too short for this test");
    assert_eq!(disturbed.run(&spec), expected, "after {kills} kills");
}

#[test]
fn another_store_gives_the_same_hash_and_a_second_call_trains_nothing() {
    let (here, there) = (Workplace::new(), Workplace::new());
    let spec = here.spec_file("spec.json", &small_chain());
    let first = here.run(&spec);
    assert_eq!(there.run(&spec), first);
    let again = here.bgm(&["run", spec.to_str().unwrap()]);
    assert!(text(&again.stderr).contains("already stored"), "{}", text(&again.stderr));
    // By key, too: the store alone knows this spec.
    let by_key = here.bgm(&["run", &first.0]);
    assert_eq!(text(&by_key.stdout).trim(), format!("{} {}", first.0, first.1));
}

#[test]
fn adam_resumes_with_the_same_bits() {
    let mut spec = long_chain();
    spec.train.optimizer = Optimizer::Adam { weight_decay: 1e-4 };
    spec.train.learning_rate = 1e-3;
    let undisturbed = Workplace::new();
    let expected = undisturbed.run(&undisturbed.spec_file("spec.json", &spec));
    let disturbed = Workplace::new();
    let file = disturbed.spec_file("spec.json", &spec);
    for wait in [700, 1100, 900] {
        let mut child = disturbed
            .command(&["run", file.to_str().unwrap(), "--checkpoint-seconds", "0"])
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        drop(child.kill());
        child.wait().unwrap();
    }
    assert_eq!(disturbed.run(&file), expected);
}

#[test]
fn seeds_differ() {
    let place = Workplace::new();
    let one = place.run(&place.spec_file("a.json", &small_run()));
    let two = place.run(&place.spec_file("b.json", &RunSpec { seed: 4, ..small_run() }));
    assert_ne!(one.0, two.0);
    assert_ne!(one.1, two.1);
}

/// Peak resident memory of a training process, in MiB.
fn peak_memory(replication: u32) -> f64 {
    let place = Workplace::new();
    let mut spec = small_run();
    spec.train.corruption =
        Some(bad_global_minima::corrupt::CorruptionSpec { replication, ..common::corruption() });
    if let bad_global_minima::spec::DataSpec::Images(images) = &mut spec.data {
        images.train = 1000;
        images.pool = 1;
    }
    spec.train.batch_size = 100;
    spec.train.stop = Stop::Epochs(1);
    let file = place.spec_file("spec.json", &spec);
    let mut child = place
        .command(&["run", file.to_str().unwrap()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0.0f64;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let line = status.unwrap_or_default();
        let line = line.lines().find(|l| l.starts_with("VmHWM")).map(str::to_owned);
        let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
        peak = peak.max(kib.unwrap_or(0.0) / 1024.0);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn memory_does_not_grow_with_the_replication_factor() {
    let (one, fifty) = (peak_memory(1), peak_memory(50));
    assert!(one > 50.0, "memory was not seen: {one} MiB");
    assert!(fifty < 1.1 * one, "R = 1: {one:.0} MiB, R = 50: {fifty:.0} MiB");
}
