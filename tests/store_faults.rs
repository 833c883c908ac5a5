//! Faults of the disk at every operation of the store: crashes, half-written files, a full
//! or read-only disk, power cuts that take back what was not synced. After each one: no
//! number is wrong, no finished run is lost, and the next call goes on to the same bits.
//!
//! `make test-long` strikes some of the operations, `make faults` (`BGM_FAULTS=all`) all of them, and
//! every third or sixth one of processes of their own.
#![cfg(feature = "planted-faults")]

mod common;

use bad_global_minima::data::Catalog;
use bad_global_minima::disk::faults::{self, Crashed, Kind};
use bad_global_minima::experiments::KeyMaker;
use bad_global_minima::experiments::results::Measured;
use bad_global_minima::measure::MeasureSpec;
use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::schedule::context::Context;
use bad_global_minima::schedule::worker;
use bad_global_minima::spec::{Key, RunSpec};
use bad_global_minima::store::lock::CLAIMS;
use bad_global_minima::store::merge::Options;
use bad_global_minima::store::{Lookup, Store};
use bad_global_minima::train::metrics::Metrics;
use common::{Workplace, copy_folder, repository, text, toy_chain, toy_run};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The simulated disk is one for the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Epochs of each run: all different, since progress reports name a run only by them.
const EPOCHS: [u32; 3] = [5, 3, 4];

fn everything() -> bool {
    std::env::var("BGM_FAULTS").is_ok_and(|wanted| wanted == "all")
}

/// Every n-th operation is struck; this is n.
fn stride(short: usize) -> usize {
    if everything() { 1 } else { short }
}

const MEASURES: [MeasureSpec; 1] = [MeasureSpec::Boundary { columns: 5, reach: 3.0 }];

/// What the undisturbed runs gave.
struct Truth {
    /// One that was finished long ago, a parent, its child.
    specs: [RunSpec; 3],
    keys: [Key; 3],
    runs: Vec<(String, Metrics)>,
    measured: Measured,
    /// A store with the first run alone.
    before: PathBuf,
    /// A store with everything.
    after: PathBuf,
    grave: PathBuf,
    place: Workplace,
}

/// How the work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Done,
    /// With an error in words.
    Refused,
    Crashed,
}

/// Makes the child (and with it the parent) and its measurement. Returns how it ended, what
/// it said, and the runs that were trained.
fn work(truth: &Truth, root: &Path) -> (End, String, BTreeSet<u32>) {
    let (said, trained) = (RefCell::new(String::new()), RefCell::new(BTreeSet::new()));
    let catalog = Catalog::new(repository().join("data"));
    let (end, problem) = ended(|| {
        let store = Store::open(root).map_err(|e| e.to_string())?;
        let context = Context {
            store: &store,
            catalog: &catalog,
            device: &common::cpu(),
            commit: "test",
            checkpoint_every: Duration::ZERO,
            lock_patience: Duration::ZERO,
            progress: &|_, most| {
                trained.borrow_mut().insert(most);
            },
            notice: &|text| said.borrow_mut().push_str(text),
        };
        let (key, _) = worker::run(&truth.specs[2], &context).map_err(|e| e.to_string())?;
        worker::measure(&key, &MEASURES, &context).map_err(|e| e.to_string())
    });
    said.borrow_mut().push_str(&problem);
    (end, said.into_inner(), trained.into_inner())
}

/// Does something that a fault may strike; what it said if it was refused.
fn ended(work: impl FnOnce() -> Result<(), String>) -> (End, String) {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => (End::Done, String::new()),
        Ok(Err(problem)) => (End::Refused, problem),
        Err(panic) if panic.is::<Crashed>() => (End::Crashed, String::new()),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Brings everything into a store from one that has it.
fn merge(truth: &Truth, root: &Path) -> (End, String) {
    ended(|| {
        let (store, from) = (Store::open(root), Store::existing(&truth.after));
        let (store, from) = (store.map_err(|e| e.to_string())?, from.map_err(|e| e.to_string())?);
        let options =
            Options { lock_patience: Duration::ZERO, stop: &|| false, progress: &|_, _| {} };
        let merged = store.merge(&from, &options).map_err(|e| e.to_string())?;
        assert!(merged.conflicts.is_empty() && merged.damaged.is_empty(), "{merged:?}");
        assert!(merged.busy.is_empty(), "{merged:?}");
        Ok(())
    })
}

impl Truth {
    fn new() -> Truth {
        let place = Workplace::in_memory();
        let [old, parent, child] = EPOCHS;
        let mut specs = [toy_run(old), toy_run(parent), toy_chain(parent, child)];
        specs[2].train.snapshots = vec![2];
        let catalog = Catalog::new(repository().join("data"));
        let keys = specs.each_ref().map(|s| KeyMaker::new(&catalog).key(s).unwrap());
        let (before, after, grave) =
            (place.path("before"), place.path("after"), place.path("grave"));
        std::fs::create_dir_all(&grave).unwrap();
        let only_first = [specs[0].clone(), specs[0].clone(), specs[0].clone()];
        let mut truth = Truth {
            specs: only_first,
            keys,
            runs: Vec::new(),
            measured: Measured::default(),
            before,
            after,
            grave,
            place,
        };
        faults::arm(None, &truth.grave);
        let (end, said, _) = work(&truth, &truth.before.clone());
        assert_eq!(end, End::Done, "{said}");
        // Its measurement is of no interest here.
        std::fs::remove_dir_all(truth.before.join("measured")).unwrap();
        truth.specs = specs;
        copy_folder(&truth.before, &truth.after);
        let (end, said, trained) = work(&truth, &truth.after.clone());
        assert_eq!((end, said.as_str()), (End::Done, ""));
        assert_eq!(trained, BTreeSet::from([EPOCHS[1], EPOCHS[2]]));
        let store = Store::open(&truth.after).unwrap();
        for key in &truth.keys {
            let run = store.read(key).unwrap();
            truth.runs.push((run.result_hash, run.metrics));
        }
        let hash = &truth.runs[2].0;
        let measured = store.measured(&truth.keys[2], &MEASURES[0].id(), hash).unwrap();
        truth.measured = measured.expect("a measurement");
        truth
    }

    /// Operations of the whole work in a store that begins as `from`.
    fn operations(&self, from: &Path) -> u64 {
        let root = self.place.path("count");
        copy_folder(from, &root);
        faults::arm(None, &self.grave);
        let (end, said, _) = work(self, &root);
        assert_eq!(end, End::Done, "{said}");
        std::fs::remove_dir_all(root).unwrap();
        faults::seen().0
    }

    /// Looks at a store as the next process would. Nothing in it may be wrong; returns which
    /// runs are there, and whether the measurement is.
    fn inspect(&self, root: &Path, allowed: &[usize]) -> ([bool; 3], bool) {
        faults::arm(None, &self.grave);
        let store = Store::open(root).unwrap();
        let mut there = [false; 3];
        for (index, key) in self.keys.iter().enumerate() {
            match store.look_up(key, &self.specs[index]) {
                Lookup::Stored(run) => {
                    assert_eq!(
                        (&run.result_hash, &run.metrics),
                        (&self.runs[index].0, &self.runs[index].1)
                    );
                    run.weights(None).expect("weights that can be read");
                    for &epoch in &run.spec.train.snapshots {
                        run.weights(Some(epoch)).expect("kept weights that can be read");
                    }
                    there[index] = true;
                }
                Lookup::Missing | Lookup::Partial => {}
                Lookup::Damaged(problem) => assert!(allowed.contains(&index), "{problem}"),
            }
        }
        let measured = store.measured(&self.keys[2], &MEASURES[0].id(), &self.runs[2].0).unwrap();
        assert!(measured.as_ref().is_none_or(|found| *found == self.measured));
        (there, measured.is_some())
    }

    /// The next call, without a fault: it makes what is missing, nothing else, and leaves
    /// nothing behind.
    fn goes_on(&self, root: &Path, there: [bool; 3]) {
        let (end, said, trained) = work(self, root);
        assert_eq!(end, End::Done, "{said}");
        let missing = |index: &usize| !there[*index];
        let expected: BTreeSet<u32> =
            [1, 2].into_iter().filter(missing).map(|i| EPOCHS[i]).collect();
        // A run whose last checkpoint was its last epoch has nothing left to report.
        assert!(trained.is_subset(&expected), "{trained:?} of {expected:?}");
        self.nothing_is_left(root);
    }

    /// Everything is there, and nothing else.
    fn nothing_is_left(&self, root: &Path) {
        assert_eq!(self.inspect(root, &[]), ([true; 3], true));
        let names = |root: &Path| -> BTreeSet<String> {
            let entries = std::fs::read_dir(root).unwrap();
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
        };
        let mut left = names(root);
        left.remove("damaged");
        if left.remove(CLAIMS) {
            assert_eq!(names(&root.join(CLAIMS)), BTreeSet::new(), "claims are left");
        }
        assert_eq!(left, names(&self.after), "something was left behind");
        let kept = format!("measured/{}", self.keys[2]);
        assert_eq!(names(&root.join(&kept)), names(&self.after.join(&kept)));
    }

    /// One fault after the other on one store, then none. Returns how each call ended.
    fn suffer(&self, from: &Path, damaged: &[usize], blows: &[(Kind, u64)]) -> Vec<End> {
        let root = self.place.path("store");
        copy_folder(from, &root);
        let mut ends = Vec::new();
        let mut there = self.inspect(&root, damaged).0;
        for &blow in blows {
            faults::arm(Some(blow), &self.grave);
            let (end, said, _) = work(self, &root);
            let struck = faults::seen().1;
            match end {
                // A fault at the very end, or one that strikes nothing: then all is there.
                End::Done => {}
                End::Refused => {
                    assert!(!blow.0.kills() && struck, "{blow:?}: {said}");
                    assert!(said.contains("the store needs a folder"), "{blow:?}: {said}");
                }
                End::Crashed => assert!(blow.0.kills() && struck),
            }
            let now = self.inspect(&root, damaged);
            let lost = there.iter().zip(now.0).any(|(&before, now)| before && !now);
            assert!(!lost, "{blow:?} lost a finished run: {there:?}, {now:?}");
            if end == End::Done {
                assert_eq!(now, ([true; 3], true), "{blow:?}: done, but not there");
            }
            there = now.0;
            ends.push(end);
        }
        self.goes_on(&root, there);
        std::fs::remove_dir_all(&root).unwrap();
        std::fs::remove_dir_all(&self.grave).unwrap();
        std::fs::create_dir_all(&self.grave).unwrap();
        ends
    }
}

/// How often each fault was tried, and how the call ended that it struck.
#[derive(Default)]
struct Table(BTreeMap<(String, End), usize>);

impl Table {
    fn count(&mut self, what: impl Into<String>, end: End) {
        *self.0.entry((what.into(), end)).or_default() += 1;
    }

    /// That faults did strike: what was tried was stopped at least once by each kind.
    fn each_struck(&self, kinds: impl IntoIterator<Item = String>) {
        for kind in kinds {
            let stopped = |end| self.0.contains_key(&(kind.clone(), end));
            assert!(stopped(End::Refused) || stopped(End::Crashed), "{kind} never struck");
        }
    }

    fn print(&self, title: &str) {
        let mut out = format!("{title}: {} faults\n", self.0.values().sum::<usize>());
        for ((what, end), count) in &self.0 {
            writeln!(out, "  {count:>5}  {what}: {end:?}").unwrap();
        }
        println!("{out}");
    }
}

/// A store like `from`, whose child has a flipped bit.
fn with_damage(truth: &Truth) -> PathBuf {
    let root = truth.place.path("damaged-from");
    copy_folder(&truth.after, &root);
    let path = root.join(truth.keys[2].as_str()).join("metrics.json");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    root
}

#[test]
fn a_fault_at_every_operation() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let truth = Truth::new();
    let mut table = Table::default();
    let damaged = with_damage(&truth);
    for (label, from, allowed, short) in
        [("new run", &truth.before, &[][..], 9), ("damaged run", &damaged, &[2][..], 11)]
    {
        let operations = truth.operations(from);
        assert!(operations > 40, "only {operations} operations");
        for kind in Kind::ALL {
            for at in (0..operations).step_by(stride(short)) {
                let ends = truth.suffer(from, allowed, &[(kind, at)]);
                table.count(format!("{label}, {kind:?}"), ends[0]);
            }
        }
    }
    table.print("every operation");
    let kinds = |label| Kind::ALL.map(|kind| format!("{label}, {kind:?}"));
    table.each_struck(["new run", "damaged run"].into_iter().flat_map(kinds));
    if everything() {
        assert!(
            table.0.values().sum::<usize>() >= 1000,
            "too few for the claim in docs/robustness.md"
        );
    }
}

#[test]
fn a_fault_at_every_operation_of_a_merge() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let truth = Truth::new();
    let mut table = Table::default();
    let damaged = with_damage(&truth);
    for (label, from, allowed) in
        [("merge", &truth.before, &[][..]), ("merge over damage", &damaged, &[2][..])]
    {
        let root = truth.place.path("merged");
        copy_folder(from, &root);
        faults::arm(None, &truth.grave);
        assert_eq!(merge(&truth, &root), (End::Done, String::new()));
        let operations = faults::seen().0;
        truth.nothing_is_left(&root);
        std::fs::remove_dir_all(&root).unwrap();
        assert!(operations > 15, "only {operations} operations");
        for kind in Kind::ALL {
            for at in (0..operations).step_by(stride(5)) {
                copy_folder(from, &root);
                let before = truth.inspect(&root, allowed).0;
                faults::arm(Some((kind, at)), &truth.grave);
                let (end, said) = merge(&truth, &root);
                let struck = faults::seen().1;
                match end {
                    End::Done => {}
                    End::Refused => {
                        assert!(!kind.kills() && struck, "{kind:?} at {at}: {said}");
                        assert!(said.contains("the store needs a folder"), "{said}");
                    }
                    End::Crashed => assert!(kind.kills() && struck),
                }
                let there = truth.inspect(&root, allowed);
                let lost = before.iter().zip(there.0).any(|(&before, now)| before && !now);
                assert!(!lost, "{kind:?} at {at} lost a finished run: {before:?}, {there:?}");
                if end == End::Done {
                    assert_eq!(there, ([true; 3], true), "{kind:?} at {at}: done, but not there");
                }
                table.count(format!("{label}, {kind:?}"), end);
                // The same command again, or the work itself.
                if at % 2 == 0 {
                    assert_eq!(
                        merge(&truth, &root),
                        (End::Done, String::new()),
                        "{kind:?} at {at}"
                    );
                    truth.nothing_is_left(&root);
                } else {
                    truth.goes_on(&root, there.0);
                }
                std::fs::remove_dir_all(&root).unwrap();
                std::fs::remove_dir_all(&truth.grave).unwrap();
                std::fs::create_dir_all(&truth.grave).unwrap();
            }
        }
    }
    table.print("every operation of a merge");
    let kinds = |label| Kind::ALL.map(|kind| format!("{label}, {kind:?}"));
    table.each_struck(["merge", "merge over damage"].into_iter().flat_map(kinds));
}

#[test]
fn faults_while_going_on_after_faults() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let truth = Truth::new();
    let mut table = Table::default();
    let operations = truth.operations(&truth.before) as u32;
    let rounds = if everything() { 400 } else { 15 };
    for round in 0..rounds {
        let mut random = Stream::open(round, Purpose::Test, &[]);
        let mut draw = |_| {
            let kind = Kind::ALL[random.below(Kind::ALL.len() as u32) as usize];
            (kind, u64::from(random.below(operations)))
        };
        let blows: [(Kind, u64); 3] = std::array::from_fn(&mut draw);
        let ends = truth.suffer(&truth.before, &[], &blows);
        for (blow, end) in blows.iter().zip(ends) {
            table.count(format!("{:?}", blow.0), end);
        }
    }
    table.print("three faults in a row");
}

/// Operations that a process lists in `BGM_DISK_TRACE`.
fn traced(place: &Workplace, arguments: &[&str]) -> usize {
    let trace = place.path("trace.txt");
    let output = place.command(arguments).env("BGM_DISK_TRACE", &trace).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", text(&output.stderr));
    let lines = std::fs::read_to_string(&trace).unwrap().lines().count();
    std::fs::remove_file(trace).unwrap();
    lines
}

const KINDS: [&str; 4] = ["crash", "torn", "full", "readonly"];

#[test]
fn processes_that_die_for_good() {
    let whole = Workplace::in_memory();
    let spec = whole.spec_file("spec.json", &toy_chain(3, 4));
    let spec = spec.to_str().unwrap();
    let arguments = ["run", spec, "--checkpoint-seconds", "0"];
    let operations = traced(&whole, &arguments);
    let expected = whole.run(Path::new(spec));
    let mut table = Table::default();
    for kind in KINDS {
        for at in (0..operations).step_by(if everything() { 3 } else { 37 }) {
            let place = Workplace::in_memory();
            let fault = format!("{kind}:{at}");
            let output = place.command(&arguments).env("BGM_DISK_FAULT", &fault).output().unwrap();
            let end = match output.status.code() {
                Some(0) => {
                    let line = format!("{} {}", expected.0, expected.1);
                    assert_eq!(text(&output.stdout).trim(), line, "{fault}");
                    End::Done
                }
                Some(4) => End::Refused,
                None => End::Crashed,
                other => panic!("{fault}: {other:?}: {}", text(&output.stderr)),
            };
            table.count(kind, end);
            assert_eq!(place.run(Path::new(spec)), expected, "after {fault}");
        }
    }
    table.print("bgm run in processes of its own");
    table.each_struck(KINDS.map(str::to_owned));
}

/// A profile of toy runs that take no time.
fn tables(place: &Workplace) -> PathBuf {
    let tables = place.path("paper_tables");
    copy_folder(&repository().join("paper_tables"), &tables);
    std::fs::copy(repository().join("tests/tiny/tiny.toml"), tables.join("tiny.toml")).unwrap();
    let profile = repository().join("tests/tiny/profile.toml");
    std::fs::copy(profile, tables.join("profiles/tiny.toml")).unwrap();
    tables
}

/// `bgm reproduce` of that profile, with its report in `out`.
fn reproduce(place: &Workplace, tables: &Path, out: &str) -> Command {
    let (tables, out) = (tables.to_str().unwrap(), place.path(out));
    let out = out.to_str().unwrap();
    let arguments =
        ["--tables", tables, "--profile", "tiny", "-q", "reproduce", "--out", out, "--jobs", "2"];
    place.command(&arguments)
}

#[test]
fn several_reproductions_at_once_make_each_run_once() {
    let place = Workplace::in_memory();
    let (tables, trace) = (tables(&place), place.path("trace.txt"));
    let count = if everything() { 8 } else { 3 };
    let start = |number| {
        let mut command = reproduce(&place, &tables, &format!("out{number}"));
        command.env("BGM_DISK_TRACE", &trace).stderr(Stdio::piped()).spawn().unwrap()
    };
    let processes: Vec<_> = (0..count).map(start).collect();
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "not blessed: {}", text(&output.stderr));
    }
    let keys = Store::open(place.path("runs")).unwrap().keys().unwrap();
    assert_eq!(keys.len(), 3);
    let trace = std::fs::read_to_string(trace).unwrap();
    for key in keys {
        let times = |end: &str| trace.lines().filter(|line| line.ends_with(end)).count();
        assert_eq!(times(&format!("rename {}/runs/{key}", place.folder.path().display())), 1);
        assert_eq!(times(&format!("{key}.partial/spec.json")), 1, "begun more than once");
    }
    let table = |number: i32| std::fs::read(place.path(&format!("out{number}/tables/tiny.csv")));
    assert!((1..count).all(|number| table(number).unwrap() == table(0).unwrap()));
}

#[test]
fn reproduce_reports_nothing_wrong_and_goes_on() {
    let whole = Workplace::in_memory();
    let declared = tables(&whole);
    let reproduce = |place: &Workplace, variable: &str, value: &std::ffi::OsStr| {
        reproduce(place, &declared, "out").env(variable, value).output().unwrap()
    };
    let table = |place: &Workplace| std::fs::read_to_string(place.path("out/tables/tiny.csv")).ok();
    // The fault counts in each process by itself. A third of all operations is more than any one
    // process makes.
    let trace = whole.path("trace.txt");
    let first = reproduce(&whole, "BGM_DISK_TRACE", trace.as_os_str());
    assert_eq!(first.status.code(), Some(3), "not blessed: {}", text(&first.stderr));
    let expected = table(&whole).expect("a table");
    let operations = std::fs::read_to_string(&trace).unwrap().lines().count() / 3;
    let mut counts = Table::default();
    for kind in KINDS {
        let first = if everything() { 0 } else { operations / 2 };
        for at in (first..operations).step_by(if everything() { 6 } else { operations }) {
            let place = Workplace::in_memory();
            let fault = format!("{kind}:{at}");
            let output = reproduce(&place, "BGM_DISK_FAULT", fault.as_ref());
            let end = match output.status.code() {
                Some(3) => End::Done,
                Some(4) => End::Refused,
                None => End::Crashed,
                other => panic!("{fault}: {other:?}: {}", text(&output.stderr)),
            };
            // What is in a table is right, or is not there and counted as missing.
            let columns: Vec<&str> = expected.lines().next().unwrap().split(',').collect();
            if let Some(found) = table(&place) {
                let fields = |table: &str| -> Vec<Vec<String>> {
                    table.lines().map(|l| l.split(',').map(str::to_owned).collect()).collect()
                };
                let (found, right) = (fields(&found), fields(&expected));
                assert_eq!(found.len(), right.len(), "{fault}: lines");
                for (found, right) in found.iter().zip(&right) {
                    assert_eq!(found.len(), right.len(), "{fault}: {found:?}");
                    for ((found, right), column) in found.iter().zip(right).zip(&columns) {
                        let is_missing = found.is_empty() || (found == "0" && *column == "n");
                        assert!(
                            found == right || is_missing || *column == "seeds_missing",
                            "{fault}: {column}: {found} {right}"
                        );
                    }
                }
            }
            counts.count(kind, end);
            let again = reproduce(&place, "BGM_DISK_FAULT", "none".as_ref());
            assert_eq!(again.status.code(), Some(3), "{}", text(&again.stderr));
            assert_eq!(table(&place).as_ref(), Some(&expected), "after {fault}");
        }
    }
    counts.print("bgm reproduce and its children");
    if everything() {
        counts.each_struck(KINDS.map(str::to_owned));
    }
}
