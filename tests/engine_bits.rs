//! The engine's bits are those of `docs/numerics.md`, as the plain loops compute it: every
//! number of every network, with all instructions that this processor has, on one thread and on
//! two.

mod bits;
mod naive;

use bad_global_minima::backend::{Backend, Batch, Totals, With};
use bad_global_minima::engine::{Engine, Options, Simd};
use bad_global_minima::models::graph::{Graph, Shape};
use bad_global_minima::models::state::{InitialWeights, State};
use bad_global_minima::spec::{Arch, NetworkSpec, Optimizer};
use bits::{hash, lines, locked};
use naive::cases::{self, ADAM, ARCHS, Case, Data, SGD, VANILLA_SGD};
use naive::{Naive, random};
use proptest::prelude::*;

/// Every way of computing that this processor has.
fn ways() -> impl Iterator<Item = Options> {
    let kinds = Simd::available().into_iter();
    kinds.flat_map(|simd| [1, 2].map(|threads| Options { simd, threads }))
}

#[test]
fn the_engine_gives_the_locked_hashes() {
    for line in lines() {
        for options in ways() {
            let found = hash(&line, |graph, state| Box::new(Engine::new(graph, state, options)));
            assert_eq!(Some(found.as_str()), locked(&line.name), "{}, {options:?}", line.name);
        }
    }
}

/// The first number whose bits differ. The bits of a NaN mean nothing.
fn differing(ours: &[f32], theirs: &[f32]) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} numbers for {}", ours.len(), theirs.len()));
    }
    let mut pairs = ours.iter().zip(theirs).enumerate();
    let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    let (at, (a, b)) = pairs.find(|(_, (a, b))| !same(**a, **b))?;
    let count = 1 + pairs.filter(|(_, (a, b))| !same(**a, **b)).count();
    Some(format!("{count} of {}, first [{at}]: {a:e} for {b:e}", ours.len()))
}

type Verdict = Result<(), TestCaseError>;

fn equal(what: &str, ours: &[f32], theirs: &[f32]) -> Verdict {
    match differing(ours, theirs) {
        None => Ok(()),
        Some(difference) => Err(TestCaseError::fail(format!("{what}: {difference}"))),
    }
}

fn equal_lists(graph: &Graph, what: &str, ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> Verdict {
    prop_assert_eq!(ours.len(), theirs.len(), "{}", what);
    for ((parameter, ours), theirs) in graph.parameters.iter().zip(ours).zip(theirs) {
        equal(&format!("{what} of {}", parameter.name), ours, theirs)?;
    }
    Ok(())
}

fn equal_totals(what: &str, ours: Totals, theirs: Totals) -> Verdict {
    let bits = |totals: Totals| {
        (if totals.loss.is_nan() { f64::NAN } else { totals.loss }.to_bits(), totals.correct)
    };
    prop_assert_eq!(bits(ours), bits(theirs), "{}: {:?} for {:?}", what, ours, theirs);
    Ok(())
}

/// All state of the two.
fn equal_states(what: &str, ours: &dyn Backend, theirs: &dyn Backend) -> Verdict {
    let (state, expected) = (ours.state(), theirs.state());
    let graph = ours.graph();
    equal_lists(graph, &format!("{what}: weights"), &state.parameters, &expected.parameters)?;
    for ((norm, ours), theirs) in graph.norms.iter().zip(&state.running).zip(&expected.running) {
        equal(&format!("{what}: running mean of {}", norm.name), &ours.mean, &theirs.mean)?;
        equal(&format!("{what}: variance of {}", norm.name), &ours.variance, &theirs.variance)?;
    }
    prop_assert_eq!(state.batches_tracked, expected.batches_tracked);
    let (moments, expected) = (ours.optimizer_state(), theirs.optimizer_state());
    equal_lists(graph, &format!("{what}: first moments"), &moments.first, &expected.first)?;
    equal_lists(graph, &format!("{what}: second moments"), &moments.second, &expected.second)?;
    prop_assert_eq!(moments.steps, expected.steps);
    equal_totals(&format!("{what}: totals"), ours.totals(), theirs.totals())
}

/// Everything that a network is asked for, of the engine and of the plain loops.
fn same_bits(graph: &Graph, state: &State, rule: &Optimizer, batches: &[Data]) -> Verdict {
    let fine = "the device works";
    let first = &batches[0];
    let mut naive = Naive::<f32>::new(graph, state, rule);
    let mut steps = Vec::new();
    for data in batches {
        naive.train(&Batch::Host(data.examples()), 0.05).expect(fine);
        steps.push(naive.clone());
    }
    let mut calibrated = naive.clone();
    calibrated.calibrate(&first.inputs).expect(fine);
    let logits = naive.logits(&first.inputs).expect(fine);
    naive.evaluate(&Batch::Host(first.examples())).expect(fine);
    for options in ways() {
        let mut engine = Engine::new(graph, state, options);
        engine.set_optimizer(rule);
        let mut before = Naive::<f32>::new(graph, state, rule);
        for with in [With::Evaluation, With::Batch] {
            let found = engine.gradient(first.examples(), with).expect(fine);
            let expected = before.gradient(first.examples(), with).expect(fine);
            let what = format!("{options:?}: {with:?} gradient");
            equal_lists(graph, &what, &found, &expected)?;
        }
        let of_inputs = engine.input_gradient(first.examples()).expect(fine);
        let expected = before.input_gradient(first.examples()).expect(fine);
        equal(&format!("{options:?}: gradient of the inputs"), &of_inputs, &expected)?;
        for (step, data) in batches.iter().enumerate() {
            engine.train(&Batch::Host(data.examples()), 0.05).expect(fine);
            equal_states(&format!("{options:?}: step {step}"), &engine, &steps[step])?;
        }
        // In one piece, and in pieces of every length.
        equal(
            &format!("{options:?}: logits"),
            &engine.logits(&first.inputs).expect(fine),
            &logits,
        )?;
        let totals = engine.totals();
        let image = graph.signature.input.values();
        for pieces in 1..4 {
            let length = first.labels.len().div_ceil(pieces);
            engine.set_totals(totals);
            let mut found = Vec::new();
            let parts = first.inputs.chunks(length * image).zip(first.labels.chunks(length));
            for (inputs, labels) in parts {
                let examples = bad_global_minima::backend::Examples { inputs, labels };
                engine.evaluate(&Batch::Host(examples)).expect(fine);
                found.extend(engine.logits(inputs).expect(fine));
            }
            equal(&format!("{options:?}: logits in {pieces} pieces"), &found, &logits)?;
            equal_totals(&format!("{options:?}: evaluation"), engine.totals(), naive.totals())?;
        }
        engine.set_totals(totals);
        engine.calibrate(&first.inputs).expect(fine);
        equal_states(&format!("{options:?}: calibration"), &engine, &calibrated)?;
    }
    Ok(())
}

fn rules() -> impl Strategy<Value = Optimizer> {
    prop_oneof![Just(SGD), Just(VANILLA_SGD), Just(ADAM)]
}

/// Of the sizes where blocks, pairs and vectors begin and end, and any other.
fn batches() -> impl Strategy<Value = Vec<usize>> {
    let size =
        prop_oneof![prop::sample::select(vec![1usize, 2, 3, 31, 32, 33, 64, 65]), 1usize..80,];
    prop::collection::vec(size, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn of_the_papers_networks(
        arch in prop::sample::select(ARCHS.to_vec()),
        batch_norm in any::<bool>(),
        width in 1u32..7,
        (channels, height, width_of_input) in (1usize..4, 1usize..9, 1usize..9),
        outputs in 2usize..19,
        sizes in batches(),
        rule in rules(),
        seed in 0u64..1000,
    ) {
        let (input, outputs, width) = match arch {
            Arch::Mlp => (Shape::new(2, 1, 1), 1, width * 7),
            // It halves its maps twice.
            Arch::Densenet40 => (Shape::new(channels, height + 3, width_of_input + 3), outputs, width),
            _ => (Shape::new(channels, height, width_of_input), outputs, width),
        };
        let case = Case { network: NetworkSpec { arch, width, batch_norm }, input, outputs, seed };
        let graph = case.graph();
        let batches: Vec<Data> =
            (0..).zip(sizes).map(|(index, images)| case.data(index, images)).collect();
        same_bits(&graph, &case.state(&graph), &rule, &batches)?;
    }
}

fn layers() -> impl Strategy<Value = Vec<random::Layer>> {
    let layer = (0u8..14, any::<u8>(), any::<bool>(), 1u8..21);
    let layer =
        layer.prop_map(|(kind, input, keep, outputs)| random::Layer { kind, input, keep, outputs });
    prop::collection::vec(layer, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn of_any_network(
        layers in layers(),
        (channels, height, width) in (1usize..12, 1usize..8, 1usize..8),
        outputs in 1usize..12,
        sizes in batches(),
        rule in rules(),
        seed in 0u64..1000,
    ) {
        let graph = random::graph(Shape::new(channels, height, width), outputs, &layers);
        let state = cases::state(&graph, InitialWeights { seed, scale: 2.0 });
        let batches: Vec<Data> = (0..)
            .zip(sizes)
            .map(|(index, images)| cases::data(graph.signature, seed, index, images))
            .collect();
        same_bits(&graph, &state, &rule, &batches)?;
    }
}
