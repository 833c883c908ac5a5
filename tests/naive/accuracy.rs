//! Errors against double precision, and networks to see them in.

use super::Naive;
use super::cases::{ARCHS, Case};
use bad_global_minima::backend::{Examples, With};
use bad_global_minima::models::graph::Shape;
use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::spec::{Arch, NetworkSpec};
use proptest::prelude::*;

/// Largest difference, relative to the largest number of the reference; 0 if nothing differs.
pub fn error<T: Copy + Into<f64>>(found: &[T], reference: &[f64]) -> f64 {
    assert_eq!(found.len(), reference.len());
    let difference = largest(found.iter().zip(reference).map(|(&f, r)| f.into() - r));
    if difference == 0.0 { 0.0 } else { difference / largest(reference.iter().copied()) }
}

/// As [`error`], over all lists together.
pub fn error_of_lists<T: Copy + Into<f64>>(found: &[Vec<T>], reference: &[Vec<f64>]) -> f64 {
    error(&found.concat(), &reference.concat())
}

/// Largest absolute value; a NaN is larger than anything.
fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.map(f64::abs).fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a })
}

/// What rounding the gradient at the logits does to a gradient of weights, relative to its largest
/// number. For each image probability minus label is rounded by up to half a unit in the last place
/// of 1, and where the images' terms cancel, little but their roundings may be left.
pub fn rounded_loss(gradient: &[Vec<f64>]) -> f64 {
    f64::from(f32::EPSILON) / largest(gradient.iter().flatten().copied())
}

/// Change of the logits, the gradient of the inputs and that of the weights if every weight is
/// moved by up to half a unit in the last place of single precision, relative to the largest.
pub fn sensitivity(
    double: &Naive<f64>,
    single: &Naive<f32>,
    examples: Examples<'_>,
    with: With,
) -> [f64; 3] {
    let mut stream = Stream::open(1, Purpose::Test, &[2]);
    let mut moved = double.clone();
    for weight in moved.parameters.iter_mut().flatten() {
        *weight *= 1.0 + f64::from(f32::EPSILON) / 2.0 * (2.0 * stream.unit_f64() - 1.0);
    }
    let (logits, gradients) = double.following(single, examples, with);
    let (moved_logits, moved) = moved.following(single, examples, with);
    [
        error(&moved_logits, &logits),
        error(&moved.inputs, &gradients.inputs),
        error_of_lists(&moved.parameters, &gradients.parameters),
    ]
}

/// Networks of every kind in small sizes.
pub fn networks() -> impl Strategy<Value = Case> {
    let sizes = (1usize..4, 4usize..13, 4usize..13, 2usize..12);
    let network = (prop::sample::select(ARCHS.to_vec()), any::<bool>(), 1u32..6);
    (network, sizes, 0u64..1000).prop_map(|((arch, batch_norm, width), sizes, seed)| {
        let (channels, height, wide, outputs) = sizes;
        let (input, outputs, width) = match arch {
            Arch::Mlp => (Shape::new(2, 1, 1), 1, width * 10),
            _ => (Shape::new(channels, height, wide), outputs, width),
        };
        Case { network: NetworkSpec { arch, width, batch_norm }, input, outputs, seed }
    })
}
