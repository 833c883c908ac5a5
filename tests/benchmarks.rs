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

use bad_global_minima::models::{InitialWeights, Network, Signature};
use bad_global_minima::spec::{Arch, NetworkSpec};
use compare::{Times, Verdict};
use summary::{Ratio, Summary, median};
use tch::Device;

const SMALL: Signature = Signature { input: [1, 14, 14], outputs: 10 };
const PAPER: Signature = Signature { input: [3, 32, 32], outputs: 10 };

#[test]
fn the_walk_through_a_network_meets_every_parameter() {
    for arch in [Arch::Mlp, Arch::Resnet18, Arch::Resnet50, Arch::Vgg16, Arch::Densenet40] {
        for (width, batch_norm, signature) in
            [(4, true, SMALL), (6, false, SMALL), (4, true, PAPER)]
        {
            let spec = NetworkSpec { arch, width, batch_norm };
            let initial = InitialWeights { seed: 0, scale: 1.0 };
            let network = Network::new(&spec, signature, initial, Device::Cpu);
            let counted = flop::count(&spec, signature).parameters;
            assert_eq!(counted, network.parameter_count() as u64, "{spec:?} {signature:?}");
        }
    }
}

#[test]
fn operations_are_those_that_pytorch_counts() {
    // benches/pytorch_baseline.py flop: torch.utils.flop_counter.FlopCounterMode around
    // forward, cross entropy and backward of two images, halved (PyTorch 2.11.0).
    const FULL_SIZE: Signature = Signature { input: [1, 28, 28], outputs: 10 };
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
        assert_eq!(flop::count(&network, signature).step(), expected, "{network:?} {signature:?}");
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

#[test]
fn what_cannot_be_told_is_not_called_the_same() {
    let (last, mut now) = rounds(20, 1.0);
    for times in now.iter_mut().step_by(2) {
        *times.get_mut("step/resnet18").unwrap() *= 2.0;
    }
    let changes = compare::changes(&last, &now);
    assert_eq!(changes["step/resnet18"].unwrap().verdict(0.03), Verdict::TooNoisy);
    assert_eq!(changes["assembly/sota"].unwrap().verdict(0.03), Verdict::Same);
    // A benchmark that the last program did not have, and a single round.
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
