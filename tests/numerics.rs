//! The plain-loops implementation of `docs/numerics.md` against calculus: its gradients in
//! double precision are those of central differences. (`engine_*.rs` hold the engine against it.)

mod naive;

use bad_global_minima::backend::With;
use bad_global_minima::models::graph::Shape;
use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::spec::{Arch, NetworkSpec};
use naive::Naive;
use naive::cases::{Case, Data, SGD};

fn case(arch: Arch, batch_norm: bool) -> Case {
    let network = NetworkSpec { arch, width: if arch == Arch::Mlp { 20 } else { 2 }, batch_norm };
    let (input, outputs) = match arch {
        Arch::Mlp => (Shape::new(2, 1, 1), 1),
        // Odd sides: poolings leave out a row and a column.
        _ => (Shape::new(2, 9, 10), 3),
    };
    Case { network, input, outputs, seed: 5 }
}

fn naive(case: &Case) -> Naive<f64> {
    let graph = case.graph();
    Naive::new(&graph, &case.state(&graph), &SGD)
}

/// The loss that [`Naive::gradients`] is the gradient of: a mean, but a sum for one logit.
fn loss(network: &Naive<f64>, data: &Data, inputs: &[f64], with: With) -> f64 {
    let loss = network.evaluate_at(inputs, &data.labels, with).loss;
    if network.outputs() > 1 { loss / data.labels.len() as f64 } else { loss }
}

/// Central differences of the loss along a direction. The longer ones may step over a kink of
/// ReLU, the shorter ones see rounding.
fn slopes(loss: impl Fn(f64) -> f64) -> [f64; 4] {
    [1e-5, 1e-6, 1e-7, 1e-8].map(|h| (loss(h) - loss(-h)) / (2.0 * h))
}

fn direction(count: usize, index: u64) -> Vec<f64> {
    let mut stream = Stream::open(9, Purpose::Test, &[index]);
    (0..count).map(|_| stream.normal()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn moved(values: &[f64], direction: &[f64], by: f64) -> Vec<f64> {
    values.iter().zip(direction).map(|(v, d)| v + by * d).collect()
}

/// Every parameter and the inputs, with and without BatchNorm, in both modes.
fn check_gradients(arch: Arch) {
    for batch_norm in [true, false] {
        for with in [With::Batch, With::Evaluation] {
            let case = case(arch, batch_norm);
            let (network, data) = (naive(&case), case.data(0, 5));
            let found = network.gradients(data.examples(), with);
            let what = format!("{arch:?}, BatchNorm {batch_norm}, {with:?}");
            let inputs: Vec<f64> = data.inputs.iter().map(|&v| f64::from(v)).collect();
            let check = |gradient: &[f64], slopes: [f64; 4], along: &[f64], of: &str| {
                let scale = dot(gradient, gradient).sqrt() * dot(along, along).sqrt();
                let errors = slopes.map(|slope| (dot(gradient, along) - slope).abs());
                let best = errors.into_iter().fold(f64::INFINITY, f64::min);
                assert!(best < 1e-5 * scale + 1e-7, "{what}: {of}: {errors:?} of {scale:e}");
            };
            let along = direction(inputs.len(), 0);
            let of_inputs = slopes(|by| loss(&network, &data, &moved(&inputs, &along, by), with));
            check(&found.inputs, of_inputs, &along, "inputs");
            let names = case.graph().parameters;
            for (index, gradient) in found.parameters.iter().enumerate() {
                let along = direction(gradient.len(), 1 + index as u64);
                let of_parameter = slopes(|by| {
                    let mut network = network.clone();
                    network.parameters[index] = moved(&network.parameters[index], &along, by);
                    loss(&network, &data, &inputs, with)
                });
                check(gradient, of_parameter, &along, &names[index].name);
            }
        }
    }
}
#[test]
fn gradients_of_an_mlp_are_central_differences() {
    check_gradients(Arch::Mlp);
}

#[test]
fn gradients_of_resnet18_are_central_differences() {
    check_gradients(Arch::Resnet18);
}

#[test]
fn gradients_of_resnet50_are_central_differences() {
    check_gradients(Arch::Resnet50);
}

#[test]
fn gradients_of_vgg16_are_central_differences() {
    check_gradients(Arch::Vgg16);
}

#[test]
fn gradients_of_densenet40_are_central_differences() {
    check_gradients(Arch::Densenet40);
}
