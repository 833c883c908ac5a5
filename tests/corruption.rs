//! Invariants of Algorithm 1.

mod common;

use bad_global_minima::corrupt::{CorruptionSpec, ZeroOutUnit, corrupt, zeroed_units};
use bad_global_minima::data::Catalog;
use bad_global_minima::image_shape::ImageShape;
use bad_global_minima::train::source::{Batch, Source, Split};
use common::{repository, small_run};
use proptest::prelude::*;

fn shapes() -> impl Strategy<Value = ImageShape> {
    (1usize..=3, 1usize..=12, 1usize..=12).prop_map(|(channels, height, width)| ImageShape {
        channels,
        height,
        width,
    })
}

fn specs() -> impl Strategy<Value = CorruptionSpec> {
    let unit = prop_oneof![Just(ZeroOutUnit::Values), Just(ZeroOutUnit::Pixels)];
    (1u32..=20, 0.0f64..=1.0, unit, 0.0f64..=1.0).prop_map(
        |(replication, zero_out, unit, random_labels)| CorruptionSpec {
            replication,
            zero_out,
            unit,
            random_labels,
        },
    )
}

/// An image without a zero, so that every zero was made.
fn image(shape: ImageShape) -> Vec<u8> {
    (0..shape.values()).map(|i| (i % 255) as u8 + 1).collect()
}

fn copy(spec: &CorruptionSpec, seed: u64, place: (u64, u32), shape: ImageShape) -> (Vec<u8>, i64) {
    let mut pixels = image(shape);
    let label = corrupt(spec, seed, place, &mut pixels, shape, (7, 10));
    (pixels, label)
}

proptest! {
    #[test]
    fn exactly_floor_n_d_distinct_values_are_zeroed(
        spec in specs(), shape in shapes(), seed: u64, index in 0u64..1_000_000,
    ) {
        let (pixels, label) = copy(&spec, seed, (index, spec.replication - 1), shape);
        prop_assert!((0..10).contains(&label));
        let per_unit = if spec.unit == ZeroOutUnit::Pixels { shape.channels } else { 1 };
        let units = shape.values() / per_unit;
        let expected = (spec.zero_out * units as f64).floor() as usize;
        let zeros = pixels.iter().filter(|&&v| v == 0).count();
        prop_assert_eq!(zeros, expected * per_unit);
        // Everything else is untouched.
        for (after, before) in pixels.iter().zip(image(shape)) {
            prop_assert!(*after == 0 || *after == before);
        }
        if spec.unit == ZeroOutUnit::Pixels {
            for pixel in 0..shape.pixels() {
                let column: Vec<bool> =
                    (0..shape.channels).map(|c| pixels[c * shape.pixels() + pixel] == 0).collect();
                prop_assert!(column.iter().all(|&z| z == column[0]), "half a pixel is zero");
            }
        }
    }

    #[test]
    fn a_copy_is_the_same_whatever_the_replication_factor(
        spec in specs(), shape in shapes(), seed: u64, index in 0u64..1000, more in 1u32..100,
    ) {
        let larger = CorruptionSpec { replication: spec.replication + more, ..spec.clone() };
        for r in 0..spec.replication {
            prop_assert_eq!(
                copy(&spec, seed, (index, r), shape),
                copy(&larger, seed, (index, r), shape)
            );
        }
    }

    #[test]
    fn labels_are_kept_where_none_is_redrawn(spec in specs(), shape in shapes(), seed: u64) {
        let spec = CorruptionSpec { random_labels: 0.0, ..spec };
        prop_assert_eq!(copy(&spec, seed, (0, 0), shape).1, 7);
    }
}

fn spec(zero_out: f64) -> CorruptionSpec {
    CorruptionSpec { replication: 10, zero_out, unit: ZeroOutUnit::Values, random_labels: 1.0 }
}

const SMALL: ImageShape = ImageShape { channels: 1, height: 4, width: 5 };

#[test]
fn decimal_ratios_zero_what_they_say() {
    // 0.29 * 100 is 28.999999999999996 in binary.
    let hundred = ImageShape { channels: 1, height: 10, width: 10 };
    assert_eq!(zeroed_units(&spec(0.29), hundred), 29);
    // The paper's own: N = 0.1 of 3,072 values.
    let cifar = ImageShape { channels: 3, height: 32, width: 32 };
    assert_eq!(zeroed_units(&spec(0.1), cifar), 307);
    assert_eq!(zeroed_units(&spec(1.0), cifar), 3072);
}

#[test]
fn every_value_is_as_likely_to_be_zeroed() {
    let mut counts = vec![0u32; SMALL.values()];
    for index in 0..20_000 {
        let (pixels, _) = copy(&spec(0.3), 1, (index, 0), SMALL);
        for (count, value) in counts.iter_mut().zip(&pixels) {
            *count += u32::from(*value == 0);
        }
    }
    // 6 of 20 values: each in 30% of the copies; deviation sqrt(20000 * 0.3 * 0.7) = 65.
    assert!(counts.iter().all(|&c| (c as f64 - 6000.0).abs() < 5.0 * 65.0), "{counts:?}");
}

#[test]
fn labels_are_uniform_and_independent_of_the_true_one() {
    let mut counts = [0u32; 10];
    for index in 0..20_000 {
        counts[copy(&spec(0.1), 2, (index, 3), SMALL).1 as usize] += 1;
    }
    let chi2: f64 = counts.iter().map(|&c| (f64::from(c) - 2000.0).powi(2) / 2000.0).sum();
    assert!(chi2 < 27.9, "chi-square with 9 degrees of freedom: {chi2}"); // p = 0.001
}

#[test]
fn copies_and_images_differ() {
    let at = |place| copy(&spec(0.3), 5, place, SMALL).0;
    assert_ne!(at((0, 0)), at((0, 1)));
    assert_ne!(at((0, 0)), at((1, 0)));
}

#[test]
fn the_nearest_two_examples_with_different_labels_are_found() {
    let source = |replication, zero_out, random_labels| {
        let mut spec = small_run();
        let unit = ZeroOutUnit::Values;
        let corruption = CorruptionSpec { replication, zero_out, unit, random_labels };
        spec.train.corruption = Some(corruption);
        Source::open(&spec, &Catalog::new(repository().join("data"))).unwrap()
    };
    // Exactly the same inputs, which are all that is looked for in a large set.
    assert_eq!(source(5, 0.1, 1.0).same_inputs(), None);
    let [a, b] = source(2, 0.0, 1.0).same_inputs().unwrap();
    assert_eq!(a / 2, b / 2, "two copies of one image");
    assert!(source(1, 1.0, 1.0).same_inputs().is_some());
    assert_eq!(source(2, 0.0, 0.0).same_inputs(), None, "their labels are the true one");
    // Copies that nothing tells apart: of one image, then of any two.
    let same = source(2, 0.0, 1.0).conflict().unwrap();
    assert_eq!(same.distance, 0.0);
    assert_eq!(same.examples[0] / 2, same.examples[1] / 2, "two copies of one image");
    assert_eq!(source(1, 1.0, 1.0).conflict().unwrap().distance, 0.0);
    // The same by another way, in double precision.
    for (replication, zero_out, random_labels) in [(5, 0.1, 1.0), (2, 0.0, 0.0)] {
        let source = source(replication, zero_out, random_labels);
        let examples = source.len(Split::TrainPlain);
        let mut batch = Batch::default();
        source.fill_batch(Split::TrainPlain, 0..examples, &mut batch);
        let inputs: Vec<&[f32]> = batch.inputs.chunks(batch.inputs.len() / examples).collect();
        let distance = |a: usize, b: usize| {
            let pairs = inputs[a].iter().zip(inputs[b]);
            pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
        };
        let pairs = (0..examples).flat_map(|b| (0..b).map(move |a| (a, b)));
        let others = pairs.filter(|&(a, b)| batch.labels[a] != batch.labels[b]);
        let least = others.map(|(a, b)| distance(a, b)).fold(f64::INFINITY, f64::min);
        let usual = (0..examples).map(|a| distance(a, (a + examples / 2) % examples)).sum::<f64>();
        let found = source.conflict().unwrap();
        let [a, b] = found.examples;
        assert_ne!(batch.labels[a], batch.labels[b]);
        assert!((distance(a, b) / least - 1.0).abs() < 1e-5, "{found:?}: {least}");
        let relative = least / (usual / examples as f64);
        assert!((found.distance / relative - 1.0).abs() < 1e-5, "{found:?}: {relative}");
    }
}
