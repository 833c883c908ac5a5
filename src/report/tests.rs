//! Whole outputs from a small result made by hand.

use super::*;
use crate::experiments::Experiment;
use crate::experiments::dose::Dose;
use crate::experiments::results::{CellResult, RunResult, SeedResult};
use crate::spec::Key;
use crate::train::metrics::{Evaluation, Metrics, Status};
use crate::verify::outcome::{
    Bearing, ClaimOutcome, Premise, RegressionOutcome, RegressionStatus, SCHEMA, Standing, Verdict,
    Verification,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const DECLARATION: &str = r#"
title = "Accuracy of A & B <50%>"
summary = "What a reader learns."
source = "Review 1"
base = "image"

[[axis]]
name = "init"
label = "Initialization"
level = [{ id = "random", label = "Random" }, { id = "adversarial", label = "Adversarial" }]

[[axis]]
name = "rate"
label = "Rate"
level = [{ id = "low", label = "0.1", value = 0.1 }, { id = "high", label = "1", value = 1 }]

[[metric]]
name = "test_accuracy"
label = "Test accuracy"
unit = "%"

[[published]]
cell = { init = "random", rate = "low" }
metric = "test_accuracy"
value = 80.25
source = "made up, row 1"

[render]
"#;

fn key(digit: usize) -> Key {
    digit.to_string().repeat(64).parse().unwrap()
}

fn run(place: usize, status: Status, accuracies: &[f64]) -> Arc<RunResult> {
    let spec = crate::spec::example::toy();
    let evaluation = |(epoch, &accuracy): (usize, &f64)| Evaluation {
        epoch: epoch as u32,
        learning_rate: 0.1,
        train_loss: 1.0,
        // The first two of the runs fit what they were trained on.
        train_accuracy: if place <= 2 { 100.0 } else { accuracy },
        test_loss: 1.0,
        test_accuracy: accuracy,
        distance: 1.0,
        distance_relative: 0.1,
    };
    let evaluations: Vec<Evaluation> = accuracies.iter().enumerate().map(evaluation).collect();
    let epochs = evaluations.len() as u32 - 1;
    let metrics = Metrics { status, epochs, evaluations };
    Arc::new(RunResult { key: key(place), spec, metrics, result_hash: "0".into(), parent: None })
}

/// Four cells: two seeds; one of two seeds there; none; one seed that diverged.
fn result(kind: &str) -> ExperimentResult {
    let text = format!("{DECLARATION}kind = \"{kind}\"\nx = \"rate\"\nseries = \"init\"\n");
    let mut experiment: Experiment = toml::from_str(&text).unwrap();
    experiment.id = "tiny".to_owned();
    let seed = |place: usize, seed: u64, value: Option<f64>, status| SeedResult {
        seed,
        key: key(place),
        run: value.map(|value| run(place, status, &[10.0, value])),
        values: value.map(|v| ("test_accuracy".to_owned(), v)).into_iter().collect(),
        measured: BTreeMap::new(),
    };
    let good = Status::Finished;
    let cells = [
        vec![seed(1, 0, Some(80.0), good), seed(2, 1, Some(82.0), good)],
        vec![seed(3, 0, Some(70.0), good), seed(4, 1, None, good)],
        vec![seed(5, 0, None, good), seed(6, 1, None, good)],
        vec![seed(7, 0, Some(f64::NAN), Status::Diverged)],
    ];
    let levels = [vec![0, 0], vec![0, 1], vec![1, 0], vec![1, 1]];
    let cells = levels.into_iter().zip(cells).map(|(levels, seeds)| CellResult { levels, seeds });
    ExperimentResult { experiment, cells: cells.collect() }
}

fn verification() -> Verification {
    let regression = RegressionOutcome {
        experiment: "tiny".into(),
        cell: "init=random rate=low".into(),
        metric: "test_accuracy".into(),
        status: RegressionStatus::Within,
        value: Some(81.0),
        expected: Some(81.5),
        tolerance: Some(1.0),
        detectable: None,
        margin: None,
        probability: None,
        note: String::new(),
    };
    let claim = ClaimOutcome {
        id: "C1".into(),
        verdict: Verdict::Refuted,
        statistic: Some(-1.25),
        interval: Some([-2.0, -0.5]),
        margin: 3.0,
        level: 0.95,
        bears: Bearing::AgainstThePaper,
        standing: Standing::Departed,
        must_be: "above 3".into(),
        bounds: [Some(3.0), None],
        direction: "Random minus Adversarial".into(),
        n: 3,
        reason: "the interval lies below the margin".into(),
        statement: "a < b | c".into(),
        source: "Review 1".into(),
        statistic_label: "a - b".into(),
        margin_reason: "because".into(),
        blessed: Some(Verdict::Supported),
        experiment: "tiny".into(),
        ..ClaimOutcome::default()
    };
    Verification {
        schema: SCHEMA,
        profile: "test".into(),
        exit: 1,
        claims: vec![claim],
        regression: vec![regression],
        cells: Vec::new(),
        lacking: Vec::new(),
        basis: "bit for bit, both of portable-1".to_owned(),
        protocol: None,
    }
}

const KINDS: [&str; 6] = ["table", "curves", "boundary", "line", "bars", "heatmap"];

#[test]
fn the_regime_of_the_claims_counts_each_cell_once_and_names_the_lowest() {
    let premise = |cell: &str, metric: &str, lowest, holds, of_paper| Premise {
        cell: cell.into(),
        metric: metric.into(),
        at_least: Some(99.5),
        mean_at_least: Some(99.9),
        mean: Some(99.95),
        lowest: Some(lowest),
        n: 3,
        holds,
        decay: Some(Dose { sum: 1.0, over_momentum: 1.0, of_paper }),
        note: String::new(),
    };
    let claim = |experiment: &str, premises| ClaimOutcome {
        experiment: experiment.into(),
        premises,
        ..ClaimOutcome::default()
    };
    let (fit, short) = (
        premise("a", "train_accuracy", 99.8, true, None),
        premise("b", "train_accuracy", 99.0, false, Some(0.25)),
    );
    let claims = [
        claim("one", vec![fit.clone(), short.clone(), premise("c", "regions", 0.0, false, None)]),
        claim("one", vec![fit.clone(), premise("b", "train_accuracy", 99.0, true, Some(0.25))]),
        claim("two", vec![premise("a", "train_accuracy", 100.0, true, Some(0.5))]),
    ];
    insta::assert_snapshot!(words::claims_regime(&claims), @"Regime: 2 of the 3 cells that these claims compare fit their training data as the claims require (lowest mean over seeds 99.95%, lowest seed 99.00%); their weight decay, where there is any, sums up to 0.250 to 0.500 of the paper's.");
    insta::assert_snapshot!(words::claims_regime(&claims[2..]), @"Regime: 1 of the 1 cells that these claims compare fit their training data as the claims require (lowest mean over seeds 99.95%, lowest seed 100.00%); their weight decay, where there is any, sums up to 0.500 of the paper's.");
    insta::assert_snapshot!(words::claims_regime(&[claim("one", vec![fit.clone()])]), @"Regime: 1 of the 1 cells that these claims compare fit their training data as the claims require (lowest mean over seeds 99.95%, lowest seed 99.80%); their weight decay has no counterpart in the paper.");
    let without =
        Premise { decay: Some(Dose { sum: 0.0, over_momentum: 0.0, of_paper: None }), ..fit };
    insta::assert_snapshot!(words::claims_regime(&[claim("one", vec![without])]), @"Regime: 1 of the 1 cells that these claims compare fit their training data as the claims require (lowest mean over seeds 99.95%, lowest seed 99.80%); none of them has weight decay.");
    assert_eq!(words::claims_regime(&[claim("one", Vec::new())]), "");
}

#[test]
fn the_tables_stand_as_they_are() {
    let (result, verification) = (result("table"), verification());
    let numbers = Numbers::new(&result, &verification);
    insta::assert_snapshot!(tables::markdown(&numbers), @r#"
    # Accuracy of A &amp; B &lt;50%>

    What a reader learns.

    Source: Review 1

    | Initialization | Rate = 0.1 | Rate = 1 |
    |---|---:|---:|
    | Random | 81.0 ± 1.4 (2); published 80.25 | 70.0 (1)‡, missing 1 of 2 |
    | Adversarial | missing 2 of 2 | not finite†‡ |

    Test accuracy (%): mean ± sample standard deviation (number of seeds).

    ## Published, expected, this run

    | Initialization | Rate | Metric | Published | Expected | This run | 95% interval | n | Check |
    |---|---|---|---:|---:|---:|---:|---:|---:|
    | Random | 0.1 | Test accuracy (%) | 80.25 | 81.5 | 81.0 ± 1.4 (2) | 68.3 to 93.7 | 2 | within |
    | Random | 1 | Test accuracy (%) |  |  | 70.0 (1)‡, missing 1 of 2 |  | 1 |  |
    | Adversarial | 0.1 | Test accuracy (%) |  |  | missing 2 of 2 |  | 0 |  |
    | Adversarial | 1 | Test accuracy (%) |  |  | not finite†‡ |  | 1 |  |

    † Adversarial, 1: run 777777777777 (seed 0) diverged

    ‡ Random, 1 does not fit its training data: training accuracy 70.00 in the mean, 70.00 at the lowest seed

    Published: made up, row 1

    ## Fit and weight decay

    | Initialization | Rate | Training accuracy (%) | Lowest seed | Fits | Sum of rate × weight decay |
    |---|---|---:|---:|---:|---:|
    | Random | 0.1 | 100.00 | 100.00 | yes | none |
    | Random | 1 | 70.00 | 70.00 | no | none |
    | Adversarial | 0.1 |  |  |  | – |
    | Adversarial | 1 |  |  | no | none |
    "#);
    insta::assert_snapshot!(tables::csv(&numbers), @r#"
    experiment,init,rate,metric,unit,published,published_source,expected,mean,sd,n,ci95_low,ci95_high,seeds_missing,check,poisoned,fits,values
    tiny,random,low,test_accuracy,%,80.25,"made up, row 1",81.5,81,1.4142135623730951,2,68.2937952638253,93.7062047361747,0,within,,true,0:80;1:82
    tiny,random,high,test_accuracy,%,,,,70,,1,,,1,,,false,0:70
    tiny,adversarial,low,test_accuracy,%,,,,,,0,,,2,,,,
    tiny,adversarial,high,test_accuracy,%,,,,,,1,,,0,,run 777777777777 (seed 0) diverged,false,0:NaN
    "#);
    insta::assert_snapshot!(tables::latex(&numbers), @r#"
    % \usepackage{booktabs,longtable}
    \begin{table}
    \centering
    \caption{Accuracy of A \& B \textless{}50\%\textgreater{}. Test accuracy (\%): mean $\pm$ sample standard deviation (number of seeds).}
    \label{tab:tiny}
    \begin{tabular}{lrr}
    \toprule
    Initialization & \shortstack{Rate = 0.1} & \shortstack{Rate = 1} \\
    \midrule
    Random & 81.0 $\pm$ 1.4 (2); published 80.25 & 70.0 (1)\textdaggerdbl{}, missing 1 of 2 \\
    Adversarial & missing 2 of 2 & not finite\textdagger{}\textdaggerdbl{} \\
    \bottomrule
    \end{tabular}
    \par\footnotesize \textdagger{} Adversarial, 1: run 777777777777 (seed 0) diverged
    \par\footnotesize \textdaggerdbl{} Random, 1 does not fit its training data: training accuracy 70.00 in the mean, 70.00 at the lowest seed
    \par\footnotesize Published: made up, row 1
    \end{table}

    \begin{longtable}{lllrrrrrl}
    \caption{Accuracy of A \& B \textless{}50\%\textgreater{}. Published, expected and this run.}\label{tab:tiny-long}\\
    \toprule
    Initialization & Rate & Metric & Published & Expected & This run & 95\% interval & n & Check \\
    \midrule
    \endhead
    Random & 0.1 & Test accuracy (\%) & 80.25 & 81.5 & 81.0 $\pm$ 1.4 (2) & 68.3 to 93.7 & 2 & within \\
    Random & 1 & Test accuracy (\%) &  &  & 70.0 (1)\textdaggerdbl{}, missing 1 of 2 &  & 1 &  \\
    Adversarial & 0.1 & Test accuracy (\%) &  &  & missing 2 of 2 &  & 0 &  \\
    Adversarial & 1 & Test accuracy (\%) &  &  & not finite\textdagger{}\textdaggerdbl{} &  & 1 &  \\
    \bottomrule
    \end{longtable}
    "#);
}

#[test]
fn figures_hold_no_nan_and_say_what_is_missing() {
    let verification = verification();
    for kind in KINDS {
        let result = result(kind);
        let Some(svg) = figures::draw(&Numbers::new(&result, &verification)) else {
            assert_eq!(kind, "table");
            continue;
        };
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{kind}: {svg}");
        assert!(svg.contains("<title>Accuracy of A &amp; B &lt;50%&gt;</title>"), "{kind}");
        assert!(kind != "heatmap" || svg.contains("no data"), "{kind}");
        assert!(figures::rasterize(&svg).unwrap().starts_with(b"\x89PNG"), "{kind}");
    }
}

#[test]
fn cells_that_are_no_minima_are_told_apart() {
    let verification = verification();
    let draw = |result| figures::draw(&Numbers::new(&result, &verification)).unwrap();
    let tells = |svg: &str| svg.contains("does not fit its training data");
    for kind in ["line", "bars", "heatmap"] {
        let mut result = result(kind);
        assert!(tells(&draw(result.clone())), "{kind}");
        for seed in result.cells.iter_mut().flat_map(|cell| &mut cell.seeds) {
            if let Some(run) = &mut seed.run {
                Arc::make_mut(run).metrics.evaluations.last_mut().unwrap().train_accuracy = 100.0;
            }
        }
        assert!(!tells(&draw(result)), "{kind}");
    }
}

#[test]
fn a_result_without_a_single_value_is_drawn() {
    let verification = verification();
    for kind in KINDS {
        let mut result = result(kind);
        for seed in result.cells.iter_mut().flat_map(|cell| &mut cell.seeds) {
            seed.run = None;
            seed.values.clear();
        }
        if let Some(svg) = figures::draw(&Numbers::new(&result, &verification)) {
            assert!(svg.contains("no data"), "{kind}");
        }
    }
}

#[test]
fn the_same_result_gives_the_same_bytes_and_a_true_manifest() {
    let results: Vec<ExperimentResult> = ["curves", "bars"].iter().map(|k| result(k)).collect();
    let verification = verification();
    let context = ReportContext {
        profile: "test",
        results: &results,
        verification: &verification,
        provenance: &[("Device".to_owned(), "<none>".to_owned())],
        command: "make reproduce",
        records: "",
    };
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let written = write(first.path(), &context).unwrap();
    write(second.path(), &context).unwrap();
    let manifest = std::fs::read_to_string(first.path().join("ro-crate-metadata.json")).unwrap();
    for path in &written {
        let name = path.strip_prefix(first.path()).unwrap();
        let content = std::fs::read(path).unwrap();
        assert_eq!(content, std::fs::read(second.path().join(name)).unwrap(), "{name:?}");
        let digest = writer::Artifact::new(name.display().to_string(), &content).sha256;
        let is_manifest = name == Path::new("ro-crate-metadata.json");
        assert!(is_manifest || manifest.contains(&digest), "{name:?}");
    }
}

#[test]
fn the_page_is_whole_and_escapes_what_it_shows() {
    let (results, verification) = ([result("bars")], verification());
    let context = ReportContext {
        profile: "test",
        results: &results,
        verification: &verification,
        provenance: &[("Device".to_owned(), "<none>".to_owned())],
        command: "make reproduce",
        records: "",
    };
    let page = html::page(&context, &[], None).unwrap();
    assert!(page.contains("a &#60; b | c") && !page.contains("<none>"));
    assert!(!page.contains("http://") && !page.contains("https://"), "needs the network");
    // Every link within the page has its target.
    for link in page.split("href=\"#").skip(1) {
        let target = link.split('"').next().unwrap();
        assert!(page.contains(&format!("id=\"{target}\"")), "#{target} leads nowhere");
    }
}

#[test]
fn a_departed_verdict_is_plain_on_the_terminal() {
    let verification = verification();
    let summary = |color| terminal_summary("test", &verification, "", color);
    let plain = summary(false);
    assert!(plain.contains("refuted") && plain.contains("1 within"), "{plain}");
    assert!(plain.contains("against") && plain.contains("departs"), "{plain}");
    assert!(plain.contains("above 3") && plain.contains("minus Adversarial"), "{plain}");
    assert!(!plain.contains('\u{1b}') && summary(true).contains('\u{1b}'));
    assert!(verdicts_markdown(&verification).contains("a &lt; b \\| c"));
}
