//! `make bench`: this program and the last one measured in turn, and what comes of it.

use super::compare::{self, Change, Times, Verdict};
use super::summary::{duration, median};
use super::workload;
use anyhow::{Context, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names criterion's folder to a process that is one round of a comparison.
pub const ROUND: &str = "BENCH_ROUND";
/// A relative change that says nothing, unless `BENCH_NOISE` gives another: another layout of
/// the same code in memory does as much.
const NOISE: f64 = 0.03;
/// Rounds, unless `BENCH_ROUNDS` gives another number.
const ROUNDS: usize = 20;

/// The program of the last run, kept beside what it measured.
struct Last {
    program: PathBuf,
    /// What it was built from, in words.
    origin: PathBuf,
}

/// All that was measured.
pub struct Rounds {
    last: Vec<Times>,
    now: Vec<Times>,
    /// Whether no benchmark was left out.
    all: bool,
}

impl Rounds {
    /// Seconds of a benchmark of this program, the median over the rounds.
    pub fn seconds(&self, name: &str) -> Option<f64> {
        let times: Vec<f64> = self.now.iter().filter_map(|t| t.get(name).copied()).collect();
        (!times.is_empty()).then(|| median(&times))
    }
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> anyhow::Result<T> {
    match std::env::var(name) {
        Ok(text) => {
            let value = text.parse().ok();
            value.with_context(|| format!("{name}='{text}': this is no number"))
        }
        Err(_) => Ok(default),
    }
}

fn folder() -> PathBuf {
    workload::folder().join("rounds")
}

impl Last {
    fn new() -> Last {
        let folder = folder().join("kept");
        Last { program: folder.join("training"), origin: folder.join("origin") }
    }

    fn keep(&self) -> anyhow::Result<()> {
        let folder = self.program.parent().context("a file has a folder")?;
        std::fs::create_dir_all(folder)?;
        // Removed first: the old one may be the file that runs.
        let _ = std::fs::remove_file(&self.program);
        std::fs::copy(std::env::current_exe()?, &self.program)?;
        std::fs::write(&self.origin, commit())?;
        Ok(())
    }
}

/// The commit that is checked out, and whether the working tree differs from it.
fn commit() -> String {
    let mut git = Command::new("git");
    git.current_dir(workload::repository()).args(["describe", "--always", "--dirty"]);
    let output = git.output().ok().filter(|output| output.status.success());
    output.map_or("an unknown commit".to_owned(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}

/// One round of one program.
fn round(program: &Path, name: &str, arguments: &[OsString]) -> anyhow::Result<Times> {
    let folder = folder().join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let mut command = Command::new(program);
    command.args(arguments).env(ROUND, &folder).stdout(Stdio::null());
    let output = command.output().with_context(|| program.display().to_string())?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}:\n{}", program.display(), output.status, words.trim_end());
    }
    compare::times(&folder)
}

/// Measures this program and, where there is one, the last in turn. `arguments` are those of
/// `cargo bench`, for criterion.
///
/// # Errors
/// If one of them fails.
pub fn measure(arguments: &[OsString]) -> anyhow::Result<Rounds> {
    let rounds: usize = setting("BENCH_ROUNDS", ROUNDS)?;
    let (last, this) = (Last::new(), std::env::current_exe()?);
    let compares = last.program.exists() && (runs(&last) || !is_set("BENCH_SAVE"));
    let all = arguments.iter().all(|argument| argument == "--bench");
    let mut measured = Rounds { last: Vec::new(), now: Vec::new(), all };
    for number in 0..rounds {
        eprintln!("round {} of {rounds}", number + 1);
        let now = || round(&this, "now", arguments);
        let before = || {
            round(&last.program, "last", arguments).context(
                "the last program does not run any more; SAVE=yes takes this one in its place",
            )
        };
        if !compares {
            measured.now.push(now()?);
        } else if number % 2 == 0 {
            measured.last.push(before()?);
            measured.now.push(now()?);
        } else {
            measured.now.push(now()?);
            measured.last.push(before()?);
        }
    }
    Ok(measured)
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some()
}

/// Whether a kept program still starts.
fn runs(last: &Last) -> bool {
    let mut command = Command::new(&last.program);
    command.arg("--list").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Prints what was measured, and how it compares with the last program; keeps this one in its
/// place if all was compared and nothing is slower, or if `BENCH_SAVE` says so. Whether it may
/// pass.
///
/// # Errors
/// If the disk refuses.
pub fn judge(measured: &Rounds) -> anyhow::Result<bool> {
    let noise: f64 = setting("BENCH_NOISE", NOISE)?;
    let last = Last::new();
    let changes = compare::changes(&measured.last, &measured.now);
    let rounds = measured.now.len();
    let first = measured.last.is_empty();
    if first {
        println!("No program to compare with yet; {rounds} rounds:");
    } else {
        let origin = std::fs::read_to_string(&last.origin).unwrap_or_default();
        println!("Against the last program ({origin}), {rounds} rounds in turn:");
    }
    let mut verdicts = Vec::new();
    for (name, change) in &changes {
        let seconds = duration(measured.seconds(name).unwrap_or(f64::NAN));
        let Some(change) = change else {
            println!("  {name}: {seconds}");
            continue;
        };
        let Change { low, estimate, high } = *change;
        let [low, estimate, high] = [low, estimate, high].map(|x| 100.0 * (x - 1.0));
        let verdict = change.verdict(noise);
        let words = verdict.words();
        println!("  {name}: {seconds}, {estimate:+.1}% [{low:+.1}, {high:+.1}] {words}");
        verdicts.push(verdict);
    }
    let count = |verdict: Verdict| verdicts.iter().filter(|v| **v == verdict).count();
    let (slower, noisy) = (count(Verdict::Slower), count(Verdict::TooNoisy));
    let compared = measured.all && !verdicts.is_empty();
    if noisy > 0 {
        println!("{noisy} too noisy to tell: leave the cores to this, or take more ROUNDS");
    }
    if slower > 0 {
        println!("{slower} slower by more than {:.0}%, noise excluded", 100.0 * noise);
    }
    if is_set("BENCH_SAVE") || measured.all && first || compared && slower == 0 {
        last.keep()?;
        println!("This program is what the next one is compared with.");
        return Ok(true);
    }
    println!("This program is not kept to compare with; SAVE=yes keeps it.");
    Ok(slower == 0)
}
