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
use std::time::{Duration, SystemTime};
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

/// The shape of criterion's `change/estimates.json`.
fn estimates(low: f64, estimate: f64, high: f64) -> String {
    let statistic = serde_json::json!({
        "confidence_interval":
            { "confidence_level": 0.95, "lower_bound": low, "upper_bound": high },
        "point_estimate": estimate, "standard_error": 0.01,
    });
    serde_json::json!({ "mean": statistic, "median": statistic }).to_string()
}

#[test]
fn slower_means_beyond_noise() {
    let change =
        |low, high| compare::parse("x", &estimates(low, (low + high) / 2.0, high)).unwrap();
    assert!(change(0.12, 0.2).is_slower(0.1));
    assert!(!change(0.08, 0.2).is_slower(0.1), "the interval reaches into the noise");
    assert!(!change(-0.3, -0.2).is_slower(0.1));
    assert!(change(-0.3, -0.2).is_faster(0.1));
    assert!(compare::parse("x", "{}").is_err());
}

#[test]
fn only_what_was_measured_now_is_judged_and_kept() {
    let root = tempfile::tempdir().unwrap();
    let group = root.path().join("step/resnet18");
    for folder in ["new", "change"] {
        std::fs::create_dir_all(group.join(folder)).unwrap();
        std::fs::write(group.join(folder).join("estimates.json"), estimates(0.2, 0.3, 0.4))
            .unwrap();
    }
    let (before, after) =
        (SystemTime::now() - Duration::from_secs(60), SystemTime::now() + Duration::from_secs(60));
    let changes = compare::changes(root.path(), before).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].name.as_str(), changes[0].estimate), ("step/resnet18", 0.3));
    assert!(compare::changes(root.path(), after).unwrap().is_empty(), "from an earlier run");
    assert_eq!(compare::save(root.path(), after).unwrap(), 0);
    assert_eq!(compare::save(root.path(), before).unwrap(), 1);
    let kept = group.join(compare::BASELINE).join("estimates.json");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), estimates(0.2, 0.3, 0.4));
}
