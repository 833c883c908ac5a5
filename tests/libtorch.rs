//! The engine against libtorch, an implementation of somebody else's: gradients and
//! curvature of every network, and a few steps of training.
#![cfg(feature = "torch")]

mod common;

use bad_global_minima::backend::{Backend, Batch, Device, Examples, With};
use bad_global_minima::models::graph::{Graph, Shape, Signature};
use bad_global_minima::models::state::State;
use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::spec::{Arch, NetworkSpec, Optimizer, Precision};
use bad_global_minima::torch::{self, TorchDevice};
use bad_global_minima::train::source;
use common::{Workplace, cpu, small_run, text};

fn libtorch() -> TorchDevice {
    torch::initialize().unwrap();
    TorchDevice::new(tch::Device::Cpu, false, |_| ())
}

/// Every architecture with BatchNorm and without, on images and on points.
fn networks() -> Vec<(NetworkSpec, Signature)> {
    let images = Signature { input: Shape::new(2, 14, 14), outputs: 10 };
    let points = Signature { input: Shape::new(2, 1, 1), outputs: 1 };
    let mut all = vec![(NetworkSpec { arch: Arch::Mlp, width: 9, batch_norm: false }, points)];
    for arch in [Arch::Resnet18, Arch::Resnet50, Arch::Vgg16, Arch::Densenet40] {
        for batch_norm in [true, false] {
            all.push((NetworkSpec { arch, width: 4, batch_norm }, images));
        }
    }
    all
}

fn batch(graph: &Graph, examples: usize, salt: u64) -> source::Batch {
    let mut stream = Stream::open(1, Purpose::Test, &[9, salt]);
    let Signature { input, outputs } = graph.signature;
    let inputs = (0..examples * input.values()).map(|_| stream.normal() as f32).collect();
    let labels = (0..examples).map(|_| i64::from(stream.below(outputs.max(2) as u32))).collect();
    source::Batch { inputs, labels }
}

/// Largest difference, relative to the largest number.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let worst = a.iter().zip(b).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
    f64::from(worst) / f64::from(largest.max(f32::MIN_POSITIVE))
}

/// `strict`, but for ResNet50 with BatchNorm: at its random start, over so few images, rounding
/// grows from layer to layer, and libtorch's channels-last BatchNorm sums in single precision.
fn tolerance(spec: &NetworkSpec, strict: f64) -> f64 {
    if spec.arch == Arch::Resnet50 && spec.batch_norm { 0.1 } else { strict }
}

fn open(graph: &Graph, state: &State) -> [Box<dyn Backend>; 2] {
    [&cpu() as &dyn Device, &libtorch()]
        .map(|device| device.open(graph, state, Precision::Strict).unwrap())
}

#[test]
fn logits_and_gradients_agree() {
    for (spec, signature) in networks() {
        let (graph, state) = common::network(&spec, signature, 3);
        let [mut ours, mut theirs] = open(&graph, &state);
        // Statistics that are not those of the start.
        let first = batch(&graph, 16, 1);
        for backend in [&mut ours, &mut theirs] {
            backend.calibrate(&first.inputs).unwrap();
        }
        let mut worst: f64 = 0.0;
        for (a, b) in ours.state().running.iter().zip(&theirs.state().running) {
            worst = worst.max(apart(&a.mean, &b.mean)).max(apart(&a.variance, &b.variance));
        }
        assert!(worst < tolerance(&spec, 1e-5), "{spec:?}: {worst}");
        theirs.set_state(&ours.state());
        let batch = batch(&graph, 13, 2);
        let examples: Examples<'_> = batch.examples();
        let logits = [&mut ours, &mut theirs].map(|b| b.logits(&batch.inputs).unwrap());
        let error = apart(&logits[0], &logits[1]);
        assert!(error < tolerance(&spec, 1e-5), "{spec:?}: {error}");
        let inputs = [&mut ours, &mut theirs].map(|b| b.input_gradient(examples).unwrap());
        let error = apart(&inputs[0], &inputs[1]);
        assert!(error < tolerance(&spec, 1e-5), "{spec:?}: {error}");
        for with in [With::Evaluation, With::Batch] {
            let [a, b] = [&mut ours, &mut theirs].map(|b| b.gradient(examples, with).unwrap());
            let [a, b] = [a.concat(), b.concat()];
            let error = apart(&a, &b);
            assert!(error < tolerance(&spec, 2e-5), "{spec:?}, {with:?}: {error}");
        }
        assert!(ours.state() == theirs.state(), "a gradient moved the weights or statistics");
    }
}

#[test]
fn a_few_steps_at_a_small_rate_agree() {
    let rules = [
        Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 },
        Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 },
        Optimizer::Adam { weight_decay: 1e-3 },
    ];
    for ((spec, signature), rule) in networks().into_iter().zip(rules.iter().cycle()) {
        let (graph, state) = common::network(&spec, signature, 4);
        let mut backends = open(&graph, &state);
        for backend in &mut backends {
            backend.set_optimizer(rule);
            for step in 0..10 {
                let batch = batch(&graph, if step % 4 == 3 { 5 } else { 12 }, step);
                backend.train(&Batch::Host(batch.examples()), 1e-4).unwrap();
            }
        }
        let [ours, theirs] = &backends;
        let (a, b) = (ours.totals(), theirs.totals());
        let error = (a.loss - b.loss).abs() / b.loss;
        assert!(error < tolerance(&spec, 1e-6), "{spec:?}, {rule:?}: {a:?} and {b:?}");
        let [a, b] = [ours.state(), theirs.state()];
        assert_eq!(a.batches_tracked, 10);
        assert_eq!(b.batches_tracked, 10);
        let moved = apart(&a.parameters.concat(), &b.parameters.concat());
        // Adam divides by the root of squares: tiny gradients are told apart badly.
        let most = if matches!(rule, Optimizer::Adam { .. }) { 1e-3 } else { 1e-5 };
        assert!(moved < tolerance(&spec, most), "{spec:?}, {rule:?}: {moved}");
        let steps = backends.each_ref().map(|backend| backend.optimizer_state());
        assert_eq!(steps[0].steps, steps[1].steps);
        assert_eq!(steps[0].first.len(), steps[1].first.len());
    }
}

#[test]
fn curvature_is_that_of_a_double_backward_pass() {
    for (spec, signature) in networks() {
        let (graph, state) = common::network(&spec, signature, 5);
        let [mut ours, mut theirs] = open(&graph, &state);
        let batch = batch(&graph, 24, 3);
        // A little training, so that neither weights nor statistics are those of the start.
        ours.set_optimizer(&Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 });
        for _ in 0..5 {
            ours.train(&Batch::Host(batch.examples()), 1e-3).unwrap();
        }
        theirs.set_state(&ours.state());
        let mut stream = Stream::open(2, Purpose::Test, &[4]);
        let direction: Vec<f64> =
            (0..graph.parameter_count()).map(|_| stream.normal() / 100.0).collect();
        let product = |backend: &mut Box<dyn Backend>| {
            let product = backend.hessian_times(batch.examples(), &direction).unwrap();
            product.into_iter().map(|value| value as f32).collect::<Vec<f32>>()
        };
        let (found, expected) = (product(&mut ours), product(&mut theirs));
        assert!(expected.iter().any(|&value| value != 0.0));
        // A unit that is off in one and on in the other moves whole entries.
        let error = apart(&found, &expected);
        println!("{spec:?}: {error:e}");
        assert!(error < 1e-3, "{spec:?}: {error}");
    }
}

/// oneDNN and MKL compute other bits under these settings, and the recorded platform would not
/// show it.
#[test]
fn settings_of_the_libraries_below_change_no_bit() {
    let run = |setting: Option<(&str, &str)>| {
        let place = Workplace::new();
        let spec = place.spec_file("spec.json", &small_run());
        let mut command = place.command(&["--engine", "libtorch", "run", spec.to_str().unwrap()]);
        let output = command.envs(setting).output().expect("bgm starts");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let plain = run(None);
    for setting in [("ONEDNN_MAX_CPU_ISA", "SSE41"), ("MKL_CBWR", "COMPATIBLE")] {
        assert_eq!(run(Some(setting)), plain, "{setting:?}");
    }
}
