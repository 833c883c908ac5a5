//! Several processes on one store, and what they leave behind: each run is trained exactly
//! once, whoever dies, and whatever a clock says.

mod common;

use bad_global_minima::store::lock::{Holder, Silence, try_lock};
use common::{Workplace, text, toy_chain, toy_run};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant, SystemTime};

/// Starts `bgm run`, reporting every epoch on its standard output.
fn start(place: &Workplace, spec: &Path) -> Child {
    place
        .command(&["run", spec.to_str().unwrap(), "--progress-json"])
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
    let children: Vec<Child> = (0..count).map(|_| start(&place, &spec)).collect();
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
    let mut holder = start(&place, &spec);
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
    let mut next = start(&place, &spec);
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
        assert!(try_lock(&path, &mut silence).unwrap().is_none(), "beat {beat}");
        std::thread::sleep(patience / 2);
        assert!(try_lock(&path, &mut silence).unwrap().is_none(), "beat {beat}");
        std::thread::sleep(patience / 4);
    }
    std::thread::sleep(patience);
    let guard = try_lock(&path, &mut silence).unwrap().expect("nobody lives there any more");
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
        assert!(try_lock(&path, &mut silence).unwrap().is_none());
        std::thread::sleep(patience / 2);
        set();
        assert!(try_lock(&path, &mut silence).unwrap().is_none());
        std::thread::sleep(patience);
        set();
        assert!(try_lock(&path, &mut silence).unwrap().is_some());
    }
    // The living holder of this machine keeps it, whatever the time.
    let guard = try_lock(&path, &mut Silence::default()).unwrap().unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - years).unwrap();
    let mut impatient = Silence::of(Duration::ZERO);
    assert!(try_lock(&path, &mut impatient).unwrap().is_none());
    std::thread::sleep(Duration::from_millis(20));
    assert!(try_lock(&path, &mut impatient).unwrap().is_none());
    drop(guard);
}

#[test]
fn a_process_id_that_came_again_is_another_process() {
    let place = Workplace::new();
    let path = place.path("key.lock");
    let me = Holder::me();
    lock_of(&path, &Holder { started: me.started - 1, ..me.clone() });
    assert!(try_lock(&path, &mut Silence::default()).unwrap().is_some());
    // And one that is not there at all: the largest that Linux gives.
    lock_of(&path, &Holder { pid: 4_194_304, ..me });
    assert!(try_lock(&path, &mut Silence::default()).unwrap().is_some());
}

#[test]
fn a_lock_that_was_cut_off_or_is_no_lock_is_taken_over() {
    let place = Workplace::new();
    let path = place.path("key.lock");
    for content in ["", "{\"host\":\"a\",\"pi", "nonsense"] {
        std::fs::write(&path, content).unwrap();
        let mut silence = Silence::of(Duration::from_millis(50));
        assert!(try_lock(&path, &mut silence).unwrap().is_none(), "{content}");
        std::thread::sleep(Duration::from_millis(80));
        assert!(try_lock(&path, &mut silence).unwrap().is_some(), "{content}");
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
                        try_lock(&path, &mut Silence::default()).unwrap()
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(held.len(), 1, "round {round}");
    }
}
