//! Planted regressions: each mistake in the training semantics is caught, and by which level.
//! Needs the feature `planted-faults`; `make test` runs it.
#![cfg(feature = "planted-faults")]

mod common;

use bad_global_minima::models::weights;
use bad_global_minima::planted;
use bad_global_minima::store::Store;
use common::{Workplace, alike, guarded, repository, short_runs, small_chain, text};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a build with one mistake (or none) gives for a small run with everything in it.
struct Evidence {
    /// Batches, labels and learning rates of a trace: determinism level D0.
    made: Vec<u8>,
    /// Hash of the whole run: level D1.
    result: String,
    /// Numbers of the short runs, compared as on any machine.
    short: Vec<(String, f64)>,
    gate: Gate,
}

/// What the smoke gate says against a reference of another platform.
struct Gate {
    exit: i32,
    /// Whether a number is outside.
    tolerances: bool,
    /// Whether a claim departs.
    verdicts: bool,
    said: String,
}

fn evidence(fault: Option<&str>) -> Evidence {
    let place = Workplace::new();
    let spec = place.spec_file("spec.json", &small_chain());
    let command = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("BGM_PLANTED_FAULT", fault.unwrap_or_default());
        command.output().expect("bgm starts")
    };
    let trace = place.path("trace.safetensors");
    let spec = spec.to_str().unwrap();
    let output = command(&["trace", spec, "--steps", "6", "--out", trace.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let tensors = weights::from_bytes(&std::fs::read(trace).unwrap()).unwrap();
    // The child's own initial weights come from a training; its batches and its learning
    // rates are level D0.
    let is_made = |name: &str| name.starts_with("batch/") || name == "learning_rates";
    let made: BTreeMap<_, _> = tensors.into_iter().filter(|(name, _)| is_made(name)).collect();
    let run = command(&["run", spec]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let result = text(&run.stdout).split_whitespace().nth(1).unwrap().to_owned();

    let mut short = Vec::new();
    for (name, spec) in short_runs() {
        let run = command(&["run", place.spec_file("short.json", &spec).to_str().unwrap()]);
        assert!(run.status.success(), "{}", text(&run.stderr));
        let key = text(&run.stdout).split_whitespace().next().unwrap().parse().unwrap();
        let stored = Store::open(place.path("runs")).unwrap().read(&key).unwrap();
        short.extend(guarded(name, &spec, &stored.metrics));
    }

    let expected = place.path("expected");
    std::fs::create_dir_all(&expected).unwrap();
    let from = repository().join("expected");
    std::fs::copy(from.join("claims.toml"), expected.join("claims.toml")).unwrap();
    let smoke = std::fs::read_to_string(from.join("smoke.toml")).unwrap();
    let elsewhere = smoke.replace("numerics = \"", "numerics = \"other than ");
    assert_ne!(smoke, elsewhere);
    std::fs::write(expected.join("smoke.toml"), elsewhere).unwrap();
    let out = place.path("out");
    let gate = |action: &[&str]| {
        let only = ["--profile", "smoke", "--only", "table1_accuracy,table3_distance"];
        let expected = ["--expected", expected.to_str().unwrap(), "-q"];
        // Seeds that the reference does not hold: unchanged code must pass with any.
        let seeds: &[&str] = if fault.is_none() { &["--seeds", "100..105"] } else { &[] };
        command(&[&only[..], &expected, seeds, action].concat())
    };
    gate(&["reproduce", "--out", out.to_str().unwrap()]);
    let verified = gate(&["verify", "--format", "json"]);
    let said = text(&verified.stdout);
    let json: serde_json::Value = serde_json::from_str(&said).expect("verify prints JSON");
    let any = |list: &str, field: &str, value: &str| {
        json[list].as_array().unwrap().iter().any(|entry| entry[field] == value)
    };
    let gate = Gate {
        exit: verified.status.code().expect("an exit code"),
        tolerances: any("regression", "status", "outside"),
        verdicts: any("claims", "standing", "departed"),
        said,
    };
    Evidence { made: weights::to_bytes(&made, None), result, short, gate }
}

#[test]
fn every_planted_regression_is_caught() {
    let clean = evidence(None);
    let said = &clean.gate.said;
    assert_eq!(clean.gate.exit, 0, "unchanged code must pass elsewhere, with other seeds: {said}");
    let mut table = String::from(
        "| planted regression | D0 hashes | D1 bits | short runs | tolerances | verdicts |\n",
    );
    table += "|---|---|---|---|---|---|\n";
    let mut missed = Vec::new();
    for fault in planted::NAMES {
        let faulty = evidence(Some(fault));
        let d0 = faulty.made != clean.made;
        let d1 = faulty.result != clean.result;
        let mut pairs = faulty.short.iter().zip(&clean.short);
        let short = pairs.any(|((_, a), (_, b))| !alike(*a, *b));
        let Gate { tolerances, verdicts, exit, .. } = faulty.gate;
        assert_eq!(exit == 1, tolerances || verdicts, "{fault}: the exit code says what was found");
        let mark = |caught: bool| if caught { "caught" } else { "-" };
        writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} |",
            fault.replace('_', " "),
            mark(d0),
            mark(d1),
            mark(short),
            mark(tolerances),
            mark(verdicts)
        )
        .unwrap();
        // Bits tell only where the reference was made: every mistake must show elsewhere too.
        if !(d0 || short || tolerances || verdicts) {
            missed.push(fault);
        }
    }
    println!("{table}");
    assert!(missed.is_empty(), "not caught by any level: {missed:?}\n{table}");
    if !common::on_reference_platform() {
        return; // what tolerances catch there may differ by a cell
    }
    // Which level catches which is in docs/verification.md: it must be this table.
    insta::assert_snapshot!(table);
    let page = std::fs::read_to_string(repository().join("docs/verification.md")).unwrap();
    assert!(page.contains(table.trim()), "run `make readme`; the table is now:\n{table}");
}
