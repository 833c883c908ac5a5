//! Three stages: a random-label fit, a treatment, and the training that is looked at.

mod common;

use bad_global_minima::data::Catalog;
use bad_global_minima::experiments::{Plan, Profile, Seeds};
use bad_global_minima::spec::{Optimizer, RunSpec};
use common::{Workplace, repository, text};

/// The spec of a cell's first seed, by the ids of its levels.
fn cell(plan: &Plan, experiment: &str, ids: &[&str]) -> RunSpec {
    let (experiment, cells) =
        plan.experiments.iter().find(|(e, _)| e.id == experiment).expect("planned");
    let has = |levels: &[usize]| {
        experiment.axes.iter().zip(levels).all(|(axis, &l)| ids.contains(&&*axis.levels[l].id))
    };
    let cell = cells.iter().find(|cell| has(&cell.levels)).expect("a cell");
    plan.runs[&cell.runs[0].1].spec.clone()
}

fn desk() -> Plan {
    let tables = repository().join("paper_tables");
    let only = ["x4_treatment", "table1_accuracy"].map(str::to_owned);
    let profile = Profile::read(&tables, "desk").unwrap();
    let catalog = Catalog::new(repository().join("data"));
    Plan::new(&profile, &tables, &catalog, &only, Some(&Seeds::Range(10..11))).unwrap()
}

#[test]
fn a_whole_treatment_is_the_headlines_recovery() {
    let plan = desk();
    let treated = cell(&plan, "x4_treatment", &["e800"]);
    let recovered = cell(&plan, "table1_accuracy", &["adversarial", "sota"]);
    assert_eq!(treated.parent(), Some(&recovered), "so it is trained once");
    let vanilla = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    assert_eq!(treated.train.optimizer, vanilla);
    assert_eq!(treated.train.augmentation, None);
    let fit = recovered.parent().expect("the random-label fit");
    assert!(fit.train.corruption.is_some() && fit.parent().is_none());
}

#[test]
fn no_treatment_is_the_adversarial_initialization_itself() {
    let plan = desk();
    let untreated = cell(&plan, "x4_treatment", &["none"]);
    let short = cell(&plan, "x4_treatment", &["e010"]);
    let treatment = short.parent().expect("a treatment");
    assert_eq!(untreated.parent(), treatment.parent());
    assert_eq!(untreated.train, short.train);
    assert_eq!(cell(&plan, "x4_treatment", &["random"]).parent(), None);
}

#[test]
fn a_base_without_a_treatment_says_so() {
    let place = Workplace::new();
    let tables = place.path("paper_tables");
    common::copy_folder(&repository().join("paper_tables"), &tables);
    let path = tables.join("x4_treatment.toml");
    let toy = std::fs::read_to_string(&path).unwrap().replace("base = \"image\"", "base = \"toy\"");
    let untouched = toy.replace(", \"treatment.epochs\" = 10 ", " ");
    assert_ne!(toy, untouched);
    std::fs::write(&path, untouched).unwrap();
    let tables = tables.to_str().unwrap();
    let output =
        place.bgm(&["--tables", tables, "--profile", "desk", "--only", "x4_treatment", "plan"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("x4_treatment") && said.contains("'treatment'"), "{said}");
}
