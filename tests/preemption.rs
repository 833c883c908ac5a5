//! Preemption: a signal at any moment, in the middle of an epoch too, ends a run within ten
//! seconds with its state on the disk, and the next call ends with the same bits as if
//! nothing had happened.

mod common;

use bad_global_minima::data::Catalog;
use bad_global_minima::engine::EngineDevice;
use bad_global_minima::measure::{AttackMethod, MeasureError, MeasureSpec, Subject, Toward};
use bad_global_minima::models::graph::Graph;
use bad_global_minima::models::weights::{self, NamedTensors};
use bad_global_minima::spec::*;
use bad_global_minima::store::record;
use bad_global_minima::train::checkpoint::Progress;
use bad_global_minima::train::source::Source;
use bad_global_minima::train::{
    self, EpochPosition, Incomplete, Inputs, Observer, TrainError, Trained, Unobserved,
};
use common::{Workplace, longer_tables, repository, small_chain, text, toy_chain, toy_run};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Stops training the `left`-th time that it is asked, and keeps the state of that place.
struct Stops {
    left: Cell<u32>,
    kept: Option<(EpochPosition, Vec<u8>)>,
}

impl Stops {
    fn after(left: u32) -> Self {
        Stops { left: Cell::new(left), kept: None }
    }
}

impl Observer for Stops {
    fn epoch(&mut self, _: u32, _: u32, _: &dyn Fn() -> Vec<u8>) -> Result<(), TrainError> {
        Ok(())
    }

    fn snapshot(&mut self, _: u32, _: NamedTensors) -> Result<(), TrainError> {
        Ok(())
    }

    fn step(&mut self, at: EpochPosition, state: &dyn Fn() -> Vec<u8>) -> Result<(), TrainError> {
        if !self.interrupted() {
            return Ok(());
        }
        self.kept = Some((at, state()));
        Err(TrainError::Interrupted(at))
    }

    fn interrupted(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left == 0
    }
}

static CPU: LazyLock<EngineDevice> = LazyLock::new(common::cpu);

fn catalog() -> Catalog {
    Catalog::new(repository().join("data"))
}

fn inputs<'a>(
    catalog: &'a Catalog,
    parent: Option<&'a NamedTensors>,
    resume: Option<&'a [u8]>,
) -> Inputs<'a> {
    let resume = resume.map(|bytes| ("key", bytes));
    Inputs { catalog, device: &*CPU, parent, resume, key: "key" }
}

fn everything(trained: &Trained) -> (Vec<u8>, String) {
    let metrics = serde_json::to_string(&trained.metrics).unwrap();
    (weights::to_bytes(&trained.weights(), None), metrics)
}

/// Interrupts a run every time that it can be, once each, and then again and again.
fn every_moment(spec: &RunSpec, parent: Option<&NamedTensors>) {
    let catalog = catalog();
    let whole = train::train(spec, &inputs(&catalog, parent, None), &mut Unobserved).unwrap();
    let expected = everything(&whole);
    let mut places = Vec::new();
    for moment in 0.. {
        let mut stops = Stops::after(moment);
        let Err(problem) = train::train(spec, &inputs(&catalog, parent, None), &mut stops) else {
            break;
        };
        let (place, bytes) = stops.kept.unwrap_or_else(|| panic!("{problem}"));
        let resumed = inputs(&catalog, parent, Some(&bytes));
        let resumed = train::train(spec, &resumed, &mut Unobserved).unwrap();
        assert!(everything(&resumed) == expected, "interrupted {place}");
        places.push(place);
    }
    let within = |p: &&EpochPosition| p.batches > 0 && p.batches < p.total_batches;
    assert!(places.iter().filter(within).count() >= 3, "{places:?}");
    assert!(
        places.iter().any(|p| p.batches == p.total_batches),
        "no evaluation was interrupted: {places:?}"
    );
    // As on a machine that is wanted for something else every few steps.
    let mut kept: Option<Vec<u8>> = None;
    for call in 0.. {
        assert!(call < 10 * places.len(), "it does not come to an end");
        let mut stops = Stops::after(5);
        let resumed = inputs(&catalog, parent, kept.as_deref());
        match train::train(spec, &resumed, &mut stops) {
            Ok(trained) => {
                assert!(everything(&trained) == expected, "after {call} interruptions");
                assert!(call > 2, "only {call} interruptions");
                return;
            }
            Err(problem) => kept = Some(stops.kept.unwrap_or_else(|| panic!("{problem}")).1),
        }
    }
}

fn trained(spec: &RunSpec) -> NamedTensors {
    let catalog = catalog();
    let trained = train::train(spec, &inputs(&catalog, None, None), &mut Unobserved).unwrap();
    trained.weights()
}

#[test]
fn the_toy_with_momentum_is_the_same_from_every_moment() {
    every_moment(&toy_run(4), None);
}

#[test]
fn batch_norm_augmentation_and_a_schedule_are_the_same_from_every_moment() {
    let chain = small_chain();
    every_moment(&chain, Some(&trained(chain.parent().unwrap())));
}

#[test]
fn adam_a_plateau_and_memorization_are_the_same_from_every_moment() {
    let mut spec = small_chain();
    spec.start = Start::Random { scale: 1.0 };
    spec.network = NetworkSpec { arch: Arch::Mlp, width: 16, batch_norm: false };
    spec.train.optimizer = Optimizer::Adam { weight_decay: 1e-4 };
    spec.train.learning_rate = 1e-2;
    // One example is labelled by chance, so that epochs differ in how they come out.
    spec.train.schedule = Schedule::Plateau { patience: 1, factor: 0.5 };
    spec.train.stop = Stop::Memorized { max_epochs: 6, check_from: 0.0 };
    spec.train.evaluate_every = 2;
    every_moment(&spec, None);
}

#[test]
fn every_measurement_can_be_broken_off() {
    let chain = small_chain();
    let parent = trained(chain.parent().unwrap());
    let source = Source::open(&chain, &catalog()).unwrap();
    let graph = Graph::new(&chain.network, source.signature());
    let state = train::start(&chain, &graph, source.seed(), Some(&parent)).unwrap();
    let mut backend = train::open(&chain, &graph, &state, &*CPU).unwrap();
    let snapshots = BTreeMap::new();
    let pgd = AttackMethod::Pgd { steps: 2 };
    for measure in [
        MeasureSpec::Norms,
        MeasureSpec::Attack { method: pgd, epsilon: vec![0.1], images: 10 },
        MeasureSpec::Sharpness { iterations: 2, images: 10 },
        MeasureSpec::Coherence { images: 10 },
        MeasureSpec::Interpolation { points: 3, toward: Toward::RandomStart },
    ] {
        let asked = Cell::new(0);
        let stop_at = Cell::new(u32::MAX);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > stop_at.get()
        };
        let mut subject = Subject {
            spec: &chain,
            source: &source,
            graph: &graph,
            state: &state,
            backend: &mut *backend,
            snapshots: &snapshots,
            counterpart: Some(&parent),
            stop: &stop,
        };
        let whole = measure.measure(&mut subject).unwrap();
        let times = asked.get();
        assert!(times > 1, "{measure:?} asks {times} times");
        for moment in [0, times - 1] {
            asked.set(0);
            stop_at.set(moment);
            let stopped = measure.measure(&mut subject);
            assert!(
                matches!(stopped, Err(MeasureError::Incomplete(Incomplete::Stopped))),
                "{measure:?}: {stopped:?}"
            );
        }
        stop_at.set(u32::MAX);
        assert_eq!(measure.measure(&mut subject).unwrap(), whole);
    }
}

/// One epoch of some seconds, and nothing else that takes time.
fn one_long_epoch() -> RunSpec {
    let mut spec = small_chain();
    spec.network.width = 8;
    spec.start = Start::Random { scale: 1.0 };
    spec.train.corruption = Some(bad_global_minima::corrupt::CorruptionSpec {
        replication: 160,
        ..common::corruption()
    });
    spec.train.schedule = Schedule::Constant;
    spec.train.learning_rate = 0.01;
    spec.train.stop = Stop::Epochs(2);
    spec.train.evaluate_every = 2;
    spec
}

fn start(place: &Workplace, spec: &Path, more: &[&str]) -> Child {
    let arguments = [&["run", spec.to_str().unwrap()], more].concat();
    let mut command = place.command(&arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn files(place: &Workplace, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![place.path("runs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(ending) {
                found.push(entry.path());
            }
            if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

fn wait_for(place: &Workplace, ending: &str, child: &mut Child) {
    let begun = Instant::now();
    while files(place, ending).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before there was a {ending}");
        assert!(begun.elapsed() < Duration::from_secs(120), "there is never a {ending}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One of the signal masks of a process, by its name in `/proc`.
fn mask(pid: &str, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |mask| u64::from_str_radix(mask.trim_start_matches(':').trim(), 16).unwrap())
}

/// Waits until a process is past loading its libraries, during which a signal is the system's
/// business: it waits for SIGTERM then, which is why it blocks it.
fn wait_until_it_listens(child: &Child) {
    let begun = Instant::now();
    while mask(&child.id().to_string(), "SigBlk") >> 14 & 1 == 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "it never listens");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Signals a process; what it said, and its exit code, which must come within ten seconds.
fn end(child: Child, name: &str) -> (Option<i32>, String) {
    wait_until_it_listens(&child);
    let asked = Instant::now();
    signal(child.id(), name);
    let output = child.wait_with_output().unwrap();
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}: {}", text(&output.stderr));
    (output.status.code(), text(&output.stderr))
}

fn checkpoint(place: &Workplace) -> Option<Progress> {
    let path = files(place, "checkpoint.safetensors").pop()?;
    let bytes = std::fs::read(path).ok()?;
    Some(Progress::read(record::unseal(&bytes).expect("a whole checkpoint")).unwrap())
}

#[test]
fn signals_in_the_middle_of_an_epoch_lose_nothing() {
    let undisturbed = Workplace::new();
    let expected = undisturbed.run(&undisturbed.spec_file("spec.json", &one_long_epoch()));
    let place = Workplace::new();
    let spec = place.spec_file("spec.json", &one_long_epoch());
    let now = || {
        let progress = checkpoint(&place)?;
        Some((progress.epoch, progress.position.map_or(0, |position| position.batches)))
    };
    // Under `nohup`, this test cannot make it heed SIGHUP.
    let hang_up = if mask("self", "SigIgn") & 1 == 0 { "HUP" } else { "TERM" };
    let mut last = None;
    for name in ["TERM", "INT", hang_up] {
        // After every batch: a checkpoint that is only due at times may, on a slow disk, not
        // come again before the run ends.
        let mut child = start(&place, &spec, &["--checkpoint-seconds", "0"]);
        // Until it is further than it was, and within an epoch.
        while now() <= last || now().is_some_and(|(_, batches)| batches == 0) {
            if child.try_wait().unwrap().is_some() {
                let output = child.wait_with_output().unwrap();
                panic!("before {name}, past {last:?}: {}, {}", output.status, text(&output.stderr));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let (code, said) = end(child, name);
        assert_eq!(code, Some(75), "{name}: {said}");
        assert_eq!(files(&place, ".lock"), Vec::<PathBuf>::new(), "a lock is left behind");
        // What it says of where it was is where the next call goes on.
        let (epoch, batches) = now().expect("a checkpoint");
        let place = EpochPosition { epoch: epoch + 1, batches, total_batches: 400 };
        let says = format!("bgm: interrupted {place}; the next call goes on from there");
        assert!(said.contains(&says), "'{says}' is not in: {said}");
        last = Some((epoch, batches));
    }
    assert_eq!(place.run(&spec), expected, "after {last:?}");
}

#[test]
fn a_trace_that_trains_a_parent_first_can_be_stopped_too() {
    let place = Workplace::new();
    let mut child = small_chain();
    child.network.width = one_long_epoch().network.width;
    child.start = Start::Run(Box::new(one_long_epoch()));
    let (spec, out) = (place.spec_file("spec.json", &child), place.path("trace"));
    let arguments =
        ["trace", spec.to_str().unwrap(), "--steps", "2", "--out", out.to_str().unwrap()];
    let mut command = place.command(&arguments);
    let mut tracing = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&place, ".lock", &mut tracing);
    let (code, said) = end(tracing, "TERM");
    assert_eq!(code, Some(75), "{said}");
    assert!(checkpoint(&place).is_some(), "what the parent had learned is kept");
    let output = place.bgm(&arguments);
    assert!(output.status.success() && out.exists(), "{}", text(&output.stderr));
}

#[test]
fn a_trace_that_is_stopped_ends_at_the_next_step_and_writes_nothing() {
    let place = Workplace::new();
    let (spec, out) = (place.spec_file("spec.json", &one_long_epoch()), place.path("trace"));
    let out_text = out.to_str().unwrap();
    let mut command =
        place.command(&["trace", spec.to_str().unwrap(), "--steps", "100000", "--out", out_text]);
    let tracing = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until_it_listens(&tracing);
    let asked = Instant::now();
    let (code, said) = end(tracing, "INT");
    // A process that does not stop by itself is ended after 8.5 seconds.
    assert!(asked.elapsed() < Duration::from_secs(6), "{said}");
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains(out_text) && !out.exists(), "{said}");
}

#[test]
fn what_is_kept_along_the_way_is_not_lost() {
    let mut run = toy_run(60_000);
    run.train.evaluate_every = 6_000;
    run.train.snapshots = vec![2, 40];
    let undisturbed = Workplace::new();
    let expected = undisturbed.run(&undisturbed.spec_file("spec.json", &run));
    let place = Workplace::new();
    let spec = place.spec_file("spec.json", &run);
    let interrupt = || {
        let mut child = start(&place, &spec, &["--checkpoint-seconds", "0.01"]);
        wait_for(&place, "snapshot-00040.safetensors", &mut child);
        wait_for(&place, "checkpoint.safetensors", &mut child);
        let (code, said) = end(child, "TERM");
        assert_eq!(code, Some(75), "{said}");
        said
    };
    interrupt();
    let first = checkpoint(&place).unwrap().epoch;
    assert!(first >= 40, "{first}");
    assert!(!interrupt().contains("from its start"));
    assert!(checkpoint(&place).unwrap().epoch >= first);
    // One that is damaged is not used, and neither is the checkpoint then.
    let path = files(&place, "snapshot-00002.safetensors").pop().unwrap();
    std::fs::write(&path, b"x").unwrap();
    let output = place.bgm(&["run", spec.to_str().unwrap()]);
    let said = text(&output.stderr);
    assert!(said.contains("snapshot-00002") && said.contains("from its start"), "{said}");
    assert_eq!(text(&output.stdout).trim(), format!("{} {}", expected.0, expected.1));
}

#[test]
fn a_checkpoint_of_another_version_is_named_and_not_used() {
    let place = Workplace::new();
    let spec = place.spec_file("spec.json", &toy_run(3));
    let (key, hash) = place.run(&spec);
    std::fs::remove_dir_all(place.path("runs")).unwrap();
    let partial = place.path("runs").join(format!("{key}.partial"));
    std::fs::create_dir_all(&partial).unwrap();
    // What the first version said of itself.
    let progress = r#"{"key":"k","epoch":1,"schedule":{"drops":0,"best":null,"stale":0},
        "evaluations":[]}"#;
    let bytes = weights::to_bytes(&trained(&toy_run(1)), Some(progress.to_owned()));
    std::fs::write(partial.join("checkpoint.safetensors"), record::seal(&bytes)).unwrap();
    let output = place.bgm(&["run", spec.to_str().unwrap()]);
    let said = text(&output.stderr);
    assert_eq!(text(&output.stdout).trim(), format!("{key} {hash}"), "{said}");
    assert!(said.contains("version 1") && said.contains("from its start"), "{said}");
}

#[test]
fn who_waits_or_reads_ends_too() {
    // Something that never ends to read: nothing can be saved, and nothing is waited for.
    let place = Workplace::new();
    let mut child = place.start_unfed();
    let open = child.stdin.take();
    std::thread::sleep(Duration::from_millis(500));
    let (code, said) = end(child, "TERM");
    assert_eq!(code, Some(75), "{said}");
    drop(open);
    // A run that another process works on.
    let spec = place.spec_file("spec.json", &toy_run(2_000_000));
    let mut holder = start(&place, &spec, &[]);
    wait_for(&place, ".lock", &mut holder);
    let waiting = start(&place, &spec, &[]);
    std::thread::sleep(Duration::from_millis(1500));
    let (code, said) = end(waiting, "TERM");
    assert_eq!(code, Some(75), "{said}");
    assert_eq!(end(holder, "TERM").0, Some(75));
}

#[test]
fn signals_that_the_caller_ignores_are_heeded_and_nohup_is_too() {
    let place = Workplace::new();
    let spec = place.spec_file("spec.json", &toy_run(2_000_000));
    let begin = |ignored: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("trap '' {ignored}; exec \"$0\" \"$@\"")]);
        command.arg(env!("CARGO_BIN_EXE_bgm")).current_dir(repository());
        command.args(["--device", "cpu", "--store"]).arg(place.path("runs")).arg("run").arg(&spec);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&place, ".lock", &mut child);
        child
    };
    // As shells start things in the background.
    let (code, said) = end(begin("INT QUIT"), "INT");
    assert_eq!(code, Some(75), "{said}");
    let mut child = begin("HUP");
    signal(child.id(), "HUP");
    std::thread::sleep(Duration::from_millis(700));
    assert!(child.try_wait().unwrap().is_none(), "nohup was of no use");
    assert_eq!(end(child, "TERM").0, Some(75));
}

#[test]
fn reproduce_passes_a_signal_on_and_loses_nothing() {
    let tables_of = |place: &Workplace| longer_tables(place);
    let reproduce = |place: &Workplace| {
        let (tables, out) = (tables_of(place), place.path("out"));
        let (tables, out) = (tables.to_str().unwrap(), out.to_str().unwrap());
        let mut command = place.command(&[
            "--tables",
            tables,
            "--profile",
            "tiny",
            "reproduce",
            "--jobs",
            "2",
            "--out",
            out,
        ]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let table = |place: &Workplace| {
        std::fs::read_to_string(place.path("out/tables/tiny.csv")).expect("a table")
    };
    let undisturbed = Workplace::new();
    let output = reproduce(&undisturbed).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "not blessed: {}", text(&output.stderr));
    let place = Workplace::new();
    let mut child = reproduce(&place).spawn().unwrap();
    wait_for(&place, ".lock", &mut child);
    // To this process alone: its children learn of it from their parent.
    let asked = Instant::now();
    signal(child.id(), "TERM");
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}: {said}", asked.elapsed());
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("nothing is lost") && !said.contains("failed"), "{said}");
    assert_eq!(files(&place, ".lock"), Vec::<PathBuf>::new(), "a child is still there");
    assert!(!files(&place, "checkpoint.safetensors").is_empty(), "nothing was saved");
    let again = reproduce(&place).output().unwrap();
    assert_eq!(again.status.code(), Some(3), "{}", text(&again.stderr));
    assert_eq!(table(&place), table(&undisturbed));
}

#[test]
fn a_chain_is_gone_on_with_wherever_it_was() {
    // Long enough that neither stage ends between its checkpoint and the signal.
    let chain = toy_chain(60_000, 60_000);
    let undisturbed = Workplace::new();
    let parent = chain.parent().expect("a chain has a parent");
    let (parent, _) = undisturbed.run(&undisturbed.spec_file("parent.json", parent));
    let expected = undisturbed.run(&undisturbed.spec_file("spec.json", &chain));
    let place = Workplace::new();
    let spec = place.spec_file("spec.json", &chain);
    for stage in [&parent, &expected.0] {
        let saved = place.path("runs").join(format!("{stage}.partial/checkpoint.safetensors"));
        for _ in 0..2 {
            let before = std::fs::metadata(&saved).and_then(|file| file.modified()).ok();
            let mut child = start(&place, &spec, &["--checkpoint-seconds", "0.01"]);
            while std::fs::metadata(&saved).and_then(|file| file.modified()).ok() == before {
                assert!(child.try_wait().unwrap().is_none(), "it ended before it was saved");
                std::thread::sleep(Duration::from_millis(2));
            }
            let (code, said) = end(child, "TERM");
            assert_eq!(code, Some(75), "{said}");
        }
    }
    assert_eq!(place.run(&spec), expected);
}
