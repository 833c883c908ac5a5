//! A commit's own results: its program, built from its own files, and what that makes of the
//! profile. Everything lies in `target/commits/<hash>/` and is made once.

use crate::cli::CliError;
use crate::cli::args::Global;
use crate::cli::session::git;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The full hash of a commit by any of its names.
pub fn resolve(name: &str) -> Option<String> {
    git(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])
}

/// Folder with the `runs/` and the `reproduction/` of the profile by a commit.
///
/// # Errors
/// If the commit cannot be built, or its program fails; if an option is given that it does not get.
pub fn reproduce(global: &Global, commit: &str) -> Result<PathBuf, CliError> {
    if global.seeds.is_some() || global.engine.is_some() || global.threads.is_some() {
        let problem = "two commits are compared with their own seeds, engine and threads: leave \
                       --seeds, --engine and --threads out";
        return Err(CliError::Usage(problem.to_owned()));
    }
    let top = git(&["rev-parse", "--show-toplevel"])
        .ok_or_else(|| CliError::Environment("no git repository here".to_owned()))?;
    let top = PathBuf::from(top);
    let folder = top.join("target/commits").join(commit);
    let (tree, program) = (folder.join("tree"), folder.join("bgm"));
    let mut name = vec![global.profile.as_str()];
    name.extend(global.only.iter().map(String::as_str));
    name.extend(Some(global.device.as_str()).filter(|device| *device != "auto"));
    let made = folder.join(name.join("-"));
    if made.join("reproduction/tables").is_dir() {
        return Ok(made);
    }
    create(&folder)?;
    if !tree.is_dir() {
        let mut git = Command::new("git");
        git.current_dir(&top).args(["worktree", "add", "--force", "--detach"]).arg(&tree);
        run(git.arg(commit), &[0])?;
    }
    if !program.is_file() {
        build(&top, &tree, &program)?;
    }
    let data = std::path::absolute(&global.data);
    let data =
        data.map_err(|e| CliError::Environment(format!("{}: {e}", global.data.display())))?;
    let mut reproduce = Command::new(&program);
    reproduce.current_dir(&tree).arg("--profile").arg(&global.profile).arg("--data").arg(data);
    reproduce.arg("--store").arg(made.join("runs")).args(["--device", &global.device]);
    if !global.only.is_empty() {
        reproduce.args(["--only", &global.only.join(",")]);
    }
    reproduce.arg("reproduce").arg("--out").arg(made.join("reproduction"));
    // Whether its numbers are as it blessed them does not matter here.
    run(&mut reproduce, &[0, 1, 3])?;
    let mut git = Command::new("git");
    run(git.current_dir(&top).args(["worktree", "remove", "--force"]).arg(&tree), &[0])?;
    Ok(made)
}

/// Builds the program of `tree` and keeps it as `program`. The dependencies are those of this
/// working tree's own builds, compiled once; its binary is put back.
fn build(top: &Path, tree: &Path, program: &Path) -> Result<(), CliError> {
    let target = top.join("target");
    let (built, aside) = (target.join("release/bgm"), target.join("commits/own-bgm"));
    let has_own = std::fs::rename(&built, &aside).is_ok();
    let mut cargo = Command::new("cargo");
    cargo.current_dir(tree).args(["build", "--release", "--target-dir"]).arg(&target);
    if std::env::var_os("LIBTORCH").is_none() {
        cargo.env("LIBTORCH", top.join(".libtorch"));
    }
    let outcome = run(&mut cargo, &[0]);
    let mut moved = if outcome.is_ok() { std::fs::copy(&built, program).map(drop) } else { Ok(()) };
    if has_own {
        moved = moved.and(std::fs::rename(&aside, &built));
    }
    moved.map_err(|e| CliError::Environment(format!("{}: {e}", program.display())))?;
    outcome
}

fn create(folder: &Path) -> Result<(), CliError> {
    let failed = |e| CliError::Environment(format!("{}: {e}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)
}

/// Runs a command whose exit code must be one of `good`.
fn run(command: &mut Command, good: &[i32]) -> Result<(), CliError> {
    let name = command.get_program().display().to_string();
    let status = command
        .stdout(std::io::stderr())
        .status()
        .map_err(|e| CliError::Environment(format!("{name}: {e}")))?;
    match status.code() {
        Some(code) if good.contains(&code) => Ok(()),
        _ => Err(CliError::Environment(format!("{name}: {status}"))),
    }
}
