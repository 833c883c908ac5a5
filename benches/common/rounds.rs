//! `make bench`: this program and the last one measured in turn, and what comes of it.

use super::compare::{self, Change, Times, Verdict};
use super::summary::{duration, median};
use super::workload;
use anyhow::{Context, bail, ensure};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names criterion's folder to a process that is one round of a comparison.
pub const ROUND: &str = "BENCH_ROUND";

/// What the environment asks for; scripts/bench.sh says how.
pub struct Settings {
    /// `BENCH_ROUNDS`
    rounds: usize,
    /// `BENCH_NOISE`: a relative change that says nothing. Another layout of the same code in
    /// memory does as much as the default.
    noise: f64,
    /// `BENCH_SAVE`: keep this program whatever comes of it.
    save: bool,
    /// `BENCH_LIMIT`: measure the machine's limit too.
    pub limit: bool,
}

impl Settings {
    /// # Errors
    /// If a variable has a value that makes no sense.
    pub fn read() -> anyhow::Result<Settings> {
        let rounds = setting("BENCH_ROUNDS", "20")?;
        let rounds = rounds.parse().ok().filter(|count| *count > 0);
        let noise = setting("BENCH_NOISE", "0.03")?;
        let noise = noise.parse().ok().filter(|n| (0.0..compare::WORTH_KNOWING).contains(n));
        Ok(Settings {
            rounds: rounds.context("ROUNDS: give a whole number above 0")?,
            noise: noise.context("NOISE: give a relative change of 0 to 0.25, such as 0.03")?,
            save: switch("BENCH_SAVE", "no")?,
            limit: switch("BENCH_LIMIT", "yes")?,
        })
    }
}

fn setting(name: &str, default: &str) -> anyhow::Result<String> {
    match std::env::var(name) {
        Err(std::env::VarError::NotPresent) => Ok(default.to_owned()),
        other => other.context(name.to_owned()),
    }
}

fn switch(name: &str, default: &str) -> anyhow::Result<bool> {
    match setting(name, default)?.as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => bail!("{name}: '{other}' is neither yes nor no"),
    }
}

/// A program that later ones are compared with.
struct Kept {
    program: PathBuf,
    /// The commit that it was built from, in words.
    origin: PathBuf,
}

impl Kept {
    fn new() -> Kept {
        let folder = folder().join("kept");
        Kept { program: folder.join("training"), origin: folder.join("origin") }
    }

    fn replace(&self, origin: &str) -> anyhow::Result<()> {
        let folder = self.program.parent().context("a file has a folder")?;
        std::fs::create_dir_all(folder)?;
        let aside = folder.join("aside");
        std::fs::copy(std::env::current_exe()?, &aside)?;
        std::fs::rename(&aside, &self.program)?;
        std::fs::write(&self.origin, origin)?;
        Ok(())
    }
}

fn folder() -> PathBuf {
    workload::folder().join("rounds")
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
    let times = compare::times(&folder)?;
    ensure!(!times.is_empty(), "no benchmark has a name that FILTER matches");
    Ok(times)
}

/// All that was measured.
pub struct Rounds {
    last: Vec<Times>,
    now: Vec<Times>,
    /// What this program was built from.
    origin: String,
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

/// Measures this program and, where there is one, the last in turn. `arguments` are those of
/// `cargo bench`, for criterion.
///
/// # Errors
/// If one of them fails.
pub fn measure(settings: &Settings, arguments: &[OsString]) -> anyhow::Result<Rounds> {
    let (kept, this) = (Kept::new(), std::env::current_exe()?);
    let all = arguments.iter().all(|argument| argument == "--bench");
    let mut rounds = Rounds { last: Vec::new(), now: Vec::new(), origin: commit(), all };
    let compares = kept.program.exists();
    for number in 0..settings.rounds {
        eprintln!("round {} of {}", number + 1, settings.rounds);
        // Every second round the other way.
        for is_now in [number % 2 == 1, number % 2 == 0] {
            if is_now {
                rounds.now.push(round(&this, "now", arguments)?);
            } else if compares {
                let times = round(&kept.program, "last", arguments).with_context(|| {
                    let folder = kept.program.parent().unwrap_or(&kept.program).display();
                    format!("the last program does not run any more; remove {folder} to begin anew")
                })?;
                rounds.last.push(times);
            }
        }
    }
    Ok(rounds)
}

/// Prints what was measured, and how it compares with the last program; keeps this one in its
/// place as [`compare::may_replace`] says, or if the settings do. Whether nothing is slower.
///
/// # Errors
/// If the disk refuses.
pub fn judge(settings: &Settings, rounds: &Rounds) -> anyhow::Result<bool> {
    let Settings { noise, save, .. } = *settings;
    let kept = Kept::new();
    let changes = compare::changes(&rounds.last, &rounds.now);
    let (count, first) = (rounds.now.len(), rounds.last.is_empty());
    if first {
        println!("\nNo program to compare with yet; {count} rounds:");
    } else {
        let origin = std::fs::read_to_string(&kept.origin).unwrap_or_default();
        println!("\nAgainst the last program ({origin}), {count} rounds in turn:");
    }
    for (name, change) in &changes {
        let seconds = duration(rounds.seconds(name).unwrap_or(f64::NAN));
        let change = change.map(|change| describe(&change, noise)).unwrap_or_default();
        println!("  {name}: {seconds}{change}");
    }
    let names = |all: &[Times]| -> BTreeSet<String> {
        all.iter().flat_map(|times| times.keys().cloned()).collect()
    };
    let (before, now) = (names(&rounds.last), names(&rounds.now));
    let gone: Vec<&String> = before.difference(&now).collect();
    for name in &gone {
        println!("  {name}: the last program had it, this one has not");
    }
    let fewest = compare::fewest(changes.len());
    if !first && count < fewest {
        println!("Too few rounds for an interval: take ROUNDS={fewest} or more.");
    }
    let is = |wanted: Verdict| {
        changes.values().flatten().filter(|change| change.verdict(noise) == wanted).count()
    };
    let (slower, noisy) = (is(Verdict::Slower), is(Verdict::TooNoisy));
    if noisy > 0 {
        let worth = 100.0 * compare::WORTH_KNOWING;
        println!(
            "{noisy} too noisy to tell: a slow-down of {worth:.0}% would not have been seen. \
             Leave the cores to this, or take more ROUNDS."
        );
    }
    if slower > 0 {
        println!("{slower} slower: all of the interval lies above +{:.0}%.", 100.0 * noise);
    }
    let may_replace = first || compare::may_replace(&changes, gone.len(), noise);
    if save || rounds.all && may_replace {
        kept.replace(&rounds.origin)?;
        println!("This program is what the next one is compared with.");
    } else {
        println!("This program is not kept to compare with; SAVE=yes keeps it.");
    }
    Ok(save || slower == 0)
}

fn describe(change: &Change, noise: f64) -> String {
    let Change { low, estimate, high } = *change;
    let [low, estimate, high] = [low, estimate, high].map(|x| 100.0 * (x - 1.0));
    let words = change.verdict(noise).words();
    format!(", {estimate:+.1}% [{low:+.1}, {high:+.1}] {words}")
}
