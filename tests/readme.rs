//! The README tells the truth where that can be checked by a machine.

mod common;

use common::{Workplace, repository, text};

fn readme() -> String {
    std::fs::read_to_string(repository().join("README.md")).unwrap()
}

/// What stands in the place of verdicts that there are none of; `scripts/readme.sh` writes it.
fn none_yet(profile: &str) -> String {
    format!("The profile `{profile}` has no blessed reference yet, so there are no verdicts.")
}

/// `make readme` writes this table; a new reference without it fails here.
#[test]
fn the_verdicts_at_a_glance_are_the_blessed_ones() {
    let place = Workplace::new();
    for profile in ["quick", "desk"] {
        let output = place.bgm(&["--profile", profile, "report", "--verdicts"]);
        let blessed = repository().join(format!("expected/{profile}.toml")).exists();
        assert_eq!(output.status.success(), blessed, "{}", text(&output.stderr));
        let table = if blessed { text(&output.stdout) } else { none_yet(profile) };
        assert!(readme().contains(table.trim()), "run `make readme`; {profile} is now:\n{table}");
    }
}

#[test]
fn every_command_and_exit_code_is_there() {
    let readme = readme();
    for word in [
        "make reproduce",
        "make test",
        "make report",
        "make smoke",
        "make crosscheck",
        "TORCH_PYTHON",
        "bgm check --sample",
        "bgm store prune",
    ] {
        assert!(readme.contains(word), "{word}");
    }
    for code in ["| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 4 |", "| 70 |", "| 75 |"] {
        assert!(readme.contains(code), "exit code {code}");
    }
}

#[test]
fn every_experiment_is_named_with_its_command() {
    let readme = readme();
    for entry in std::fs::read_dir(repository().join("paper_tables")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if let Some(id) = name.strip_suffix(".toml") {
            assert!(readme.contains(&format!("`{id}`")), "{id} is not in the README");
        }
    }
}
