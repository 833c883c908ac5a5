//! `bgm store export`: runs without their weights, which travel light and are read like any
//! other, until somebody needs the weights.

mod common;

use bad_global_minima::experiments::results::Measured;
use bad_global_minima::spec::Key;
use bad_global_minima::store::{Store, StoreError, paths};
use bad_global_minima::verify::reference::Reference;
use common::{Workplace, repository, text, toy_chain};
use std::path::{Path, PathBuf};

/// A store with a chain of two runs, and the records of both merged into an empty store.
struct Records {
    place: Workplace,
    parent: Key,
    child: Key,
    file: PathBuf,
    there: PathBuf,
}

impl Records {
    fn new() -> Records {
        let place = Workplace::new();
        let spec = toy_chain(3, 4);
        let parent = spec.parent().unwrap().clone();
        let parent = place.run(&place.spec_file("parent.json", &parent)).0.parse().unwrap();
        let child = place.run(&place.spec_file("child.json", &spec)).0.parse().unwrap();
        let (file, there) = (place.path("records.tar.gz"), place.path("there"));
        let output = place.bgm(&["store", "export", "--out", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        Records { place, parent, child, file, there }
    }

    /// Merges a file or a store; exit code and what was said.
    fn merge(&self, from: &Path) -> (Option<i32>, String) {
        let (from, there) = (from.to_str().unwrap(), self.there.to_str().unwrap());
        let output = self.place.bgm(&["store", "merge", from, "--into", there]);
        (output.status.code(), text(&output.stderr))
    }

    fn made(&self) -> Store {
        Store::open(self.place.path("runs")).unwrap()
    }
}

#[test]
fn a_record_is_the_run_without_its_weights() {
    let records = Records::new();
    let (code, said) = records.merge(&records.file);
    assert_eq!(code, Some(0), "{said}");
    let (made, there) = (records.made(), Store::open(&records.there).unwrap());
    for key in [&records.parent, &records.child] {
        let (run, record) = (made.read(key).unwrap(), there.read(key).unwrap());
        assert_eq!(
            (&run.spec, &run.metrics, &run.result_hash, &run.environment),
            (&record.spec, &record.metrics, &record.result_hash, &record.environment)
        );
        assert!(run.has_weights() && !record.has_weights());
        assert!(matches!(record.weights(None), Err(StoreError::Record(k)) if k == *key));
        assert!(!paths::run(&records.there, key).join(paths::WEIGHTS).exists());
    }
    // Again, the same bytes; a record of a record is the record.
    for store in [records.place.path("runs"), records.there.clone()] {
        let again = records.place.path("again.tar.gz");
        Store::open(store).unwrap().export(&again, |_| true).unwrap();
        assert!(std::fs::read(&again).unwrap() == std::fs::read(&records.file).unwrap());
    }
    // The weights come later; then nothing is new.
    for (merged, expected) in [("2 runs", true), ("0 runs", true)] {
        let (code, said) = records.merge(&records.place.path("runs"));
        assert_eq!((code, said.contains(&format!("{merged} and"))), (Some(0), expected), "{said}");
        assert!(there.read(&records.child).unwrap().weights(None).is_ok());
    }
    // And a record takes nothing away.
    assert_eq!(records.merge(&records.file).0, Some(0));
    assert!(there.read(&records.child).unwrap().has_weights());
}

#[test]
fn an_export_can_leave_out_what_the_profile_needs_not_or_others_hold() {
    let records = Records::new();
    let out = records.place.path("part.tar.gz");
    let export = |more: &[&str]| {
        let arguments = ["store", "export", "--out", out.to_str().unwrap()];
        let output = records.place.bgm(&[&arguments, more].concat());
        (output.status.code(), text(&output.stderr))
    };
    let file = records.file.to_str().unwrap().to_owned();
    // Runs of the tests' own specs belong to no profile. Where nothing is left, nothing is written.
    for more in [&["--without", &file][..], &["--needed"]] {
        let (code, said) = export(more);
        assert!(code == Some(3) && said.contains("no run is left to export"), "{code:?} {said}");
        assert!(!out.exists());
    }
    let (code, said) = export(&[]);
    assert!(code == Some(0) && said.contains("records of 2 runs"), "{said}");
    // What was measured since then is nowhere else.
    let (made, key) = (records.made(), &records.child);
    let hash = made.read(key).unwrap().result_hash;
    made.keep_measured(key, "0123456789abcdef", &hash, &Measured::default()).unwrap();
    let (code, said) = export(&["--without", &file]);
    assert!(code == Some(0) && said.contains("records of 1 runs and 1 measurements"), "{said}");
}

#[test]
fn who_needs_the_weights_trains_the_run_again() {
    let records = Records::new();
    records.merge(&records.file);
    let run = |spec: &Path| {
        let mut command = records.place.command(&["run", spec.to_str().unwrap()]);
        command.arg("--store").arg(&records.there);
        // The last --store counts.
        let mut arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        arguments.drain(..2);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bgm"));
        let output = command.current_dir(common::repository()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let there = Store::open(&records.there).unwrap();
    assert!(run(&records.place.path("child.json")).contains("already stored"));
    assert!(!there.read(&records.parent).unwrap().has_weights());
    // Another child of the same parent.
    let other = records.place.spec_file("other.json", &toy_chain(3, 5));
    assert!(run(&other).contains("it is trained again"));
    let parent = there.read(&records.parent).unwrap();
    assert!(parent.has_weights());
    assert_eq!(parent.result_hash, records.made().read(&records.parent).unwrap().result_hash);
    assert!(!there.read(&records.child).unwrap().has_weights());
}

#[test]
fn what_is_damaged_is_named_and_not_used() {
    let records = Records::new();
    let whole = std::fs::read(&records.file).unwrap();
    let file = records.place.path("damaged.tar.gz");
    let mut changed = whole.clone();
    let middle = whole.len() / 2;
    changed[middle] ^= 1;
    for bytes in [&whole[..whole.len() - 9], &whole[..middle], &changed, b"no archive", b""] {
        std::fs::write(&file, bytes).unwrap();
        let (code, said) = records.merge(&file);
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("damaged.tar.gz"), "{said}");
    }
    // Entries that no such file has, a long name that would be read into memory among them.
    let good = format!("{}/spec.json", records.parent);
    for (name, kind) in [
        ("../escape", tar::EntryType::Regular),
        ("spec.json", tar::EntryType::Regular),
        ("0/spec.json", tar::EntryType::Regular),
        (&good, tar::EntryType::Symlink),
        (&good, tar::EntryType::GNULongName),
        (&good, tar::EntryType::XHeader),
    ] {
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        archive.append(&header, &b""[..]).unwrap();
        let bytes = archive.into_inner().unwrap().finish().unwrap();
        std::fs::write(&file, bytes).unwrap();
        let (code, said) = records.merge(&file);
        assert_eq!(code, Some(4), "{name}: {said}");
        assert!(said.contains("no file of records has such a one"), "{said}");
    }
    // A run whose metrics were changed before the export is left out of it; a record that was
    // changed after the merge is no longer used.
    assert_eq!(records.merge(&records.file).0, Some(0));
    for root in [records.place.path("runs"), records.there.clone()] {
        let metrics = paths::run(&root, &records.child).join(paths::METRICS);
        let text = std::fs::read_to_string(&metrics).unwrap();
        std::fs::write(&metrics, text.replacen('1', "2", 1)).unwrap();
        let store = Store::open(&root).unwrap();
        assert!(matches!(store.read(&records.child), Err(StoreError::Damaged { .. })));
    }
    let out = file.to_str().unwrap();
    let output = records.place.bgm(&["store", "export", "--out", out]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("metrics.json"), "{}", text(&output.stderr));
    assert_eq!(Store::unpack(&file).unwrap().store.keys().unwrap(), [records.parent]);
}

/// A workplace whose store holds the records of a profile in the repository.
fn with_records_of(profile: &str) -> Workplace {
    let place = Workplace::new();
    let file = repository().join(format!("expected/records/{profile}.tar.gz"));
    let merged = place.bgm(&["store", "merge", file.to_str().unwrap()]);
    assert!(merged.status.success(), "{}", text(&merged.stderr));
    place
}

#[test]
fn the_runs_of_a_gpu_are_judged_where_there_is_none() {
    let place = with_records_of("gpu");
    let reference = Reference::of_profile(&repository().join("expected"), "gpu").unwrap().unwrap();
    let numerics = reference.platform.numerics.to_string();
    let of_gpu = ["--profile", "gpu", "--numerics", &numerics];
    let verified = place.bgm(&[&of_gpu[..], &["verify", "--format", "json"]].concat());
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
    let verified: serde_json::Value = serde_json::from_slice(&verified.stdout).unwrap();
    let numbers = verified["regression"].as_array().unwrap();
    assert!(numbers.len() > 20 && numbers.iter().all(|number| number["status"] == "exact"));
    // The reference says where the runs were made, and not who has blessed them.
    let blessed = place.bgm(&[&of_gpu[..], &["bless", "--reason", "again"]].concat());
    assert_eq!(text(&blessed.stdout), "no number and no verdict changes\n");
}

/// Cells of R2b and R7 are made of the very same runs, at other seeds: a verdict rests on those
/// that its own experiment declares, whatever else is planned.
#[test]
fn a_verdict_rests_on_the_seeds_of_its_own_experiment() {
    let place = with_records_of("desk");
    let verify = |only: &str| {
        let arguments = ["--profile", "desk", "--only", only, "verify", "--format", "json"];
        let output = place.bgm(&arguments);
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let claim = found["claims"].as_array().unwrap().iter().find(|c| c["id"] == "R2b").cloned();
        (output.status.code(), claim.unwrap())
    };
    let (code, alone) = verify("r2_constant_rate");
    assert_eq!((code, &alone["n"]), (Some(0), &10.into()), "{alone}");
    assert_eq!(verify("r2_constant_rate,r7_grid_vanilla"), (Some(0), alone));
}
