//! Evaluations along training on fewer images than the last: cheaper, and nothing else.

mod common;

use bad_global_minima::data::Catalog;
use bad_global_minima::experiments::KeyMaker;
use bad_global_minima::experiments::cost::seconds;
use bad_global_minima::spec::{DataSpec, EvaluateOn, RunSpec, Stop};
use bad_global_minima::train::source::Source;
use bad_global_minima::train::{self, Inputs, Trained, Unobserved};
use common::{corruption, repository, small_run};

const TEST: u32 = 50;
const ALONG: u32 = 20;

fn catalog() -> Catalog {
    Catalog::new(repository().join("data"))
}

fn evaluated(mut spec: RunSpec, on: EvaluateOn, test: u32, along: Option<u32>) -> RunSpec {
    let DataSpec::Images(images) = &mut spec.data else { panic!("images") };
    (images.evaluate_on, images.test, images.test_along) = (on, test, along);
    spec
}

fn trained(spec: &RunSpec) -> Trained {
    let (catalog, device) = (catalog(), common::cpu());
    let inputs = Inputs { catalog: &catalog, device: &device, parent: None, resume: None, key: "" };
    train::train(spec, &inputs, &mut Unobserved).unwrap()
}

/// The run with fewer images along the way, beside one that always takes all of them and one
/// that always takes the few.
fn compare(spec: &RunSpec, on: EvaluateOn) {
    let run = |test, along| trained(&evaluated(spec.clone(), on, test, along));
    let (thrifty, all, few) = (run(TEST, Some(ALONG)), run(TEST, None), run(ALONG, None));
    assert!(thrifty.state == all.state, "the weights differ");
    let evaluations = [&thrifty, &all, &few].map(|run| &run.metrics.evaluations);
    let [thrifty, all, few] = evaluations;
    assert!(thrifty.len() > 2 && thrifty.len() == all.len() && all.len() == few.len());
    let last = thrifty.len() - 1;
    assert_eq!(thrifty[last], all[last]);
    assert_eq!(thrifty[..last], few[..last]);
    assert_ne!(thrifty[..last], all[..last]);
}

#[test]
fn only_the_last_evaluation_is_on_all_images() {
    for on in [EvaluateOn::Test, EvaluateOn::Validation] {
        compare(&small_run(), on);
    }
}

#[test]
fn the_evaluation_at_which_everything_is_fitted_is_the_last() {
    let mut fit = small_run();
    fit.train.corruption = Some(corruption());
    fit.train.stop = Stop::Memorized { max_epochs: 200, check_from: 90.0 };
    fit.train.learning_rate = 0.1;
    compare(&fit, EvaluateOn::Test);
}

#[test]
fn a_spec_without_it_is_written_and_named_as_before() {
    let catalog = catalog();
    let mut keys = KeyMaker::new(&catalog);
    let [without, with] = [None, Some(ALONG)].map(|along| {
        let spec = evaluated(small_run(), EvaluateOn::Test, TEST, along);
        (serde_json::to_string(&spec).unwrap(), keys.key(&spec).unwrap())
    });
    assert!(!without.0.contains("test_along") && with.0.contains(r#""test_along":20"#));
    assert_ne!(without.1, with.1);
}

#[test]
fn numbers_of_images_that_cannot_be_are_refused_by_name() {
    for along in [0, TEST + 1] {
        let spec = evaluated(small_run(), EvaluateOn::Test, TEST, Some(along));
        let problem = spec.check().unwrap_err();
        assert_eq!((problem.field.as_str(), problem.value), {
            ("data.images.test_along", along.to_string())
        });
    }
    for along in [1, TEST] {
        evaluated(small_run(), EvaluateOn::Test, TEST, Some(along)).check().unwrap();
    }
    // How many all are is known once the data are open.
    let spec = evaluated(small_run(), EvaluateOn::Test, 0, Some(2001));
    spec.check().unwrap();
    let problem = Source::open(&spec, &catalog()).err().unwrap().to_string();
    assert!(problem.contains("data.images.test_along = 2001"), "{problem}");
}

#[test]
fn the_estimate_knows_it() {
    let estimate = |along| seconds(&evaluated(small_run(), EvaluateOn::Test, 2000, along));
    let (all, few, same) = (estimate(None), estimate(Some(100)), estimate(Some(2000)));
    assert!(few < 0.5 * all, "{few} of {all}");
    assert_eq!(all, same);
}
