//! What the benchmarks conclude from what they measure: counts of operations, ratios, and
//! what counts as slower.

#[path = "../benches/common/compare.rs"]
#[allow(dead_code)]
mod compare;
#[path = "../benches/common/flop.rs"]
mod flop;
#[path = "../benches/common/summary.rs"]
#[allow(dead_code)]
mod summary;

use bad_global_minima::models::graph::{Graph, Shape, Signature};
use bad_global_minima::spec::{Arch, NetworkSpec};
use compare::{Times, Verdict};
use summary::{Ratio, Summary, median};

const SMALL: Signature = Signature { input: Shape::new(1, 14, 14), outputs: 10 };
const PAPER: Signature = Signature { input: Shape::new(3, 32, 32), outputs: 10 };

#[test]
fn operations_are_those_that_pytorch_counts() {
    // benches/pytorch_baseline.py flop: torch.utils.flop_counter.FlopCounterMode around
    // forward, cross entropy and backward of two images, halved (PyTorch 2.11.0).
    const FULL_SIZE: Signature = Signature { input: Shape::new(1, 28, 28), outputs: 10 };
    let counted = [
        (Arch::Resnet18, 8, SMALL, 11_469_696),
        (Arch::Resnet18, 64, FULL_SIZE, 2_733_901_824),
        (Arch::Resnet18, 64, PAPER, 3_328_997_376),
        (Arch::Resnet50, 4, SMALL, 6_823_488),
        (Arch::Resnet50, 64, FULL_SIZE, 6_280_015_872),
        (Arch::Resnet50, 64, PAPER, 7_783_440_384),
        (Arch::Vgg16, 8, SMALL, 4_214_400),
        (Arch::Vgg16, 64, FULL_SIZE, 1_229_850_624),
        (Arch::Vgg16, 64, PAPER, 1_875_671_040),
        (Arch::Densenet40, 4, SMALL, 9_084_816),
        (Arch::Densenet40, 12, FULL_SIZE, 330_059_376),
        (Arch::Densenet40, 12, PAPER, 432_865_008),
    ];
    for (arch, width, signature, expected) in counted {
        let network = NetworkSpec { arch, width, batch_norm: true };
        let count = flop::count(&Graph::new(&network, signature));
        assert_eq!(count.step(), expected, "{network:?} {signature:?}");
    }
}

#[test]
fn ratios_are_taken_round_by_round() {
    // The machine is half as fast in the second round: the ratio does not move.
    let ratio = Ratio::of(&[1.0, 2.0, 1.0], &[2.0, 4.0, 3.0]).unwrap();
    assert_eq!((ratio.median, ratio.low, ratio.high), (2.0, 2.0, 3.0));
    assert_eq!(ratio.to_string(), "2.00 (2.00 to 3.00)");
    assert_eq!(Ratio::of(&[], &[1.0]), None);
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(Ratio::of(&[1.0, wrong], &[1.0, 1.0]), None, "{wrong}");
    }
    assert_eq!(median(&[3.0, 1.0, 2.0, 10.0]), 2.5);
    assert!(median(&[]).is_nan());
}

#[test]
fn the_summary_is_one_line_of_json() {
    let summary = Summary { step_ratio: Some(1.23456), ..Summary::default() };
    let line = summary.line();
    assert!(!line.contains('\n'));
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["step_ratio"], 1.235);
    for name in ["epoch_ratio", "corruption_ratio", "headline_ratio", "peak_fraction"] {
        assert!(value.as_object().unwrap().contains_key(name), "{name}");
        assert!(value[name].is_null(), "{name} was not measured");
    }
}

/// Rounds of both programs: the machine's speed moves by a third from round to round, and
/// between the two of a round by a little; `slower` is how much this program really changed.
fn rounds(count: usize, slower: f64) -> (Vec<Times>, Vec<Times>) {
    let wave = |round: usize, salt: f64| (round as f64 * 2.3 + salt).sin();
    let times = |round: usize, salt: f64, factor: f64| {
        let speed = 1.0 + 0.3 * wave(round, 0.0);
        let of = |(place, name): (usize, &&str)| {
            let seconds = 0.01 * speed * factor * (1.0 + 0.02 * wave(round, salt + place as f64));
            ((*name).to_owned(), seconds)
        };
        ["step/resnet18", "assembly/sota", "evaluation"].iter().enumerate().map(of).collect()
    };
    let last = (0..count).map(|round| times(round, 1.0, 1.0)).collect();
    (last, (0..count).map(|round| times(round, 5.0, slower)).collect())
}

#[test]
fn a_slow_down_is_seen_through_the_drift_of_the_machine() {
    let verdicts = |slower: f64| -> Vec<Verdict> {
        let (last, now) = rounds(20, slower);
        let changes = compare::changes(&last, &now);
        changes.values().map(|change| change.unwrap().verdict(0.03)).collect()
    };
    assert_eq!(verdicts(1.0), [Verdict::Same; 3]);
    assert_eq!(verdicts(1.10), [Verdict::Slower; 3]);
    assert_eq!(verdicts(0.90), [Verdict::Faster; 3]);
    // Nor do a few disturbed rounds hide it, or make one up.
    let (last, mut now) = rounds(20, 1.0);
    now.iter_mut().take(2).for_each(|times| times.values_mut().for_each(|t| *t *= 3.0));
    let changes = compare::changes(&last, &now);
    assert!(changes.values().all(|change| change.unwrap().verdict(0.03) == Verdict::Same));
    let (last, now) = rounds(20, 1.10);
    let change = compare::changes(&last, &now)["step/resnet18"].unwrap();
    assert!(change.low < 1.10 && 1.10 < change.high, "{change:?}");
}

/// Rounds in which this program took 1, 2, ... times as long as the last, out of order, for each
/// of some benchmarks.
fn staircase(count: usize, names: &[&str]) -> (Vec<Times>, Vec<Times>) {
    let all = |seconds: f64| names.iter().map(|name| ((*name).to_owned(), seconds)).collect();
    let step = |round: usize| (round * 7 % count + 1) as f64;
    let last = (0..count).map(|_| all(1.0)).collect();
    (last, (0..count).map(|round| all(step(round))).collect())
}

#[test]
fn intervals_are_order_statistics_of_the_rounds() {
    // Fewer than k of 20 coins show heads with probability 0.0013 for k = 4, 0.0059 for k = 5: 12
    // benchmarks share 0.05, so each may have 0.0042.
    let twelve = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let (last, now) = staircase(20, &twelve);
    let change = compare::changes(&last, &now)["a"].unwrap();
    assert_eq!((change.low, change.estimate, change.high), (4.0, 10.5, 17.0));
    // Alone it may have all of 0.05: fewer than 6 have 0.021, fewer than 7 have 0.058.
    let (last, now) = staircase(20, &["a"]);
    let change = compare::changes(&last, &now)["a"].unwrap();
    assert_eq!((change.low, change.high), (6.0, 15.0));
    // 1/2^7 > 0.05/12 > 1/2^8, and 1/2^4 > 0.05 > 1/2^5.
    assert_eq!((compare::fewest(12), compare::fewest(1)), (8, 5));
}

#[test]
fn a_slower_program_is_never_what_the_next_one_is_compared_with() {
    let of = |low: f64, estimate: f64, high: f64| Some(compare::Change { low, estimate, high });
    let may = |change: Option<compare::Change>, gone| {
        let fine = ("fine".to_owned(), of(0.98, 1.0, 1.02));
        compare::may_replace(&[fine, ("x".to_owned(), change)].into(), gone, 0.03)
    };
    assert!(may(of(0.98, 1.0, 1.02), 0));
    assert!(may(of(0.8, 0.85, 0.9), 0), "faster");
    assert!(!may(of(1.05, 1.1, 1.2), 0), "slower");
    assert!(!may(of(1.01, 1.02, 1.03), 0), "slower by less than the noise: it would add up");
    assert!(!may(of(0.7, 1.0, 1.4), 0), "too noisy to tell");
    assert!(!may(None, 0), "not compared");
    assert!(!may(of(0.98, 1.0, 1.02), 1), "a benchmark is gone");
    assert!(!compare::may_replace(&Default::default(), 0, 0.03));
}

#[test]
fn products_with_padding_are_counted_apart() {
    // Of a 3x3 kernel in the middle of 28x28 pixels, 84 - 2 of the 84 rows of taps are inside.
    let vgg = NetworkSpec { arch: Arch::Vgg16, width: 1, batch_norm: true };
    let graph = Graph::new(&vgg, Signature { input: Shape::new(1, 28, 28), outputs: 10 });
    let first = graph.layer_products().next().unwrap();
    assert_eq!((first.all, first.inside), (9 * 28 * 28, 82 * 82));
    // At stride 2 the last row of 28 is reached and the one after it is not: 42 - 1 of 42 rows.
    let resnet = NetworkSpec { arch: Arch::Resnet18, width: 1, batch_norm: true };
    let graph = Graph::new(&resnet, Signature { input: Shape::new(1, 28, 28), outputs: 10 });
    let halving = graph.layer_products().nth(5).unwrap();
    assert_eq!((halving.all, halving.inside), (2 * 9 * 14 * 14, 2 * 41 * 41));
    let network = NetworkSpec { arch: Arch::Resnet18, width: 64, batch_norm: true };
    let count =
        flop::count(&Graph::new(&network, Signature { input: Shape::new(1, 28, 28), outputs: 10 }));
    let share = count.step_inside() as f64 / count.step() as f64;
    assert!((0.80..0.90).contains(&share), "{share}");
}

#[test]
fn what_cannot_be_told_is_not_called_the_same() {
    let (last, mut now) = rounds(20, 1.0);
    for times in now.iter_mut().step_by(2) {
        *times.get_mut("step/resnet18").unwrap() *= 2.0;
    }
    let changes = compare::changes(&last, &now);
    assert_eq!(changes["step/resnet18"].unwrap().verdict(0.03), Verdict::TooNoisy);
    assert_eq!(changes["assembly/sota"].unwrap().verdict(0.03), Verdict::Same);
    // A benchmark that the last program did not have.
    for times in &mut now {
        times.insert("new".to_owned(), 1.0);
    }
    let changes = compare::changes(&last, &now);
    assert!(changes["new"].is_none() && changes["step/resnet18"].is_some());
    // With five rounds there is no interval at this level.
    assert!(compare::changes(&last[..5], &now[..5]).values().all(Option::is_none));
    assert!(compare::changes(&[], &now).values().all(Option::is_none));
}

#[test]
fn times_are_the_fastest_samples_of_criterion() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("step/resnet18/new");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("sample.json");
    let sample = r#"{"sampling_mode":"Linear","iters":[1.0,2.0,3.0],"times":[5e6,4e6,9e6]}"#;
    std::fs::write(&file, sample).unwrap();
    let times = compare::times(root.path()).unwrap();
    assert_eq!(times, Times::from([("step/resnet18".to_owned(), 2e-3)]));
    for wrong in ["{}", r#"{"iters":[],"times":[]}"#, r#"{"iters":[0],"times":[0]}"#] {
        std::fs::write(&file, wrong).unwrap();
        let problem = compare::times(root.path()).unwrap_err().to_string();
        assert!(problem.contains("sample.json"), "{problem}");
    }
}
