//! Verdicts and regression on made-up runs: no training, milliseconds.

mod common;

use bad_global_minima::backend::Platform;
use bad_global_minima::data::Catalog;
use bad_global_minima::experiments::aggregate::{RunRecord, Runs, aggregate};
use bad_global_minima::experiments::results::{ExperimentResult, Measured};
use bad_global_minima::experiments::{Plan, Profile, Seeds};
use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::spec::{Key, Numerics, Optimizer, RunSpec};
use bad_global_minima::train::metrics::{Evaluation, Metrics, Status};
use bad_global_minima::verify::bless::{self, Provenance};
use bad_global_minima::verify::claims::Claims;
use bad_global_minima::verify::junit;
use bad_global_minima::verify::outcome::Verification;
use bad_global_minima::verify::outcome::{RegressionStatus, Verdict};
use bad_global_minima::verify::reference::Reference;
use bad_global_minima::verify::{Case, exit};
use common::repository;

/// Made-up runs: test accuracy by (adversarial?, sota?) with noise by seed.
struct MadeUp<'a> {
    /// random vanilla, adversarial vanilla, random sota, adversarial sota
    means: [f64; 4],
    noise: f64,
    /// Which draw of the noise.
    draw: u64,
    status: &'a dyn Fn(&RunSpec) -> Status,
    missing: &'a dyn Fn(&RunSpec) -> bool,
}

fn finished(_: &RunSpec) -> Status {
    Status::Finished
}

fn none(_: &RunSpec) -> bool {
    false
}

impl MadeUp<'_> {
    fn new(means: [f64; 4], noise: f64) -> Self {
        MadeUp { means, noise, draw: 0, status: &finished, missing: &none }
    }
}

impl Runs for MadeUp<'_> {
    fn run(&self, key: &Key, spec: &RunSpec) -> Option<RunRecord> {
        if (self.missing)(spec) {
            return None;
        }
        let sota =
            matches!(spec.train.optimizer, Optimizer::Sgd { momentum, .. } if momentum > 0.0);
        let cell = 2 * usize::from(sota) + usize::from(spec.parent().is_some());
        let which = bad_global_minima::rng::name_index(key.as_str());
        let noise = Stream::open(self.draw, Purpose::Test, &[which]).normal() * self.noise;
        let evaluation = Evaluation {
            epoch: 60,
            learning_rate: 0.1,
            train_loss: 0.0,
            train_accuracy: 100.0,
            test_loss: 1.0,
            test_accuracy: self.means[cell] + noise,
            distance: 3.0,
            distance_relative: 0.1,
        };
        let metrics =
            Metrics { status: (self.status)(spec), epochs: 60, evaluations: vec![evaluation] };
        Some(RunRecord { metrics, result_hash: format!("{which}") })
    }

    fn measured(&self, _: &Key, _: &str, _: &str) -> Option<Measured> {
        None
    }
}

fn results(runs: &dyn Runs, seeds: u32) -> Vec<ExperimentResult> {
    let (tables, catalog) =
        (repository().join("paper_tables"), Catalog::new(repository().join("data")));
    let profile = Profile::read(&tables, "quick").unwrap();
    let only = ["table1_accuracy".to_owned()];
    aggregate(
        &Plan::new(&profile, &tables, &catalog, &only, Some(&Seeds::first(seeds))).unwrap(),
        runs,
    )
}

fn claims() -> Claims {
    Claims::read(&repository().join("expected/claims.toml"), &repository().join("paper_tables"))
        .unwrap()
}

/// Verification of whole experiments on a platform of this name.
fn verify(
    results: &[ExperimentResult],
    reference: Option<&Reference>,
    device: &str,
    strict: bool,
) -> Verification {
    bad_global_minima::verify::verify(&Case {
        profile: "quick",
        results,
        claims: &claims(),
        reference,
        platform: &platform(device),
        only: &[],
        strict,
    })
}

fn platform(device: &str) -> Platform {
    Platform { numerics: Numerics::libtorch_cpu("2.11.0"), device: device.to_owned() }
}

fn blessed(results: &[ExperimentResult]) -> Reference {
    let provenance = Provenance {
        profile: "quick".to_owned(),
        reason: "test".to_owned(),
        date: "2026-01-01".to_owned(),
        commit: "none".to_owned(),
        platform: platform("A"),
    };
    bless::make(results, &claims(), provenance, None).unwrap()
}

/// Verdict on a claim, its reason, and the exit code against `reference`.
fn judge(
    id: &str,
    results: &[ExperimentResult],
    reference: Option<&Reference>,
) -> (Verdict, String, u8) {
    let v = verify(results, reference, "A", false);
    let claim = v.claims.iter().find(|c| c.id == id).expect("the claim is judged");
    (claim.verdict, claim.reason.clone(), v.exit)
}

const PAPER: [f64; 4] = [80.0, 68.0, 78.0, 77.8];

#[test]
fn the_papers_pattern_supports_its_claims() {
    let results = results(&MadeUp::new(PAPER, 1.0), 8);
    assert_eq!(judge("C1", &results, None).0, Verdict::Supported);
    assert_eq!(judge("C2", &results, None).0, Verdict::Supported);
}

#[test]
fn a_wrong_pattern_refutes_them() {
    // No gap for vanilla SGD, a large one for SOTA SGD.
    let results = results(&MadeUp::new([80.0, 79.5, 78.0, 70.0], 0.5), 8);
    assert_eq!(judge("C1", &results, None).0, Verdict::Refuted);
    assert_eq!(judge("C2", &results, None).0, Verdict::Refuted);
}

#[test]
fn a_difference_that_is_merely_not_found_is_not_equivalence() {
    // Equal means, but so noisy that a difference of the margin cannot be excluded.
    let results = results(&MadeUp::new(PAPER, 9.0), 5);
    let (verdict, reason, _) = judge("C2", &results, None);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reason.contains("straddles") && reason.contains("seeds would"), "{reason}");
}

#[test]
fn two_seeds_give_no_verdict() {
    let results = results(&MadeUp::new(PAPER, 0.1), 2);
    let (verdict, reason, code) = judge("C1", &results, None);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reason.contains("at least 3"), "{reason}");
    assert_eq!(code, exit::INCOMPLETE);
}

#[test]
fn a_pretraining_that_did_not_memorize_poisons_what_rests_on_it() {
    let status = |spec: &RunSpec| {
        let bad = spec.train.corruption.is_some() && spec.seed == 3;
        if bad { Status::NotMemorized } else { Status::Finished }
    };
    let clean = results(&MadeUp::new(PAPER, 0.5), 8);
    let runs = MadeUp { status: &status, ..MadeUp::new(PAPER, 0.5) };
    let results = results(&runs, 8);
    for claim in ["C1", "C2"] {
        let (verdict, reason, code) = judge(claim, &results, Some(&blessed(&clean)));
        assert_eq!(verdict, Verdict::Inconclusive);
        assert!(reason.contains("seed 3") && reason.contains("memorize"), "{reason}");
        assert_eq!(code, exit::INCOMPLETE);
    }
}

#[test]
fn a_run_that_diverged_poisons_what_rests_on_it() {
    let status = |spec: &RunSpec| {
        if spec.seed == 2 { Status::Diverged } else { Status::Finished }
    };
    let clean = results(&MadeUp::new(PAPER, 0.5), 8);
    let runs = MadeUp { status: &status, ..MadeUp::new(PAPER, 0.5) };
    let (verdict, reason, code) = judge("C1", &results(&runs, 8), Some(&blessed(&clean)));
    assert_eq!((verdict, code), (Verdict::Inconclusive, exit::INCOMPLETE));
    assert!(reason.contains("seed 2") && reason.contains("diverged"), "{reason}");
}

#[test]
fn missing_runs_are_incomplete_and_never_success() {
    let clean = results(&MadeUp::new(PAPER, 0.5), 8);
    let missing = |spec: &RunSpec| spec.seed == 7;
    let runs = MadeUp { missing: &missing, ..MadeUp::new(PAPER, 0.5) };
    let (verdict, _, code) = judge("C1", &results(&runs, 8), Some(&blessed(&clean)));
    // Seven seeds still decide; the eighth is still owed.
    assert_eq!((verdict, code), (Verdict::Supported, exit::INCOMPLETE));
}

#[test]
fn exact_on_the_same_platform_one_bit_is_outside() {
    let clean = results(&MadeUp::new(PAPER, 0.5), 8);
    let reference = blessed(&clean);
    let same = verify(&clean, Some(&reference), "A", false);
    assert_eq!(same.exit, exit::AS_BLESSED);
    assert!(same.regression.iter().all(|r| r.status == RegressionStatus::Exact));
    let mut shifted = PAPER;
    shifted[0] += 1e-9;
    let moved = results(&MadeUp::new(shifted, 0.5), 8);
    let v = verify(&moved, Some(&reference), "A", false);
    assert_eq!(v.exit, exit::DEPARTURE);
    // Elsewhere a difference this small is none.
    let v = verify(&moved, Some(&reference), "B", false);
    assert_eq!(v.exit, exit::AS_BLESSED);
    assert!(v.regression.iter().all(|r| r.status == RegressionStatus::Within));
    // Nor where a run meant something else when the reference was made.
    let older = Reference { semantics: reference.semantics - 1, ..reference };
    let v = verify(&moved, Some(&older), "A", false);
    assert_eq!(v.exit, exit::AS_BLESSED);
}

#[test]
fn another_platform_finds_the_shift_that_it_promises_to_find() {
    let fresh = |reference: u64, shift: f64, draw| {
        let reference =
            blessed(&results(&MadeUp { draw: reference, ..MadeUp::new(PAPER, 0.5) }, 8));
        let mut means = PAPER;
        means[0] += shift;
        let runs = MadeUp { draw, ..MadeUp::new(means, 0.5) };
        let results = results(&runs, 8);
        verify(&results, Some(&reference), "B", false)
    };
    let cell = |v: &bad_global_minima::verify::outcome::Verification| {
        let found = v
            .regression
            .iter()
            .find(|r| r.cell == "init=random optimizer=vanilla" && r.metric == "test_accuracy");
        found.expect("the cell is compared").clone()
    };
    let (mut found, mut false_alarms) = (0, 0);
    for reference in 100..110 {
        let shift = cell(&fresh(reference, 0.0, 1)).detectable.expect("power is stated");
        let outside = |shift, draw| {
            usize::from(cell(&fresh(reference, shift, draw)).status == RegressionStatus::Outside)
        };
        found += (1..=20).map(|draw| outside(shift, draw)).sum::<usize>();
        false_alarms += (1..=20).map(|draw| outside(0.0, draw)).sum::<usize>();
    }
    // 80% of 200, less three deviations of chance and of ten references.
    assert!(found >= 130, "{found} of 200");
    assert!(false_alarms <= 4, "{false_alarms} false alarms of 200 in a single cell");
}

#[test]
fn a_reference_with_too_wide_a_spread_is_refused() {
    let noisy = results(&MadeUp::new(PAPER, 15.0), 8);
    let reference = blessed(&noisy);
    let v = verify(&noisy, Some(&reference), "B", false);
    let refused: Vec<_> =
        v.regression.iter().filter(|r| r.status == RegressionStatus::TooFew).collect();
    assert!(refused.iter().any(|r| r.note.contains("refused")), "{:?}", v.regression);
    assert_eq!(v.exit, exit::INCOMPLETE);
}

#[test]
fn a_tolerance_too_wide_to_tell_anything_is_counted_and_not_called_a_pass() {
    // Three seeds that spread by nearly the cap of 6 points: only a shift of many times that
    // would be seen.
    let noisy = results(&MadeUp::new(PAPER, 4.0), 3);
    let reference = blessed(&noisy);
    let v = verify(&noisy, Some(&reference), "B", false);
    let weak: Vec<_> = v.regression.iter().filter(|r| r.status == RegressionStatus::Weak).collect();
    assert!(!weak.is_empty(), "{:?}", v.regression);
    assert!(weak.iter().all(|r| r.tolerance > Some(12.0) && r.note.contains("bless more")));
    // The same numbers on the reference's platform need no tolerance.
    let v = verify(&noisy, Some(&reference), "A", false);
    assert!(v.regression.iter().all(|r| r.status == RegressionStatus::Exact));
}

#[test]
fn new_runs_that_scatter_cannot_buy_themselves_room() {
    let reference = blessed(&results(&MadeUp::new(PAPER, 0.5), 8));
    let tolerance = |noise| {
        let runs = MadeUp { draw: 1, ..MadeUp::new(PAPER, noise) };
        let results = results(&runs, 8);
        let v = verify(&results, Some(&reference), "B", false);
        v.regression[0].tolerance.unwrap()
    };
    assert!(tolerance(20.0) < 2.0 * tolerance(0.5), "{} {}", tolerance(20.0), tolerance(0.5));
}

#[test]
fn junit_says_what_failed_what_could_not_be_judged_and_what_was_too_weak() {
    let clean = results(&MadeUp::new(PAPER, 0.5), 8);
    let mut reference = blessed(&clean);
    reference.verdicts.get_mut("C1").unwrap().verdict = Verdict::Refuted;
    reference.values[0].values[0] += 1.0;
    let exact = verify(&clean, Some(&reference), "A", false);
    let xml = junit::to_xml(&exact).unwrap();
    let suite = |xml: &str, name: &str| -> String {
        let start = xml.find(&format!("<testsuite name=\"{name}\"")).expect("the suite is there");
        xml[start..].split('>').next().unwrap().to_owned()
    };
    let has = |suite: &str, part: &str| assert!(suite.contains(part), "{part}: {suite}");
    // A verdict other than the blessed one, and one number of other bits.
    has(&suite(&xml, "claims"), "failures=\"1\"");
    has(&suite(&xml, "regression"), "failures=\"1\"");
    has(&suite(&xml, "regression"), &format!("tests=\"{}\"", exact.regression.len()));
    assert!(xml.contains("differ in their bits"), "{xml}");

    let noisy = results(&MadeUp::new(PAPER, 4.0), 3);
    let weak = blessed(&noisy);
    let weak = verify(&noisy, Some(&weak), "B", false);
    let count = weak.regression.iter().filter(|r| r.status == RegressionStatus::Weak).count();
    let xml = junit::to_xml(&weak).unwrap();
    has(&suite(&xml, "regression"), &format!("skipped=\"{count}\""));

    let missing = |spec: &RunSpec| spec.seed == 7;
    let gone = results(&MadeUp { missing: &missing, ..MadeUp::new(PAPER, 0.5) }, 8);
    let gone = verify(&gone, Some(&blessed(&clean)), "A", false);
    let xml = junit::to_xml(&gone).unwrap();
    has(&suite(&xml, "regression"), &format!("errors=\"{}\"", gone.regression.len()));
}

#[test]
fn a_verdict_other_than_the_blessed_one_departs_even_within_tolerance() {
    let mut reference = blessed(&results(&MadeUp::new(PAPER, 0.5), 8));
    reference.verdicts.get_mut("C1").unwrap().verdict = Verdict::Refuted;
    let same = results(&MadeUp::new(PAPER, 0.5), 8);
    assert_eq!(judge("C1", &same, Some(&reference)).2, exit::DEPARTURE);
}

#[test]
fn a_claim_blessed_as_refuted_and_refuted_again_is_no_departure_unless_strict() {
    let results = results(&MadeUp::new([80.0, 79.5, 78.0, 78.0], 0.5), 8);
    let reference = blessed(&results);
    let (verdict, _, code) = judge("C1", &results, Some(&reference));
    assert_eq!((verdict, code), (Verdict::Refuted, exit::AS_BLESSED));
    let strict = verify(&results, Some(&reference), "A", true);
    assert_eq!(strict.exit, exit::DEPARTURE);
}

#[test]
fn too_few_seeds_cannot_be_blessed() {
    let results = results(&MadeUp::new(PAPER, 0.5), 2);
    let provenance = Provenance {
        profile: "quick".to_owned(),
        reason: "test".to_owned(),
        date: String::new(),
        commit: String::new(),
        platform: platform("A"),
    };
    let error = bless::make(&results, &claims(), provenance, None).unwrap_err();
    assert!(error.to_string().contains("at least 3"), "{error}");
}

#[test]
fn references_survive_the_way_through_their_file() {
    let reference = blessed(&results(&MadeUp::new(PAPER, 0.5), 8));
    let folder = tempfile::tempdir().unwrap();
    let text = toml::to_string(&reference).unwrap();
    std::fs::write(folder.path().join("quick.toml"), text).unwrap();
    let read = Reference::of_profile(folder.path(), "quick").unwrap().unwrap();
    assert_eq!(read, reference, "values must come back with the same bits");
}
