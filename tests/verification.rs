//! Verdicts and regression on made-up runs: no training, milliseconds.

use bad_global_minima::backend::Platform;
use bad_global_minima::data::Catalog;
use bad_global_minima::experiments::aggregate::{RunRecord, Runs, aggregate};
use bad_global_minima::experiments::results::{ExperimentResult, Measured, RunResult};
use bad_global_minima::experiments::{Cell, Plan, Profile, Seeds};
use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::spec::{Key, Numerics, Optimizer, RunSpec};
use bad_global_minima::train::metrics::{Evaluation, Metrics, Status};
use bad_global_minima::verify::bless::{self, Provenance};
use bad_global_minima::verify::changes;
use bad_global_minima::verify::claims::Claims;
use bad_global_minima::verify::junit;
use bad_global_minima::verify::outcome::{
    Bearing, ClaimOutcome, RegressionOutcome, RegressionStatus, Standing, Verdict, Verification,
};
use bad_global_minima::verify::reference::Reference;
use bad_global_minima::verify::rejudge;
use bad_global_minima::verify::{Case, exit};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

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
    results_of("table1_accuracy", runs, seeds)
}

fn results_of(experiment: &str, runs: &dyn Runs, seeds: u32) -> Vec<ExperimentResult> {
    let (tables, catalog) =
        (repository().join("paper_tables"), Catalog::new(repository().join("data")));
    let profile = Profile::read(&tables, "quick").unwrap();
    let only = [experiment.to_owned()];
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
        contradicted: &BTreeMap::new(),
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
        protocol: None,
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

/// Everything that is said of a claim.
fn outcome(id: &str, results: &[ExperimentResult]) -> ClaimOutcome {
    let v = verify(results, None, "A", false);
    v.claims.into_iter().find(|c| c.id == id).expect("the claim is judged")
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
    assert!(reason.contains("does not tell"), "{reason}");
    let forecast = outcome("C2", &results).forecast.expect("seeds that would decide");
    assert!(forecast.power_80 < forecast.power_90 && forecast.power_80 > Some(50), "{forecast:?}");
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
    assert_eq!(same.exit, exit::SUCCESS);
    assert!(same.regression.iter().all(|r| r.status == RegressionStatus::Exact));
    let mut shifted = PAPER;
    shifted[0] += 1e-9;
    let moved = results(&MadeUp::new(shifted, 0.5), 8);
    let v = verify(&moved, Some(&reference), "A", false);
    assert_eq!(v.exit, exit::DEPARTURE);
    // Elsewhere a difference this small is none.
    let v = verify(&moved, Some(&reference), "B", false);
    assert_eq!(v.exit, exit::SUCCESS);
    assert!(v.regression.iter().all(|r| r.status == RegressionStatus::Within));
    // Nor where a run meant something else when the reference was made.
    let older = Reference { semantics: reference.semantics - 1, ..reference };
    let v = verify(&moved, Some(&older), "A", false);
    assert_eq!(v.exit, exit::SUCCESS);
}

#[test]
fn another_platform_finds_the_shift_that_it_promises_to_find() {
    let cell = |shift: f64, draw: u64| {
        let reference =
            blessed(&results(&MadeUp { draw: 1000 + draw, ..MadeUp::new(PAPER, 0.5) }, 8));
        let mut means = PAPER;
        means[0] += shift;
        let fresh = results(&MadeUp { draw, ..MadeUp::new(means, 0.5) }, 8);
        let v = verify(&fresh, Some(&reference), "B", false);
        let is_it = |r: &&RegressionOutcome| {
            r.cell == "init=random optimizer=vanilla" && r.metric == "test_accuracy"
        };
        v.regression.iter().find(is_it).expect("the cell is compared").clone()
    };
    let outside = |outcome: RegressionOutcome| outcome.status == RegressionStatus::Outside;
    let promised = |draw| cell(0.0, draw).detectable.expect("power is stated");
    let found = (1..=40).filter(|&draw| outside(cell(promised(draw), draw))).count();
    // 80% of 40, less three deviations of chance.
    assert!(found >= 24, "{found} of 40");
    let missed = (1..=40).filter(|&draw| outside(cell(0.0, draw))).count();
    assert!(missed <= 2, "{missed} false alarms of 40 in a single cell");
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
    let fresh = results(&MadeUp { draw: 1, ..MadeUp::new(PAPER, 4.0) }, 3);
    let v = verify(&fresh, Some(&reference), "B", false);
    let weak: Vec<_> =
        v.regression.iter().filter(|r| r.status == RegressionStatus::TooWeak).collect();
    assert!(!weak.is_empty(), "{:?}", v.regression);
    // C2's margin of 2 points is the smallest that is used on test accuracies.
    assert!(weak.iter().all(|r| r.margin == Some(2.0) && r.detectable > r.margin), "{weak:?}");
    assert!(weak.iter().all(|r| r.note.contains("bless more")));
    assert!(weak.iter().all(|r| r.metric == "test_accuracy"));
    // The same numbers on the reference's platform need no tolerance.
    let v = verify(&noisy, Some(&reference), "A", false);
    assert!(v.regression.iter().all(|r| r.status == RegressionStatus::Exact));
}

#[test]
fn new_runs_that_scatter_more_or_not_at_all_depart() {
    let reference = blessed(&results(&MadeUp::new(PAPER, 0.5), 8));
    let spread = |noise| {
        let runs = MadeUp { draw: 1, ..MadeUp::new(PAPER, noise) };
        let v = verify(&results(&runs, 8), Some(&reference), "B", false);
        let own = v.regression.iter().filter(|r| r.metric == "spread of all seeds");
        own.map(|r| r.status).next().expect("the spread is tested")
    };
    assert_eq!(spread(0.5), RegressionStatus::Within);
    assert_eq!(spread(20.0), RegressionStatus::Outside);
    assert_eq!(spread(0.0), RegressionStatus::Outside);
}

#[test]
fn a_shift_of_all_cells_shows_in_all_together() {
    let reference = blessed(&results(&MadeUp::new(PAPER, 0.5), 8));
    let runs = MadeUp { draw: 3, ..MadeUp::new(PAPER.map(|mean| mean - 1.5), 0.5) };
    let v = verify(&results(&runs, 8), Some(&reference), "B", false);
    let together = v.regression.iter().find(|r| r.metric == "shift of all means").unwrap();
    assert_eq!(together.status, RegressionStatus::Outside, "{together:?}");
    assert!(together.note.contains("test_accuracy"), "{together:?}");
}

#[test]
fn more_seeds_than_are_blessed_leave_those_exact() {
    let reference = blessed(&results(&MadeUp::new(PAPER, 0.5), 5));
    let more = results(&MadeUp::new(PAPER, 0.5), 8);
    let v = verify(&more, Some(&reference), "A", false);
    assert!(v.regression.iter().all(|r| r.status == RegressionStatus::Exact), "{v:?}");
    assert!(v.regression.iter().all(|r| r.note.contains("3 more")));
    let mut shifted = reference.clone();
    shifted.values[0].values[4] += 1e-9;
    let v = verify(&more, Some(&shifted), "A", false);
    assert_eq!(v.exit, exit::DEPARTURE);
}

/// Made-up runs with one more evaluation on the way to the same end.
struct Detour<'a>(MadeUp<'a>, f64);

impl Runs for Detour<'_> {
    fn run(&self, key: &Key, spec: &RunSpec) -> Option<RunRecord> {
        let mut record = self.0.run(key, spec)?;
        let end = record.metrics.evaluations[0].clone();
        let on_the_way = Evaluation { epoch: 30, test_accuracy: self.1, ..end.clone() };
        record.metrics.evaluations.insert(0, on_the_way);
        // What was there before training is no part of the height.
        record.metrics.evaluations.insert(0, Evaluation { epoch: 0, test_accuracy: -1e9, ..end });
        Some(record)
    }

    fn measured(&self, key: &Key, id: &str, hash: &str) -> Option<Measured> {
        self.0.measured(key, id, hash)
    }
}

#[test]
fn a_learning_curve_that_is_another_departs_though_its_end_is_the_same() {
    let curves =
        |middle: f64| results_of("fig2_curves", &Detour(MadeUp::new(PAPER, 0.5), middle), 5);
    let reference = blessed(&curves(50.0));
    // From random weights, and with the random-label fit before it.
    let results = curves(50.0);
    for (cell, name) in [(0, "random"), (2, "adversarial")] {
        let (own, cell) = (&results[0].cells[cell], format!("init={name} optimizer=vanilla"));
        assert_eq!(results[0].cell_name(own), cell);
        let run = own.seeds[0].run.as_deref().unwrap();
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let along = |run: &RunResult| {
            let evaluations = run.metrics.evaluations.iter().filter(|e| e.epoch > 0);
            mean(&evaluations.map(|e| e.test_accuracy).collect::<Vec<f64>>())
        };
        let all: Vec<f64> = run.chain().map(along).collect();
        assert_eq!(all.len(), if name == "random" { 1 } else { 2 });
        let value = reference.value("fig2_curves", &cell, "whole_course.test_accuracy").unwrap();
        assert!((value.values[0] - mean(&all)).abs() < 1e-9);
    }
    let v = verify(&results, Some(&reference), "A", false);
    assert!(v.regression.iter().all(|r| r.status == RegressionStatus::Exact), "{v:?}");
    for device in ["A", "B"] {
        let v = verify(&curves(30.0), Some(&reference), device, false);
        assert_eq!(v.exit, exit::DEPARTURE, "{device}: {v:?}");
        let found = |r: &&RegressionOutcome| r.status == RegressionStatus::Outside;
        let outside = v.regression.iter().find(found).unwrap();
        assert_eq!(outside.metric, "whole_course.test_accuracy", "{device}");
    }
}

#[test]
fn a_declaration_that_is_loosened_after_the_blessing_loosens_no_comparison() {
    let reference = blessed(&results(&MadeUp::new(PAPER, 0.5), 5));
    let shifted = PAPER.map(|mean| mean - 5.0);
    let mut new = results(&MadeUp { draw: 1, ..MadeUp::new(shifted, 0.5) }, 5);
    for metric in new.iter_mut().flat_map(|result| &mut result.experiment.metrics) {
        (metric.resolution, metric.max_spread) = (1e3, Some(1e3));
    }
    let v = verify(&new, Some(&reference), "B", false);
    assert_eq!(v.exit, exit::DEPARTURE, "{v:?}");
    assert!(v.lacking.iter().any(|line| line.contains("resolution or max_spread")), "{v:?}");
    // With the same numbers nothing departs, and the verification is incomplete until they are
    // blessed.
    let mut same = results(&MadeUp::new(PAPER, 0.5), 5);
    same[0].experiment.metrics[0].max_spread = Some(1e3);
    let v = verify(&same, Some(&reference), "A", false);
    assert_eq!(v.exit, exit::INCOMPLETE, "{v:?}");
    let again = blessed(&new);
    let changes = changes::changes(Some(&reference), &again);
    assert!(changes.iter().any(|line| line.contains("resolution 1000")), "{changes:?}");
    let mut wide = blessed(&results(&MadeUp { draw: 1, ..MadeUp::new(PAPER, 0.5) }, 5));
    wide.values[0].max_spread = 999.0;
    let changes = changes::changes(Some(&reference), &wide);
    assert!(changes.iter().any(|line| line.contains("max_spread 999")), "{changes:?}");
    let v = verify(&results(&MadeUp::new(PAPER, 0.5), 5), Some(&again), "B", false);
    assert!(v.regression.iter().all(|r| r.status != RegressionStatus::Outside), "{v:?}");
}

#[test]
fn a_single_new_seed_is_compared_with_nothing() {
    let reference = blessed(&results(&MadeUp::new(PAPER, 0.5), 8));
    let one = results(&MadeUp { draw: 1, ..MadeUp::new([0.0; 4], 0.5) }, 1);
    let v = verify(&one, Some(&reference), "B", false);
    assert!(v.regression.iter().all(|r| r.status == RegressionStatus::TooFew), "{v:?}");
    assert_eq!(v.exit, exit::INCOMPLETE);
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
    let fresh = results(&MadeUp { draw: 1, ..MadeUp::new(PAPER, 4.0) }, 3);
    let weak = verify(&fresh, Some(&blessed(&noisy)), "B", false);
    let count = weak.regression.iter().filter(|r| r.status == RegressionStatus::TooWeak).count();
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
    assert_eq!((verdict, code), (Verdict::Refuted, exit::SUCCESS));
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
        protocol: None,
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

/// Outcome of one claim with these lines, over the four cells of the headline.
fn of(lines: &str, results: &[ExperimentResult]) -> ClaimOutcome {
    let text = format!(
        "[[claim]]\nid = \"T\"\nstatement = \"s\"\nsource = \"s\"\ncounts = \"for_the_paper\"\n\
         experiment = \"table1_accuracy\"\nmetric = \"test_accuracy\"\nstatistic = \"points\"\n\
         margin_reason = \"r\"\n{lines}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claims.toml");
    std::fs::write(&path, text).unwrap();
    let claims = Claims::read(&path, &repository().join("paper_tables")).unwrap();
    let v = bad_global_minima::verify::verify(&Case {
        profile: "quick",
        results,
        claims: &claims,
        reference: None,
        platform: &platform("A"),
        only: &[],
        contradicted: &BTreeMap::new(),
        strict: false,
    });
    v.claims.into_iter().next().expect("the claim is judged")
}

const RV: &str = "{ init = \"random\", optimizer = \"vanilla\" }";
const AV: &str = "{ init = \"adversarial\", optimizer = \"vanilla\" }";
const RS: &str = "{ init = \"random\", optimizer = \"sota\" }";
const AS: &str = "{ init = \"adversarial\", optimizer = \"sota\" }";

#[test]
fn the_weakest_part_speaks_for_a_supported_claim_and_the_refuting_one_for_a_refuted_one() {
    let results = results(&MadeUp::new([80.0, 68.0, 78.0, 73.0], 0.5), 8);
    let both = format!(
        "margin = 3.0\n[[claim.part]]\nname = \"wide\"\ntest.above = {{ a = {RV}, b = {AV} }}\n\
         [[claim.part]]\nname = \"narrow\"\ntest.above = {{ a = {RS}, b = {AS} }}\n"
    );
    let supported = of(&both, &results);
    assert_eq!(supported.verdict, Verdict::Supported);
    assert_eq!(supported.deciding_part.as_deref(), Some("narrow"));
    assert!(supported.statistic < Some(6.5) && supported.statistic > Some(3.5), "{supported:?}");
    assert_eq!(supported.bears, Bearing::ForThePaper);
    assert!(supported.direction.contains("minus") && supported.must_be == "above 3");
    // The margin at which the narrow part would fail, and no seed that decides alone.
    let turns = supported.sensitivity.turns_at.unwrap();
    assert_eq!(Some(turns), supported.interval.map(|[low, _]| low));
    assert_eq!(supported.sensitivity.left_out.unwrap().verdict, Verdict::Supported);
    let refuted = of(&both.replace("margin = 3.0", "margin = 8.0"), &results);
    assert_eq!(refuted.verdict, Verdict::Refuted);
    assert_eq!(refuted.deciding_part.as_deref(), Some("narrow"));
    assert_eq!(refuted.bears, Bearing::AgainstThePaper);
}

#[test]
fn a_claim_that_counts_against_the_paper_says_so() {
    let results = results(&MadeUp::new(PAPER, 0.5), 8);
    let lines = format!("margin = 3.0\n[[claim.part]]\ntest.above = {{ a = {RV}, b = {AV} }}\n");
    assert_eq!(of(&lines, &results).bears, Bearing::ForThePaper);
    let claims = claims();
    let large_rate = claims.claim.iter().find(|claim| claim.id == "R5").unwrap();
    assert_eq!(large_rate.counts.bearing(Verdict::Supported), Bearing::AgainstThePaper);
    assert_eq!(large_rate.counts.bearing(Verdict::Refuted), Bearing::ForThePaper);
    assert_eq!(large_rate.counts.bearing(Verdict::Inconclusive), Bearing::Nothing);
}

#[test]
fn interactions_contrasts_and_several_comparators() {
    let results = results(&MadeUp::new([80.0, 68.0, 78.0, 73.0], 0.5), 8);
    let part = |margin: f64, test: &str| {
        of(&format!("margin = {margin}\n[[claim.part]]\n{test}\n"), &results)
    };
    let than = format!("than = {{ a = {RS}, b = {AS} }}");
    let interaction = part(4.0, &format!("test.above = {{ a = {RV}, b = {AV}, {than} }}"));
    assert_eq!(interaction.verdict, Verdict::Supported);
    assert!((interaction.statistic.unwrap() - 7.0).abs() < 1.5, "{interaction:?}");
    assert!(interaction.direction.starts_with('('), "{}", interaction.direction);

    let ratio = format!("test.above = {{ a = {RV}, b = {AV}, {than} }}");
    let ratio =
        of(&format!("scale = \"ratio\"\nmargin = 1.05\n[[claim.part]]\n{ratio}\n"), &results);
    let expected = (80.0 / 68.0) / (78.0 / 73.0);
    assert!((ratio.statistic.unwrap() - expected).abs() < 0.03, "{ratio:?}");
    assert!(ratio.direction.contains("over"), "{}", ratio.direction);

    let weights = "weights = { random = 1.0, adversarial = -1.0 }";
    let contrast =
        format!("contrast = {{ axis = \"init\", {weights}, at = {{ optimizer = \"sota\" }} }}");
    let contrast = part(3.0, &format!("test.above = {{ {contrast} }}"));
    assert!((contrast.statistic.unwrap() - 5.0).abs() < 1.5, "{contrast:?}");

    let several = part(3.0, &format!("test.above = {{ a = {RV}, against = [{AV}, {AS}] }}"));
    assert_eq!(several.parts.len(), 2);
    assert!(several.parts.iter().all(|p| p.name.starts_with("against Adversarial")));
    assert_eq!(several.verdict, Verdict::Supported);
}

#[test]
fn the_best_of_a_grid_is_held_against_every_other_cell() {
    let results = results(&MadeUp::new(PAPER, 0.5), 8);
    let best = |a: &str| {
        let over = "over = [\"init\", \"optimizer\"]";
        of(&format!("margin = 1.0\n[[claim.part]]\ntest.best = {{ a = {a}, {over} }}\n"), &results)
    };
    let (winner, loser) = (best(RV), best(AV));
    assert_eq!(winner.parts.len(), 3, "itself is not among them");
    assert_eq!(winner.verdict, Verdict::Supported);
    assert_eq!(loser.verdict, Verdict::Refuted);
    assert!(loser.deciding_part.is_some());
}

#[test]
fn a_part_beside_is_shown_and_has_no_say() {
    let results = results(&MadeUp::new(PAPER, 0.5), 8);
    let lines = format!(
        "margin = 3.0\n[[claim.part]]\ntest.above = {{ a = {RV}, b = {AV} }}\n\
         [[claim.part]]\nname = \"beside\"\nbeside = true\ntest.above = {{ a = {AV}, b = {RV} }}\n"
    );
    let outcome = of(&lines, &results);
    assert_eq!(outcome.verdict, Verdict::Supported);
    assert!(outcome.parts[1].interval.is_some() && outcome.parts[1].beside);
    assert!(!outcome.reason.contains("parts"), "{}", outcome.reason);
}

#[test]
fn a_premise_is_asked_of_every_compared_cell_and_its_values_are_told() {
    let results = results(&MadeUp::new(PAPER, 0.5), 8);
    let lines = |bound: f64| {
        format!(
            "margin = 3.0\nrequire = [{{ metric = \"train_accuracy\", mean_at_least = {bound} }}]\n\
             [[claim.part]]\ntest.above = {{ a = {RV}, b = {AV} }}\n"
        )
    };
    let met = of(&lines(99.9), &results);
    assert_eq!((met.verdict, met.premises.len()), (Verdict::Supported, 2));
    assert!(met.premises.iter().all(|p| p.holds && p.mean == Some(100.0) && p.n == 8));
    let unmet = of(&lines(100.5), &results);
    assert_eq!(unmet.verdict, Verdict::Inconclusive);
    assert!(unmet.reason.contains("100.00") && unmet.reason.contains("100.5"), "{}", unmet.reason);
    assert!(unmet.premises.iter().all(|p| !p.holds));
}

#[test]
fn every_cell_says_whether_it_is_a_minimum_and_under_how_much_decay() {
    let results = results(&MadeUp::new(PAPER, 0.5), 8);
    let verification = verify(&results, None, "A", false);
    assert_eq!(verification.cells.len(), 4);
    for cell in &verification.cells {
        let fit = cell.train_accuracy.unwrap();
        assert!(fit.fits && fit.n == 8 && fit.mean == 100.0 && fit.lowest == 100.0, "{cell:?}");
        let decay = cell.decay.unwrap();
        if cell.cell.contains("vanilla") {
            assert_eq!((decay.sum, decay.over_momentum, decay.of_paper), (0.0, 0.0, None));
        } else {
            assert!((decay.over_momentum / decay.sum - 10.0).abs() < 1e-9, "{cell:?}");
            let of_paper = decay.over_momentum / 31.4755;
            assert!((decay.of_paper.unwrap() / of_paper - 1.0).abs() < 1e-6, "{cell:?}");
        }
    }
    let text = serde_json::to_value(&verification).unwrap();
    assert_eq!(text["cells"][0]["train_accuracy"]["lowest"], 100.0);
    let premises = verification.claims.iter().flat_map(|claim| &claim.premises);
    assert!(premises.clone().count() > 0 && { premises }.all(|p| p.decay.is_some()));
}

#[test]
fn noise_across_the_margin_is_no_departure_and_a_moved_effect_is() {
    let gap = |gap: f64, draw| {
        let runs = MadeUp { draw, ..MadeUp::new([70.0 + gap, 70.0, 78.0, 77.8], 1.0) };
        results(&runs, 8)
    };
    // C1 asks for a gap above 3. The reference is one that luck did not favour.
    let off = |r: &Reference| (r.verdicts["C1"].statistic.unwrap() - 4.8).abs();
    let references = (100..200).map(|draw| blessed(&gap(4.8, draw)));
    let supported = references.filter(|r| r.verdicts["C1"].verdict == Verdict::Supported);
    let reference = supported.min_by(|a, b| off(a).total_cmp(&off(b))).expect("a supported one");
    let standing = |results: &[ExperimentResult]| {
        let v = verify(results, Some(&reference), "B", false);
        let claim = v.claims.iter().find(|c| c.id == "C1").unwrap();
        (claim.verdict, claim.standing)
    };
    let near = (1..60).map(|draw| gap(4.6, draw)).find(|r| standing(r).0 != Verdict::Supported);
    let (verdict, stands) = standing(&near.expect("some draw does not support"));
    assert_eq!((verdict, stands), (Verdict::Inconclusive, Standing::WithinChance));
    // So are nearly all draws that cross the margin.
    let drawn = (1..60).map(|draw| standing(&gap(4.6, draw)));
    let crossed: Vec<_> = drawn.filter(|(verdict, _)| *verdict != Verdict::Supported).collect();
    let is_noise = |c: &&_| **c == (Verdict::Inconclusive, Standing::WithinChance);
    let noise = crossed.iter().filter(is_noise).count();
    assert!(noise > 3 && noise + 1 >= crossed.len(), "{noise} of {}", crossed.len());
    // Still supported, and far from what it was.
    assert_eq!(standing(&gap(14.0, 1)), (Verdict::Supported, Standing::Departed));
    assert_eq!(standing(&gap(-2.0, 1)), (Verdict::Refuted, Standing::Departed));
    // Inconclusive for want of seeds.
    let first_three = |mut results: Vec<ExperimentResult>| {
        let cells = results.iter_mut().flat_map(|result| &mut result.cells);
        cells.for_each(|cell| cell.seeds.truncate(3));
        results
    };
    let with_few = (100..200).find_map(|draw| {
        let all = gap(4.8, draw);
        let reference = blessed(&all);
        let supported = reference.verdicts["C1"].verdict == Verdict::Supported;
        let v = verify(&first_three(all), Some(&reference), "A", false);
        let standing = v.claims.iter().find(|c| c.id == "C1").map(|c| (c.verdict, c.standing));
        let undecided = standing.is_some_and(|(verdict, _)| verdict == Verdict::Inconclusive);
        (supported && undecided).then_some((standing, v.exit))
    });
    let incomplete = Some((Verdict::Inconclusive, Standing::Incomplete));
    assert_eq!(with_few, Some((incomplete, exit::INCOMPLETE)));
}

#[test]
fn junit_and_the_exit_code_agree() {
    let clean = results(&MadeUp::new(PAPER, 0.5), 8);
    let reference = blessed(&clean);
    let missing = |spec: &RunSpec| spec.seed == 7;
    let diverged =
        |spec: &RunSpec| if spec.seed == 2 { Status::Diverged } else { Status::Finished };
    let cases = [
        clean.clone(),
        results(&MadeUp { missing: &missing, ..MadeUp::new(PAPER, 0.5) }, 8),
        results(&MadeUp { status: &diverged, ..MadeUp::new(PAPER, 0.5) }, 8),
        results(&MadeUp::new([80.0, 79.0, 78.0, 77.8], 0.5), 8),
        results(&MadeUp { draw: 1, ..MadeUp::new(PAPER, 0.5) }, 8),
        results(&MadeUp { draw: 2, ..MadeUp::new(PAPER, 6.0) }, 8),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for results in &cases {
        for reference in [None, Some(&reference)] {
            for device in ["A", "B"] {
                for strict in [false, true] {
                    let v = verify(results, reference, device, strict);
                    let xml = junit::to_xml(&v).unwrap();
                    let count = |what: &str| {
                        let start = xml.find(what).expect("the root counts") + what.len() + 2;
                        xml[start..].split('"').next().unwrap().parse::<usize>().unwrap()
                    };
                    let code = match (count("failures"), count("errors")) {
                        (1.., _) => exit::DEPARTURE,
                        (0, 1..) => exit::INCOMPLETE,
                        (0, 0) => exit::SUCCESS,
                    };
                    assert_eq!(v.exit, code, "{xml}");
                    seen.insert(code);
                }
            }
        }
    }
    assert_eq!(seen.len(), 3, "all three codes were tried: {seen:?}");
}

#[test]
fn a_cell_has_the_seeds_that_its_experiment_declares_whatever_else_is_planned() {
    let (tables, catalog) =
        (repository().join("paper_tables"), Catalog::new(repository().join("data")));
    let profile = Profile::read(&tables, "all-claims").unwrap();
    let only = ["table1_accuracy".to_owned(), "table2_ablation".to_owned()];
    let plan = Plan::new(&profile, &tables, &catalog, &only, None).unwrap();
    let cells = |plan: &Plan, experiment: &str| {
        plan.experiments.iter().find(|(e, _)| e.id == experiment).unwrap().1.clone()
    };
    let (headline, ablation) = (cells(&plan, "table1_accuracy"), cells(&plan, "table2_ablation"));
    // No regularizer, from random weights: the headline's first cell, of fewer seeds.
    assert_eq!(headline[0].runs[..ablation[0].runs.len()], ablation[0].runs[..]);
    assert!(headline[0].runs.len() > ablation[0].runs.len());
    let alone = Plan::new(&profile, &tables, &catalog, &only[1..], None).unwrap();
    let runs = |cells: &[Cell]| cells.iter().map(|cell| cell.runs.clone()).collect::<Vec<_>>();
    assert_eq!(runs(&cells(&alone, "table2_ablation")), runs(&ablation));
}

#[test]
fn every_blessed_verdict_follows_from_the_blessed_values() {
    let root = repository();
    let (tables, catalog) = (root.join("paper_tables"), Catalog::new(root.join("data")));
    let mut judged = 0;
    for name in Profile::names(&tables) {
        let Some(reference) = Reference::of_profile(&root.join("expected"), &name).unwrap() else {
            continue;
        };
        let profile = Profile::read(&tables, &name).unwrap();
        let plan = Plan::new(&profile, &tables, &catalog, &[], None).unwrap();
        let again = rejudge::rejudge(&reference, &plan, &claims());
        let fix = "`bgm bless --verdicts-only` judges the values again";
        assert_eq!(
            reference.verdicts.keys().collect::<Vec<_>>(),
            again.verdicts.keys().collect::<Vec<_>>(),
            "{name}: {fix}"
        );
        for (id, blessed) in &reference.verdicts {
            let now = &again.verdicts[id];
            assert_eq!((blessed.verdict, blessed.n), (now.verdict, now.n), "{name} {id}: {fix}");
            assert_eq!(blessed.parts.len(), now.parts.len(), "{name} {id}: {fix}");
            for (old, new) in blessed.parts.iter().zip(&now.parts) {
                assert_eq!(
                    (&old.name, old.effect.to_bits()),
                    (&new.name, new.effect.to_bits()),
                    "{name} {id}: {fix}"
                );
            }
            judged += 1;
        }
    }
    assert!(judged > 0, "there is a reference");
}
