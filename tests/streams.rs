//! Streams that nobody reads, that are full or closed; more jobs than there is work; what is
//! wrong with a folder: told before the first run, by name, with the documented exit code.

mod common;

use common::{Workplace, copy_folder, fifo, repository, text, toy_run};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs of a moment, and the claims of nobody.
struct Tiny {
    place: Workplace,
    tables: PathBuf,
    expected: PathBuf,
    out: PathBuf,
}

impl Tiny {
    fn new() -> Tiny {
        let place = Workplace::new();
        let tables = place.path("paper_tables");
        let from = repository();
        copy_folder(&from.join("paper_tables"), &tables);
        for (source, name) in [
            ("tests/tiny/tiny.toml", "tiny.toml"),
            ("tests/tiny/profile.toml", "profiles/tiny.toml"),
        ] {
            fs::copy(from.join(source), tables.join(name)).unwrap();
        }
        let expected = place.path("expected");
        fs::create_dir(&expected).unwrap();
        fs::write(expected.join("claims.toml"), "claim = []\n").unwrap();
        let out = place.path("out");
        Tiny { place, tables, expected, out }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(&["--profile", "tiny"]);
        command.arg("--tables").arg(&self.tables).arg("--expected").arg(&self.expected);
        command.args(arguments);
        if ["reproduce", "report"].contains(&arguments[0]) {
            command.arg("--out").arg(&self.out);
        }
        command
    }

    fn bgm(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("bgm starts")
    }

    /// Keys of the finished runs.
    fn runs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.place.path("runs")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.len() == 64).collect()
    }
}

/// The writing end of a pipe that nobody reads.
fn nobody() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// What became of a command that must not take longer.
#[track_caller]
fn within_a_minute(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it hangs");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

#[track_caller]
fn ended(output: &Output, code: i32, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(!said.contains("internal error"), "{said}");
    for word in words {
        assert!(said.contains(word), "'{word}' is not in: {said}");
    }
}

#[test]
fn standard_error_never_matters() {
    for stream in [nobody, full] {
        let tiny = Tiny::new();
        let output = tiny.command(&["reproduce"]).stderr(stream()).stdout(nobody()).output();
        ended(&output.unwrap(), 3, &[]); // there is no reference
        assert_eq!(tiny.runs().len(), 3);
        assert!(tiny.out.join("report.html").exists());
        let mut usage = tiny.command(&["plan", "--only", "nothing"]);
        ended(&usage.stderr(stream()).output().unwrap(), 2, &[]);
        let mut option = tiny.command(&["plan", "--nothing"]);
        ended(&option.stderr(stream()).output().unwrap(), 2, &[]);
    }
}

#[test]
fn a_closed_standard_output_ends_quietly_and_a_full_one_is_an_error() {
    let tiny = Tiny::new();
    ended(&tiny.bgm(&["reproduce"]), 3, &[]);
    let key = tiny.runs().remove(0);
    for (arguments, code) in [
        (&["verify"][..], 3),
        (&["verify", "--format", "json"], 3),
        (&["plan"], 0),
        (&["plan", "--format", "json"], 0),
        (&["run", &key], 0),
        (&["data", "list"], 0),
        (&["--help"], 0),
    ] {
        let output = tiny.command(arguments).stdout(nobody()).output().unwrap();
        ended(&output, code, &[]);
        let output = tiny.command(arguments).stdout(full()).output().unwrap();
        ended(&output, 4, &["standard output", "No space left"]);
    }
}

#[test]
fn there_are_no_more_workers_than_runs_and_cores() {
    let tiny = Tiny::new();
    let jobs = usize::MAX.to_string();
    let mut reproduce = tiny.command(&["reproduce", "--jobs", &jobs]);
    ended(&within_a_minute(&mut reproduce), 3, &[]);
    assert_eq!(tiny.runs().len(), 3);
}

#[test]
fn what_cannot_be_written_is_named_before_the_first_run() {
    let logs = Tiny::new();
    fs::create_dir(logs.place.path("runs")).unwrap();
    fs::write(logs.place.path("runs/logs"), "").unwrap();
    ended(&logs.bgm(&["reproduce"]), 4, &["runs/logs"]);
    assert!(logs.runs().is_empty());

    let out = Tiny::new();
    fs::write(&out.out, "").unwrap();
    ended(&out.bgm(&["reproduce"]), 4, &[out.out.to_str().unwrap()]);
    assert!(out.runs().is_empty());
    ended(&out.bgm(&["report"]), 4, &[out.out.to_str().unwrap()]);
}

#[test]
fn claims_and_reference_are_read_before_the_first_run() {
    let typo = Tiny::new();
    fs::write(typo.expected.join("claims.toml"), "[[clam]]\n").unwrap();
    ended(&typo.bgm(&["reproduce"]), 2, &["claims.toml", "clam"]);
    assert!(typo.runs().is_empty());

    let missing = Tiny::new();
    fs::remove_dir_all(&missing.expected).unwrap();
    ended(&missing.bgm(&["reproduce"]), 4, &["expected/claims.toml"]);
    assert!(missing.runs().is_empty());

    let reference = Tiny::new();
    fs::write(reference.expected.join("tiny.toml"), "profile = 1\n").unwrap();
    ended(&reference.bgm(&["reproduce"]), 2, &["expected/tiny.toml"]);
    assert!(reference.runs().is_empty());
}

#[test]
fn a_run_that_fails_for_its_surroundings_ends_with_their_code() {
    let tiny = Tiny::new();
    fs::create_dir(tiny.place.path("runs")).unwrap();
    // Runs are made, and cannot be measured.
    fs::write(tiny.place.path("runs/measured"), "").unwrap();
    ended(&tiny.bgm(&["reproduce"]), 4, &["runs/measured"]);
    assert!(tiny.out.join("report.html").exists(), "what there is, is reported all the same");
}

#[test]
fn a_trace_goes_to_a_pipe_too() {
    let place = Workplace::new();
    let spec = place.spec_file("spec.json", &toy_run(1));
    let trace = |out| place.bgm(&["trace", spec.to_str().unwrap(), "--steps", "2", "--out", out]);
    let output = trace("/dev/stdout");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let file = place.path("trace");
    trace(file.to_str().unwrap());
    assert_eq!(output.stdout, fs::read(file).unwrap());
}

#[test]
fn a_mistyped_store_does_not_pass_for_an_empty_one() {
    let tiny = Tiny::new();
    let key = "0123456789ab";
    for (arguments, code) in [
        (&["verify"][..], 4),
        (&["report"], 4),
        (&["bless", "--reason", "x"], 4),
        (&["run", key], 2),
        (&["plan"], 0),
        (&["plan", "--only", "nothing"], 2),
    ] {
        let output = tiny.bgm(arguments);
        let named = if code == 4 { &["runs: ", "--store"][..] } else { &[] };
        ended(&output, code, named);
        assert!(!tiny.place.path("runs").exists(), "{arguments:?} made it");
    }
}

#[test]
fn a_key_that_is_cut_off_too_early_is_refused_with_those_it_may_be() {
    let tiny = Tiny::new();
    let keys = ["a", "b"].map(|last| format!("{}{last}", "0a1b2c3".repeat(9)));
    for key in &keys {
        fs::create_dir_all(tiny.place.path("runs").join(key)).unwrap();
    }
    ended(&tiny.bgm(&["run", "0a1b2c"]), 2, &["beginning of 2 run keys", &keys[0], &keys[1]]);
}

#[test]
fn a_pipe_in_the_place_of_a_declaration_is_named() {
    for (name, code) in [
        ("paper_tables/tiny.toml", 2),
        ("paper_tables/profiles/tiny.toml", 2),
        ("expected/claims.toml", 4),
        ("expected/tiny.toml", 4),
    ] {
        let tiny = Tiny::new();
        let path = tiny.place.path(name);
        drop(fs::remove_file(&path));
        fifo(&path);
        let output = within_a_minute(&mut tiny.command(&["reproduce"]));
        ended(&output, code, &[name, "FIFO"]);
    }
}

#[test]
fn a_report_takes_the_place_of_the_one_before_and_leaves_other_files_alone() {
    let tiny = Tiny::new();
    fs::create_dir(tiny.place.path("runs")).unwrap();
    let report = |only: &str| ended(&tiny.bgm(&["report", "--only", only]), 0, &[]);
    report("tiny");
    let table = |name: &str| tiny.out.join("tables").join(name);
    fs::write(table("tiny.tex"), "my own words").unwrap();
    fs::write(table("notes.txt"), "").unwrap();
    report("fig1_toy");
    assert!(table("fig1_toy.md").exists());
    assert!(!table("tiny.md").exists() && !table("tiny.csv").exists());
    assert!(table("tiny.tex").exists(), "it was changed since, so it is no longer the report's");
    assert!(table("notes.txt").exists());
}

#[test]
fn planning_into_a_folder_with_somebody_elses_done_removes_nothing_of_theirs() {
    let tiny = Tiny::new();
    let done = tiny.out.join("done/train");
    fs::create_dir_all(done.join("folder")).unwrap();
    fs::write(done.join("thesis.txt"), "").unwrap();
    // A run of a job that the store does not hold any more.
    let stale = done.join("0a".repeat(32));
    fs::write(&stale, "").unwrap();
    let out = tiny.out.to_str().unwrap();
    ended(&tiny.bgm(&["plan", "--format", "snakemake", "--out", out]), 0, &[]);
    assert!(done.join("thesis.txt").exists() && done.join("folder").exists());
    assert!(!stale.exists());
}

/// A script that prints its arguments, one a line.
fn stub(path: &Path, code: i32) {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let script = format!("#!/bin/sh\nfor word in \"$@\"; do echo \"[$word]\"; done\nexit {code}\n");
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn make_passes_every_variable_on_as_one_word() {
    let place = Workplace::new();
    let program = place.path("program");
    stub(&program, 0);
    let mut make = Command::new("make");
    make.current_dir(repository()).args(["--silent", "--old-file=build", "reproduce"]);
    make.arg(format!("BGM={}", program.display()));
    make.args(["STORE=my runs", "OUT=it's; echo x", "ONLY=a,b", "JOBS=2", "PROFILE=$$(id)"]);
    let output = make.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let words = text(&output.stdout);
    for pair in [
        "[--store]\n[my runs]\n",
        "[--out]\n[it's; echo x]\n",
        "[--only]\n[a,b]\n",
        "[--jobs]\n[2]\n",
        "[--profile]\n[$(id)]\n",
    ] {
        assert!(words.contains(pair), "'{pair}' is not in: {words}");
    }
}

/// The recipe for cron ends with the program's exit code, which make would hide.
#[test]
fn the_recipe_for_cron_passes_the_exit_code_on() {
    let page = fs::read_to_string(repository().join("docs/ci.md")).unwrap();
    let recipe = page.split("```sh\n").find(|block| block.starts_with("git clone")).unwrap();
    let recipe = recipe.split("```").next().unwrap();
    let place = Workplace::new();
    for code in [1, 3, 4] {
        let stubs = place.path("stubs");
        stub(&stubs.join("git"), 0);
        let checkout = place.path("bgm");
        stub(&checkout.join("target/release/bgm"), code);
        let makefile =
            "build reproduce verify:\n\t@if [ $@ != build ]; then target/release/bgm; fi\n";
        fs::write(checkout.join("Makefile"), makefile).unwrap();
        let path = format!("{}:{}", stubs.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", recipe]).current_dir(place.folder.path());
        shell.env("PATH", path).env("URL", "url").env("CACHE", place.path("cache"));
        let output = shell.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        fs::remove_dir_all(&checkout).unwrap();
    }
}
