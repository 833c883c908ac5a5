//! The engine against double precision: how far rounding takes its logits and gradients.

mod naive;

use bad_global_minima::backend::{Backend, With};
use bad_global_minima::engine::{Engine, Options, Simd};
use naive::Naive;
use naive::accuracy::{error, error_of_lists, networks, rounded_loss, sensitivity};
use naive::cases::SGD;
use proptest::prelude::*;

/// Largest error that is allowed, relative to the largest number.
const LIMIT: f64 = 1e-5;
/// Nor may an error be larger than this many times the change that rounding the weights once
/// makes. BatchNorm over few values is a badly conditioned problem: no algorithm in single
/// precision solves it to 1e-5.
const ROUNDINGS: f64 = 40.0;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn logits_and_gradients_are_close_to_double_precision(
        case in networks(),
        images in 8usize..40,
    ) {
        let data = case.data(0, images);
        let graph = case.graph();
        let state = case.state(&graph);
        let options = Options { simd: Simd::detect(), threads: 1 };
        let mut engine = Engine::new(&graph, &state, options);
        let double = Naive::<f64>::new(&graph, &state, &SGD);
        let single = Naive::<f32>::new(&graph, &state, &SGD);
        for with in [With::Evaluation, With::Batch] {
            let (logits, gradients) = double.following(&single, data.examples(), with);
            if with == With::Evaluation {
                let found = engine.logits(&data.inputs).expect("logits");
                let found = error(&found, &logits);
                prop_assert!(found < LIMIT, "logits: {:e}", found);
                let of_inputs = engine.input_gradient(data.examples()).expect("a gradient");
                let found = error(&of_inputs, &gradients.inputs);
                prop_assert!(found < LIMIT, "gradient of the inputs: {:e}", found);
            }
            let gradient = engine.gradient(data.examples(), with).expect("a gradient");
            let found = error_of_lists(&gradient, &gradients.parameters);
            let [.., rounding] = sensitivity(&double, &single, data.examples(), with);
            let cancelled = rounded_loss(&gradients.parameters);
            prop_assert!(
                found < LIMIT.max(ROUNDINGS * rounding).max(cancelled),
                "{:?} gradient: {:e}, where rounding the weights changes {:e}", with, found, rounding
            );
        }
    }
}

/// What libtorch makes of the same batch, an implementation of somebody else's. (Where one of its
/// ReLUs decides otherwise than ours, its error is a jump of the gradient and asks nothing of us.)
#[cfg(feature = "torch")]
mod beside_libtorch {
    use super::*;
    use bad_global_minima::models::graph::Graph;
    use bad_global_minima::models::state::State;
    use bad_global_minima::torch::{TorchBackend, TorchDevice, initialize};

    /// Errors that libtorch's are not asked about.
    const SMALL: f64 = 2e-6;

    fn libtorch(graph: &Graph, state: &State) -> TorchBackend {
        initialize().expect("libtorch");
        TorchBackend::new(graph, state, TorchDevice::new(tch::Device::Cpu, false, |_| ()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn errors_are_at_most_twice_libtorchs_or_a_few_roundings(case in networks(), images in 8usize..40) {
            let data = case.data(0, images);
            let (examples, graph) = (data.examples(), case.graph());
            let state = case.state(&graph);
            let options = Options { simd: Simd::detect(), threads: 1 };
            let mut ours = Engine::new(&graph, &state, options);
            let mut theirs = libtorch(&graph, &state);
            let double = Naive::<f64>::new(&graph, &state, &SGD);
            let single = Naive::<f32>::new(&graph, &state, &SGD);
            for with in [With::Evaluation, With::Batch] {
                let (logits, gradients) = double.following(&single, examples, with);
                let backends: [&mut dyn Backend; 2] = [&mut ours, &mut theirs];
                let errors = backends.map(|backend| {
                    let of_logits = backend.logits(&data.inputs).expect("logits");
                    let of_inputs = backend.input_gradient(examples).expect("a gradient");
                    let gradient = backend.gradient(examples, with).expect("a gradient");
                    let gradient = error_of_lists(&gradient, &gradients.parameters);
                    if with == With::Batch {
                        return [0.0, 0.0, gradient];
                    }
                    [error(&of_logits, &logits), error(&of_inputs, &gradients.inputs), gradient]
                });
                let what = ["logits", "gradient of the inputs", "gradient of the weights"];
                for (index, what) in what.iter().enumerate() {
                    let [ours, theirs] = [errors[0][index], errors[1][index]];
                    if ours < (2.0 * theirs).max(SMALL) {
                        continue;
                    }
                    // Of two roundings of a badly conditioned sum either may be the luckier one.
                    let rounding = sensitivity(&double, &single, examples, with)[index];
                    let cancelled = if index == 2 { rounded_loss(&gradients.parameters) } else { 0.0 };
                    prop_assert!(
                        ours < (ROUNDINGS * rounding).max(cancelled),
                        "{:?}: {}: {:e}, libtorch's {:e}, where rounding the weights changes {:e}",
                        with, what, ours, theirs, rounding
                    );
                }
            }
        }
    }
}
