//! Several processes on one store, and what they leave behind: each run is trained exactly
//! once, whoever dies, and whatever a clock says.

mod common;

use bad_global_minima::data::Catalog;
use bad_global_minima::disk;
use bad_global_minima::experiments::KeyMaker;
use bad_global_minima::schedule::context::Context;
use bad_global_minima::schedule::worker::{self, Made};
use bad_global_minima::spec::RunSpec;
use bad_global_minima::store::lock::{CLAIMS, Holder, Silence, try_lock};
use bad_global_minima::store::{Finished, Store, StoreError, StoredRun, paths};
use common::{Workplace, copy_folder, repository, text, toy_chain, toy_run};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Starts `bgm run`, reporting every epoch on its standard output.
fn start(place: &Workplace, spec: &Path, more: &[&str]) -> Child {
    place
        .command(&["run", spec.to_str().unwrap(), "--progress-json"])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets `count` processes make the same chain at once, and counts how often each of its two
/// runs was begun: the first epoch is reported by whoever trains it.
fn together(count: usize) {
    let alone = Workplace::new();
    let chain = toy_chain(300, 200);
    let expected = alone.run(&alone.spec_file("spec.json", &chain));
    let place = Workplace::new();
    let spec = place.spec_file("spec.json", &chain);
    let children: Vec<Child> = (0..count).map(|_| start(&place, &spec, &[])).collect();
    let mut reported = String::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        reported += &text(&output.stdout);
    }
    for epochs in [300, 200] {
        let first = format!("{{\"epoch\":1,\"most\":{epochs}}}");
        let all = format!(",\"most\":{epochs}}}");
        assert_eq!(reported.lines().filter(|line| *line == first).count(), 1, "{count} processes");
        assert_eq!(reported.lines().filter(|line| line.ends_with(&all)).count(), epochs as usize);
    }
    assert_eq!(place.run(&spec), expected);
}

#[test]
fn two_processes_train_each_run_once() {
    together(2);
}

#[test]
fn eight_processes_train_each_run_once() {
    together(8);
}

#[test]
fn who_dies_holding_a_lock_is_succeeded_at_once() {
    let place = Workplace::new();
    // Minutes long, were it left alone.
    let spec = place.spec_file("spec.json", &toy_run(2_000_000));
    let mut holder = start(&place, &spec, &[]);
    let locks = || {
        let entries = std::fs::read_dir(place.path("runs")).into_iter().flatten().flatten();
        entries.filter(|e| e.path().extension().is_some_and(|ending| ending == "lock")).count()
    };
    let started = Instant::now();
    while locks() == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "no lock was ever made");
        std::thread::sleep(Duration::from_millis(10));
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(locks(), 1, "SIGKILL leaves the lock behind");
    let mut next = start(&place, &spec, &[]);
    let mut line = String::new();
    let mut out = std::io::BufReader::new(next.stdout.take().unwrap());
    let started = Instant::now();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert!(line.contains("epoch"), "{line}");
    assert!(started.elapsed() < Duration::from_secs(20), "waited for a dead process");
    next.kill().unwrap();
    next.wait().unwrap();
}

fn lock_of(path: &Path, holder: &Holder) {
    std::fs::write(path, serde_json::to_vec(holder).unwrap()).unwrap();
}

fn elsewhere(beat: u64) -> Holder {
    Holder { host: "elsewhere/1/2".to_owned(), beat, ..Holder::me() }
}

#[test]
fn a_lock_of_another_machine_is_waited_for_while_it_beats_and_no_longer() {
    let place = Workplace::new();
    let path = place.path("key.lock");
    let patience = Duration::from_millis(400);
    let mut silence = Silence::of(patience);
    for beat in 0..4 {
        lock_of(&path, &elsewhere(beat));
        assert!(try_lock(&path, &mut silence, &Holder::me()).unwrap().is_none(), "beat {beat}");
        std::thread::sleep(patience / 2);
        assert!(try_lock(&path, &mut silence, &Holder::me()).unwrap().is_none(), "beat {beat}");
        std::thread::sleep(patience / 4);
    }
    std::thread::sleep(patience);
    let guard =
        try_lock(&path, &mut silence, &Holder::me()).unwrap().expect("nobody lives there any more");
    let own: Holder = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(own, Holder::me());
    drop(guard);
    assert!(!path.exists());
}

#[test]
fn clocks_that_jump_change_nothing() {
    let place = Workplace::new();
    let path = place.path("key.lock");
    let years = Duration::from_secs(40 * 365 * 86_400);
    let patience = Duration::from_millis(300);
    for time in [SystemTime::now() + years, SystemTime::now() - years] {
        let mut silence = Silence::of(patience);
        lock_of(&path, &elsewhere(0));
        let set = || {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(time).unwrap();
        };
        set();
        // However old or young the file says it is, it is waited for as long.
        assert!(try_lock(&path, &mut silence, &Holder::me()).unwrap().is_none());
        std::thread::sleep(patience / 2);
        set();
        assert!(try_lock(&path, &mut silence, &Holder::me()).unwrap().is_none());
        std::thread::sleep(patience);
        set();
        assert!(try_lock(&path, &mut silence, &Holder::me()).unwrap().is_some());
    }
    // The living holder of this machine keeps it, whatever the time.
    let guard = try_lock(&path, &mut Silence::default(), &Holder::me()).unwrap().unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - years).unwrap();
    let mut impatient = Silence::of(Duration::ZERO);
    assert!(try_lock(&path, &mut impatient, &Holder::me()).unwrap().is_none());
    std::thread::sleep(Duration::from_millis(20));
    assert!(try_lock(&path, &mut impatient, &Holder::me()).unwrap().is_none());
    drop(guard);
}

#[test]
fn a_process_id_that_came_again_is_another_process() {
    let place = Workplace::new();
    let path = place.path("key.lock");
    let me = Holder::me();
    lock_of(&path, &Holder { started: me.started - 1, ..me.clone() });
    assert!(try_lock(&path, &mut Silence::default(), &Holder::me()).unwrap().is_some());
    // And one that is not there at all: the largest that Linux gives.
    lock_of(&path, &Holder { pid: 4_194_304, ..me });
    assert!(try_lock(&path, &mut Silence::default(), &Holder::me()).unwrap().is_some());
}

#[test]
fn a_lock_that_was_cut_off_or_is_no_lock_is_taken_over() {
    let place = Workplace::new();
    let path = place.path("key.lock");
    for content in ["", "{\"host\":\"a\",\"pi", "nonsense"] {
        std::fs::write(&path, content).unwrap();
        let mut silence = Silence::of(Duration::from_millis(50));
        assert!(try_lock(&path, &mut silence, &Holder::me()).unwrap().is_none(), "{content}");
        std::thread::sleep(Duration::from_millis(80));
        assert!(try_lock(&path, &mut silence, &Holder::me()).unwrap().is_some(), "{content}");
    }
}

#[test]
fn one_of_many_takes_over_what_was_left_behind() {
    let place = Workplace::new();
    let me = Holder::me();
    for round in 0..200 {
        let path = place.path(&format!("{round}.lock"));
        lock_of(&path, &Holder { started: me.started - 1, ..me.clone() });
        let all = Barrier::new(8);
        let held: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        all.wait();
                        try_lock(&path, &mut Silence::default(), &Holder::me()).unwrap()
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(held.len(), 1, "round {round}");
    }
}

#[test]
fn machines_that_know_nothing_of_each_other_take_over_one_after_the_other() {
    let place = Workplace::new();
    for round in 0..4 {
        let path = place.path(&format!("{round}.lock"));
        lock_of(&path, &elsewhere(0));
        let (all, inside, held) = (Barrier::new(6), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for number in 0..6 {
                let (all, inside, held, path) = (&all, &inside, &held, &path);
                scope.spawn(move || {
                    let me = Holder::me().on(&format!("machine {number}"));
                    // Far longer than a busy machine may let a thread of this test wait: who is
                    // silent for longer counts as dead, and rightly.
                    let mut silence = Silence::of(Duration::from_millis(1500));
                    all.wait();
                    let guard = loop {
                        if let Some(guard) = try_lock(path, &mut silence, &me).unwrap() {
                            break guard;
                        }
                        std::thread::sleep(Duration::from_millis(3));
                    };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold one lock");
                    held.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(10));
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(guard);
                });
            }
        });
        assert_eq!(held.into_inner(), 6);
        assert!(!path.exists());
        let claims = std::fs::read_dir(place.path(CLAIMS)).unwrap().count();
        assert_eq!(claims, 0, "claims are left");
    }
}

/// What one machine of several does with a run.
fn work(store: &Store, spec: &RunSpec, patience: Duration, notice: &dyn Fn(&str)) -> Made {
    let catalog = Catalog::new(repository().join("data"));
    let context = Context {
        store,
        catalog: &catalog,
        device: &common::cpu(),
        commit: "test",
        checkpoint_every: Duration::from_millis(5),
        lock_patience: patience,
        progress: &|_, _| {},
        notice,
    };
    worker::run(spec, &context).unwrap().1
}

fn key_of(spec: &RunSpec) -> bad_global_minima::spec::Key {
    KeyMaker::new(&Catalog::new(repository().join("data"))).key(spec).unwrap()
}

#[test]
fn a_machine_that_went_away_is_succeeded_and_its_checkpoint_used() {
    let spec = toy_run(600);
    let whole = Workplace::new();
    let store = Store::open(whole.path("runs")).unwrap();
    assert_eq!(work(&store, &spec, Duration::ZERO, &|_| {}), Made::Now);
    let key = key_of(&spec);
    let expected = store.read(&key).unwrap();
    // What a process on another machine leaves behind if the machine goes down.
    let place = Workplace::new();
    let file = place.spec_file("spec.json", &spec);
    // Saved at every step, or it would be finished before anything is.
    let mut child = start(&place, &file, &["--checkpoint-seconds", "0"]);
    let checkpoint = paths::checkpoint(&place.path("runs"), &key);
    let begun = Instant::now();
    while !checkpoint.exists() && child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let root = place.path("runs");
    assert!(!paths::run(&root, &key).exists(), "it was finished before it could be killed");
    lock_of(&paths::lock(&root, &key), &elsewhere(7));
    let half = paths::staging(&root, &key, &elsewhere(0).token());
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("weights.safetensors"), b"half").unwrap();
    let begun = Instant::now();
    let patience = Duration::from_millis(1200);
    let store = Store::open(&root).unwrap().on("another machine");
    work(&store, &spec, patience, &|said| panic!("{said}"));
    assert!(begun.elapsed() >= patience, "it did not wait for a sign of life");
    let found = store.read(&key).unwrap();
    assert_eq!((found.result_hash, found.metrics), (expected.result_hash, expected.metrics));
    assert!(!paths::partial(&root, &key).exists() && !paths::lock(&root, &key).exists());
}

#[test]
fn a_run_that_is_finished_elsewhere_while_one_waits_is_picked_up() {
    let spec = toy_run(50);
    let whole = Workplace::new();
    assert_eq!(
        work(&Store::open(whole.path("runs")).unwrap(), &spec, Duration::ZERO, &|_| {}),
        Made::Now
    );
    let key = key_of(&spec);
    let place = Workplace::new();
    let root = place.path("runs");
    let store = Store::open(&root).unwrap().on("here");
    // A machine that lives on, with its clock an hour off, and never lets go.
    let lock = paths::lock(&root, &key);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for beat in 0.. {
                if done.load(Ordering::SeqCst) {
                    return;
                }
                lock_of(&lock, &elsewhere(beat));
                let file = std::fs::File::options().write(true).open(&lock).unwrap();
                file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
                std::thread::sleep(Duration::from_millis(50));
                if beat == 20 {
                    let aside = root.join("aside");
                    copy_folder(&paths::run(&whole.path("runs"), &key), &aside);
                    std::fs::rename(aside, paths::run(&root, &key)).unwrap();
                }
            }
        });
        while !lock.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Longer than the beats are apart, shorter than the machine lives.
        let made = work(&store, &spec, Duration::from_millis(400), &|said| panic!("{said}"));
        done.store(true, Ordering::SeqCst);
        assert_eq!(made, Made::Already);
    });
}

/// A stored run as something to be stored, with a change that tells it from the other.
fn again(store: &Store, run: &StoredRun, shift: f64) -> Result<String, StoreError> {
    let mut metrics = run.metrics.clone();
    metrics.evaluations[0].train_loss += shift;
    store.commit(&Finished {
        key: &run.key,
        spec: &run.spec,
        metrics: &metrics,
        weights: &run.weights(None).unwrap(),
        snapshots: &BTreeMap::new(),
        environment: &run.environment,
    })
}

fn one_stored_run() -> (Workplace, StoredRun) {
    let whole = Workplace::new();
    let store = Store::open(whole.path("runs")).unwrap();
    let spec = toy_run(3);
    assert_eq!(work(&store, &spec, Duration::ZERO, &|_| {}), Made::Now);
    let run = store.read(&key_of(&spec)).unwrap();
    (whole, run)
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    names.sort();
    names
}

#[test]
fn several_that_finish_the_same_run_at_once_leave_one() {
    let (_whole, run) = one_stored_run();
    let place = Workplace::in_memory();
    for round in 0..60 {
        let root = place.path(&format!("{round}"));
        let all = Barrier::new(4);
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (root, all, run) = (&root, &all, run.clone());
                // Each took the others for dead: no lock holds any of them back.
                scope.spawn(move || {
                    let store = Store::open(root).unwrap().on(&format!("machine {number}"));
                    all.wait();
                    assert_eq!(again(&store, &run, 0.0).unwrap(), run.result_hash);
                });
            }
        });
        let store = Store::open(&root).unwrap();
        assert_eq!(store.read(&run.key).unwrap().result_hash, run.result_hash);
        store.tidy(&run.key).unwrap();
        assert_eq!(names(&root), [paths::run(&root, &run.key)], "round {round}");
    }
}

#[test]
fn another_result_for_a_run_is_refused_and_the_first_one_stays() {
    let (whole, run) = one_stored_run();
    let store = Store::open(whole.path("runs")).unwrap();
    let refused = again(&store, &run, 1.0).unwrap_err();
    assert!(matches!(refused, StoreError::Differs { .. }), "{refused}");
    assert!(refused.to_string().contains(&run.result_hash), "{refused}");
    assert_eq!(store.read(&run.key).unwrap().metrics, run.metrics);
    assert_eq!(names(store.root()), [paths::run(store.root(), &run.key)]);
    // One that is damaged gives way, and is kept for a look at it.
    std::fs::write(paths::run(store.root(), &run.key).join("metrics.json"), b"{}").unwrap();
    again(&store, &run, 0.0).unwrap();
    assert_eq!(store.read(&run.key).unwrap().metrics, run.metrics);
    assert!(paths::damaged(store.root(), &run.key, 0).exists());
}

#[test]
fn a_folder_with_something_in_it_is_never_replaced() {
    let place = Workplace::new();
    let (from, to) = (place.path("from"), place.path("to"));
    for folder in [&from, &to] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("file"), folder.to_str().unwrap()).unwrap();
    }
    let refused = disk::rename(&from, &to).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::DirectoryNotEmpty);
    assert_eq!(std::fs::read_to_string(to.join("file")).unwrap(), to.to_str().unwrap());
    assert!(from.join("file").exists());
}

#[test]
fn names_that_only_one_process_writes() {
    let me = Holder::me();
    let others = [
        me.clone().on("elsewhere"),
        Holder { pid: me.pid + 1, ..me.clone() },
        Holder { started: me.started + 1, ..me.clone() },
    ];
    assert_eq!(Holder { beat: 9, ..me.clone() }.token(), me.token());
    assert!(others.iter().all(|other| other.token() != me.token()));
}
