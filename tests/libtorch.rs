//! The engine against libtorch, an implementation of somebody else's: gradients of every
//! network, a few steps of training, and the measurement that only libtorch can make exactly.
#![cfg(feature = "torch")]

mod common;

use bad_global_minima::backend::{Backend, Batch, Device, Examples, With};
use bad_global_minima::measure::sharpness;
use bad_global_minima::models::graph::{Graph, Shape, Signature};
use bad_global_minima::models::state::State;
use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::spec::{Arch, NetworkSpec, Optimizer, Precision};
use bad_global_minima::torch::network::{self, Network, training_loss};
use bad_global_minima::torch::{self, Mode, TorchDevice};
use bad_global_minima::train::source;
use common::cpu;
use tch::{Kind, Tensor};

fn libtorch() -> TorchDevice {
    torch::initialize().unwrap();
    TorchDevice::new(tch::Device::Cpu, false)
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
        for (a, b) in ours.state().running.iter().zip(&theirs.state().running) {
            assert!(apart(&a.mean, &b.mean) < 1e-5, "{spec:?}");
            assert!(apart(&a.variance, &b.variance) < 1e-5, "{spec:?}");
        }
        theirs.set_state(&ours.state());
        let batch = batch(&graph, 13, 2);
        let examples: Examples<'_> = batch.examples();
        let logits = [&mut ours, &mut theirs].map(|b| b.logits(&batch.inputs).unwrap());
        assert!(apart(&logits[0], &logits[1]) < 1e-5, "{spec:?}");
        let inputs = [&mut ours, &mut theirs].map(|b| b.input_gradient(examples).unwrap());
        assert!(apart(&inputs[0], &inputs[1]) < 1e-4, "{spec:?}");
        for with in [With::Evaluation, With::Batch] {
            let [a, b] = [&mut ours, &mut theirs].map(|b| b.gradient(examples, with).unwrap());
            let [a, b] = [a.concat(), b.concat()];
            assert!(apart(&a, &b) < 1e-4, "{spec:?}, {with:?}: {}", apart(&a, &b));
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
        assert!((a.loss - b.loss).abs() < 1e-4 * b.loss, "{spec:?}: {a:?} and {b:?}");
        let [a, b] = [ours.state(), theirs.state()];
        assert_eq!(a.batches_tracked, 10);
        assert_eq!(b.batches_tracked, 10);
        let moved = apart(&a.parameters.concat(), &b.parameters.concat());
        // Adam divides by the root of squares: tiny gradients are told apart badly.
        let most = if matches!(rule, Optimizer::Adam { .. }) { 1e-3 } else { 1e-5 };
        assert!(moved < most, "{spec:?}, {rule:?}: {moved}");
        let steps = backends.each_ref().map(|backend| backend.optimizer_state());
        assert_eq!(steps[0].steps, steps[1].steps);
        assert_eq!(steps[0].first.len(), steps[1].first.len());
    }
}

/// `Hv` as Pearlmutter (1994) has it: the gradient of the gradient's product with `v`.
fn double_backward(network: &Network, examples: Examples<'_>, direction: &[f64]) -> Vec<f64> {
    let (inputs, labels) = network.examples(examples);
    let loss = training_loss(&network.forward(&inputs, Mode::Evaluation), &labels);
    let parameters = network.parameters();
    let gradients = Tensor::run_backward(&[&loss], parameters, true, true);
    let mut rest = direction;
    let mut slope = Tensor::zeros([], (Kind::Float, tch::Device::Cpu));
    for (gradient, parameter) in gradients.iter().zip(parameters) {
        let (own, others) = rest.split_at(parameter.numel());
        rest = others;
        let own: Vec<f32> = own.iter().map(|&value| value as f32).collect();
        let own = Tensor::from_slice(&own).view(parameter.size().as_slice());
        slope += (gradient * own).sum(Kind::Float);
    }
    let second = Tensor::run_backward(&[&slope], parameters, false, false);
    second.iter().flat_map(network::values).map(f64::from).collect()
}

#[test]
fn curvature_by_differences_is_that_of_a_double_backward_pass() {
    for (spec, signature) in networks() {
        let (graph, state) = common::network(&spec, signature, 5);
        let mut ours = cpu().open(&graph, &state, Precision::Strict).unwrap();
        let batch = batch(&graph, 64, 3);
        // A little training, so that the weights are not those of the start.
        ours.set_optimizer(&Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 });
        for _ in 0..20 {
            ours.train(&Batch::Host(batch.examples()), 1e-3).unwrap();
        }
        let state = ours.state();
        libtorch();
        let network = Network::new(&graph, &state, tch::Device::Cpu);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        // Towards the largest eigenvalue, where the measurement looks.
        let mut stream = Stream::open(2, Purpose::Test, &[4]);
        let mut v: Vec<f64> = (0..graph.parameter_count()).map(|_| stream.normal()).collect();
        let (mut exact, steps) = (0.0, [1e-2, 3e-3, 1e-3, 3e-4, 1e-4]);
        let mut found = [0.0; 5];
        for _ in 0..8 {
            let length = dot(&v, &v).sqrt();
            v.iter_mut().for_each(|part| *part /= length);
            let product = double_backward(&network, batch.examples(), &v);
            let batches = std::slice::from_ref(&batch);
            found = steps.map(|step| {
                let along = (&v[..], step);
                let found = sharpness::hessian_times(&mut *ours, &state, batches, along, &|| false);
                dot(&found.unwrap(), &v)
            });
            exact = dot(&product, &v);
            v = product;
        }
        let errors = found.map(|found| found / exact - 1.0);
        println!("{spec:?}: {exact:.6}; errors of steps {steps:?}: {errors:.1e?}");
        let chosen = steps.iter().position(|&step| step == sharpness::STEP).unwrap();
        assert!(errors[chosen].abs() < 1e-2, "{spec:?}: {} of {exact}", found[chosen]);
    }
}
