//! The same bits from every set of instructions and number of threads. (`tests/` holds the
//! engine against another implementation of `docs/numerics.md`.)

use super::{Engine, Options, Simd};
use crate::backend::{Backend, Batch, Examples, With};
use crate::models::graph::{Graph, Shape, Signature};
use crate::models::state::{InitialWeights, State};
use crate::rng::{Purpose, Stream};
use crate::spec::{Arch, NetworkSpec, Optimizer};

struct Case {
    arch: Arch,
    width: u32,
    batch_norm: bool,
    input: Shape,
    batches: &'static [usize],
    optimizer: Optimizer,
}

const SGD: Optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 };
const VANILLA: Optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
const ADAM: Optimizer = Optimizer::Adam { weight_decay: 5e-4 };

fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for batch_norm in [true, false] {
        let mut case = |arch, width, input, batches, optimizer| {
            cases.push(Case { arch, width, batch_norm, input, batches, optimizer });
        };
        case(Arch::Mlp, 100, Shape::new(2, 1, 1), &[10, 3, 1], VANILLA);
        case(Arch::Resnet18, 3, Shape::new(1, 9, 8), &[7, 2], SGD);
        case(Arch::Resnet18, 9, Shape::new(3, 5, 5), &[66, 33], SGD);
        case(Arch::Resnet50, 2, Shape::new(1, 7, 7), &[5, 3], ADAM);
        case(Arch::Vgg16, 3, Shape::new(3, 7, 6), &[33, 2], SGD);
        case(Arch::Densenet40, 3, Shape::new(1, 5, 4), &[35, 3], ADAM);
    }
    cases
}

/// Everything that a short training and its measurements give, as bits.
fn bits(case: &Case, options: Options) -> Vec<u32> {
    let &Case { arch, width, batch_norm, input, batches, ref optimizer } = case;
    let outputs = if arch == Arch::Mlp { 1 } else { 10 };
    let graph = Graph::new(&NetworkSpec { arch, width, batch_norm }, Signature { input, outputs });
    let state = State::random(&graph, InitialWeights { seed: 3, scale: 1.0 });
    let mut engine = Engine::new(&graph, &state, options);
    engine.set_optimizer(optimizer);
    let mut stream = Stream::open(5, Purpose::Test, &[]);
    let mut all = Vec::new();
    for &images in batches {
        let inputs: Vec<_> = (0..images * input.values()).map(|_| stream.normal() as f32).collect();
        let classes = outputs.max(2) as u32;
        let labels: Vec<_> = (0..images).map(|_| i64::from(stream.below(classes))).collect();
        let examples = Examples { inputs: &inputs, labels: &labels };
        engine.train(&Batch::Host(examples), 0.01).unwrap();
        engine.evaluate(&Batch::Host(examples)).unwrap();
        all.extend(engine.logits(&inputs).unwrap());
        all.extend(engine.input_gradient(examples).unwrap());
        for with in [With::Batch, With::Evaluation] {
            all.extend(engine.gradient(examples, with).unwrap().into_iter().flatten());
        }
        engine.calibrate(&inputs).unwrap();
    }
    let state = engine.state();
    all.extend(state.parameters.into_iter().flatten());
    all.extend(state.running.into_iter().flat_map(|r| [r.mean, r.variance]).flatten());
    let optimizer = engine.optimizer_state();
    all.extend(optimizer.first.into_iter().chain(optimizer.second).flatten());
    all.push(engine.totals().loss as f32);
    all.push(engine.totals().correct as f32);
    assert!(all.iter().all(|v| v.is_finite()), "{arch:?}: not finite");
    all.into_iter().map(f32::to_bits).collect()
}

#[test]
fn instructions_and_threads_change_no_bit() {
    for case in cases() {
        let plain = bits(&case, Options { simd: Simd::named("plain").unwrap(), threads: 1 });
        for simd in Simd::available() {
            let threads: &[usize] = if simd.is_fast() { &[1, 2, 3] } else { &[2] };
            for &threads in threads {
                let other = bits(&case, Options { simd, threads });
                let differing = plain.iter().zip(&other).filter(|(a, b)| a != b).count();
                let what = format!("{:?}, BatchNorm {}", case.arch, case.batch_norm);
                assert_eq!(differing, 0, "{what}: {simd}, {threads} threads, {}", plain.len());
            }
        }
    }
}

#[test]
fn evaluation_does_not_depend_on_the_batch() {
    let network = NetworkSpec { arch: Arch::Resnet18, width: 4, batch_norm: true };
    let input = Shape::new(1, 8, 8);
    let graph = Graph::new(&network, Signature { input, outputs: 10 });
    let state = State::random(&graph, InitialWeights { seed: 3, scale: 1.0 });
    let options = Options { simd: Simd::detect(), threads: 2 };
    let mut engine = Engine::new(&graph, &state, options);
    let mut stream = Stream::open(5, Purpose::Test, &[]);
    let inputs: Vec<_> = (0..100 * 64).map(|_| stream.normal() as f32).collect();
    let whole = engine.logits(&inputs).unwrap();
    let labels = vec![3; 100];
    engine.evaluate(&Batch::Host(Examples { inputs: &inputs, labels: &labels })).unwrap();
    let totals = engine.totals();
    for size in [1, 7, 32, 45] {
        let parts = inputs.chunks(size * 64).flat_map(|part| engine.logits(part).unwrap());
        assert_eq!(parts.collect::<Vec<_>>(), whole, "{size}");
        engine.set_totals(Default::default());
        for (inputs, labels) in inputs.chunks(size * 64).zip(labels.chunks(size)) {
            engine.evaluate(&Batch::Host(Examples { inputs, labels })).unwrap();
        }
        assert_eq!(engine.totals(), totals, "{size}");
    }
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let network = NetworkSpec { arch: Arch::Mlp, width: 4, batch_norm: false };
    let input = Shape::new(2, 1, 1);
    let graph = Graph::new(&network, Signature { input, outputs: 1 });
    let state = State::random(&graph, InitialWeights { seed: 3, scale: 1.0 });
    let options = Options { simd: Simd::detect(), threads: 1 };
    let mut engine = Engine::new(&graph, &state, options);
    let mut train = |inputs: &[f32], labels: &[i64]| {
        let batch = Batch::Host(Examples { inputs, labels });
        engine.train(&batch, 0.1).map_err(|error| error.to_string())
    };
    assert!(train(&[0.0; 3], &[0]).unwrap_err().contains("3 numbers"));
    assert!(train(&[], &[]).is_err());
    assert!(train(&[0.0; 4], &[0]).unwrap_err().contains("2 inputs have 1 label"));
    assert!(train(&[0.0; 2], &[2]).unwrap_err().contains("label 2"));
    assert!(train(&[0.0; 2], &[1]).is_ok());
}
