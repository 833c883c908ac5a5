//! A blessed reference cannot be edited unseen: its verdicts must follow from its values, and
//! what is missing from it leaves a verification incomplete.

mod common;

use common::{Workplace, repository, text};
use serde_json::Value;
use std::path::PathBuf;

/// The blessed runs of `quick`, with claims, reference and protocol to edit.
struct Blessed {
    place: Workplace,
    reference: String,
}

impl Blessed {
    fn new() -> Blessed {
        let place = Workplace::new();
        let records = repository().join("expected/records/quick.tar.gz");
        let merged = place.bgm(&["store", "merge", records.to_str().unwrap()]);
        assert!(merged.status.success(), "{}", text(&merged.stderr));
        for folder in ["expected", "docs"] {
            std::fs::create_dir(place.path(folder)).unwrap();
        }
        for file in ["expected/quick.toml", "expected/claims.toml", "docs/protocol.md"] {
            std::fs::copy(repository().join(file), place.path(file)).unwrap();
        }
        let reference = std::fs::read_to_string(place.path("expected/quick.toml")).unwrap();
        Blessed { place, reference }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.place.path(&format!("expected/{name}"))
    }

    fn bgm(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let expected = self.place.path("expected");
        let fixed = ["--profile", "quick", "--expected", expected.to_str().unwrap()];
        let output = self.place.bgm(&[&fixed[..], arguments].concat());
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let (code, out, said) = self.bgm(&[arguments, &["verify", "--format", "json"]].concat());
        (code, serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {said}")))
    }

    /// Exchanges the first `old` after `section`, verifies, and says how the claim stands.
    fn edited(&self, section: &str, (old, new): (&str, &str), claim: &str) -> (Option<i32>, Value) {
        let start = self.reference.find(section).expect(section);
        let (before, after) = self.reference.split_at(start);
        assert!(after.contains(old), "{section} has no '{old}'");
        std::fs::write(self.file("quick.toml"), before.to_owned() + &after.replacen(old, new, 1))
            .unwrap();
        let (code, found) = self.json(&[]);
        let claims = found["claims"].as_array().unwrap();
        (code, claims.iter().find(|found| found["id"] == claim).unwrap().clone())
    }
}

#[test]
fn every_field_of_a_blessed_verdict_is_held_against_the_blessed_values() {
    let blessed = Blessed::new();
    let (code, found) = blessed.json(&[]);
    assert_eq!(code, Some(0), "{found}");
    let c5 = "vanilla from adversarial is worse than vanilla from random";
    for (id, old, new, names) in [
        ("C1", "statistic = 5.4", "statistic = 50.4", "statistic"),
        ("C1", "interval = [4.", "interval = [3.", "interval"),
        ("C1", "n = 10", "n = 9", "n is"),
        ("C1", "must_be = \"above 3\"", "must_be = \"above 2\"", "must_be"),
        ("C1", "direction = \"Random", "direction = \"Adversarial", "direction"),
        (
            "C1",
            "experiment = \"table1_accuracy\"",
            "experiment = \"table3_distance\"",
            "experiment",
        ),
        ("C5", &format!("deciding_part = \"{c5}"), "deciding_part = \"another", "deciding_part"),
        ("C5", &format!("name = \"{c5}"), "name = \"another", "part"),
        ("C1", "effect = 5.4", "effect = 5.41", "part"),
        ("C1", "standard_error = 0.", "standard_error = 1.", "part"),
        ("C7", "verdict = \"refuted\"", "verdict = \"inconclusive\"", "verdict"),
    ] {
        let (code, claim) = blessed.edited(&format!("[verdicts.{id}]"), (old, new), id);
        assert_eq!(
            (code, &claim["standing"]),
            (Some(1), &"departed".into()),
            "{id} {old}: {claim}"
        );
        let note = claim["standing_note"].as_str().unwrap();
        assert!(note.contains(names), "{id} {old}: {note}");
    }
}

#[test]
fn what_is_not_blessed_or_not_there_leaves_the_verification_incomplete() {
    let blessed = Blessed::new();
    let (start, end) = ("[verdicts.C1]", "[verdicts.C2]");
    let cut = blessed.reference.find(start).unwrap()..blessed.reference.find(end).unwrap();
    let mut without = blessed.reference.clone();
    without.replace_range(cut, "");
    std::fs::write(blessed.file("quick.toml"), without).unwrap();
    let (code, found) = blessed.json(&[]);
    assert_eq!((code, &found["claims"][0]["standing"]), (Some(3), &"unblessed".into()));
    std::fs::write(blessed.file("quick.toml"), &blessed.reference).unwrap();
    // An experiment without blessed numbers: not one of those is there that it declares.
    let mut without = blessed.reference.clone();
    let values = without.find("[[value]]\nexperiment = \"fig2_curves\"").unwrap();
    let end = values + without[values..].find("experiment = \"table3_distance\"").unwrap();
    without.replace_range(values..end - "[[value]]\n".len(), "");
    std::fs::write(blessed.file("quick.toml"), without).unwrap();
    let (code, found) = blessed.json(&["--only", "fig2_curves"]);
    let numbers = found["regression"].as_array().unwrap();
    let missing = numbers.iter().filter(|number| number["status"] == "missing").count();
    assert_eq!((code, missing, numbers.len()), (Some(3), 8, 8), "{found}");
    std::fs::write(blessed.file("quick.toml"), &blessed.reference).unwrap();
    std::fs::remove_dir_all(blessed.place.path("runs")).unwrap();
    std::fs::create_dir(blessed.place.path("runs")).unwrap();
    let (code, found) = blessed.json(&["--only", "fig2_curves"]);
    assert_eq!((code, found["lacking"].as_array().unwrap().len()), (Some(3), 1), "{found}");
}

#[test]
fn a_reference_that_this_program_cannot_compare_with_is_refused() {
    let blessed = Blessed::new();
    let later = blessed.reference.replacen("semantics = ", "semantics = 99", 1);
    // One seed and one value of each number.
    let first = |line: &str| match line.split_once(',') {
        Some((first, _)) if line.starts_with("seeds = [") || line.starts_with("values = [") => {
            format!("{first}]\n")
        }
        _ => format!("{line}\n"),
    };
    let short: String = blessed.reference.lines().map(first).collect();
    let without = |line: &str| blessed.reference.replacen(line, "", 1);
    let other_seeds = blessed.reference.replacen("seeds = [0, ", "seeds = [100, ", 1);
    for (edited, names) in [
        (later, ["semantics = 99", "later"]),
        (short, ["table1_accuracy", "1"]),
        // Tolerances are blessed, and the numbers of a cell come from the same runs.
        (without("resolution = 0.2\n"), ["missing", "resolution"]),
        (without("max_spread = 6.0\n"), ["missing", "max_spread"]),
        (other_seeds, ["table1_accuracy [init=random optimizer=vanilla]", "100"]),
    ] {
        std::fs::write(blessed.file("quick.toml"), edited).unwrap();
        let (code, _, said) = blessed.bgm(&["verify"]);
        assert_eq!(code, Some(2), "{said}");
        for name in names.iter().chain(&["quick.toml"]) {
            assert!(said.contains(name), "'{name}' is not in: {said}");
        }
    }
    // And none is written that could not be read again.
    std::fs::write(blessed.file("quick.toml"), &blessed.reference).unwrap();
    let (code, ..) = blessed.bgm(&["bless", "--reason", "a bell: \u{7}", "--write"]);
    assert_eq!(code, Some(2));
    assert_eq!(std::fs::read_to_string(blessed.file("quick.toml")).unwrap(), blessed.reference);
}

#[test]
fn a_number_that_departs_is_named_with_its_cell() {
    let blessed = Blessed::new();
    let edited = blessed.reference.replacen("values = [77.0", "values = [77.1", 1);
    assert_ne!(edited, blessed.reference);
    std::fs::write(blessed.file("quick.toml"), edited).unwrap();
    let (code, out, _) = blessed.bgm(&["verify"]);
    assert_eq!(code, Some(1));
    let name = "outside: table1_accuracy [init=random optimizer=vanilla] test_accuracy";
    assert!(out.contains(name), "{out}");
}

#[test]
fn changed_claims_are_named_even_without_the_protocol() {
    let blessed = Blessed::new();
    let claims = std::fs::read_to_string(blessed.file("claims.toml")).unwrap();
    std::fs::write(blessed.file("claims.toml"), claims.replacen("margin = 3.0", "margin = 2.5", 1))
        .unwrap();
    let changed = |found: &Value| found["protocol"]["changed"].as_array().unwrap().clone();
    // The verdict is the same, and yet it was given on another claim.
    let (code, found) = blessed.json(&[]);
    assert_eq!((code, &found["claims"][0]["standing"]), (Some(3), &"unblessed".into()), "{found}");
    assert!(changed(&found).contains(&"claim C1".into()), "{found}");
    // A verdict that the change turns is no departure either: nothing here has moved.
    let turned = claims.replacen("margin = 3.0", "margin = 10.0", 1);
    std::fs::write(blessed.file("claims.toml"), turned).unwrap();
    let (code, found) = blessed.json(&[]);
    assert_eq!((code, &found["claims"][0]["standing"]), (Some(3), &"unblessed".into()), "{found}");
    let changed_a_little = claims.replacen("margin = 3.0", "margin = 2.5", 1);
    std::fs::write(blessed.file("claims.toml"), changed_a_little).unwrap();
    // Blessed again, it is as blessed; that it was changed is still said.
    let (code, ..) = blessed.bgm(&["bless", "--verdicts-only", "--write", "--reason", "2.5"]);
    assert_eq!(code, Some(0));
    let (code, found) = blessed.json(&[]);
    assert_eq!((code, &found["claims"][0]["standing"]), (Some(0), &"as_blessed".into()), "{found}");
    assert!(changed(&found).contains(&"claim C1".into()), "{found}");
    std::fs::remove_file(blessed.place.path("docs/protocol.md")).unwrap();
    let (_, found) = blessed.json(&[]);
    assert_eq!(changed(&found), ["the protocol itself (gone)", "claim C1"]);
}

#[test]
fn blessing_again_keeps_the_protocol_that_the_runs_were_made_under() {
    let blessed = Blessed::new();
    // With the commits and the devices of the runs, which are those of the records.
    let stamp = |text: &str| {
        let head = text.split("[protocol.blessed").next().unwrap();
        let own = |line: &&str| ["commit", "device", "sha256"].iter().any(|n| line.starts_with(n));
        head.lines().filter(own).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = stamp(&blessed.reference);
    let again = || {
        let (code, _, said) = blessed.bgm(&["bless", "--write", "--reason", "again"]);
        assert_eq!(code, Some(0), "{said}");
        stamp(&std::fs::read_to_string(blessed.file("quick.toml")).unwrap())
    };
    let protocol = blessed.place.path("docs/protocol.md");
    let text = std::fs::read_to_string(&protocol).unwrap();
    std::fs::write(&protocol, text + "\nA deviation, written down afterwards.\n").unwrap();
    assert_eq!(again(), before);
    // Runs of another program are under today's protocol, and so are those that were declared
    // otherwise: here, with another margin.
    let other = blessed.reference.replacen("commit = \"", "commit = \"0000000, ", 1);
    std::fs::write(blessed.file("quick.toml"), other).unwrap();
    assert_ne!(again(), before);
    std::fs::write(blessed.file("quick.toml"), &blessed.reference).unwrap();
    let claims = std::fs::read_to_string(blessed.file("claims.toml")).unwrap();
    assert!(claims.contains("margin = 3.0"), "{claims}");
    std::fs::write(blessed.file("claims.toml"), claims.replacen("margin = 3.0", "margin = 2.5", 1))
        .unwrap();
    assert_ne!(again(), before);
}
