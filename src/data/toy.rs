//! The paper's two-dimensional toy: two isotropic normal classes side by side.

use crate::rng::{Purpose, Stream};
use crate::spec::ToySpec;

/// Points `[count, 2]` with their classes, 0 or 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    pub coordinates: Vec<[f32; 2]>,
    pub labels: Vec<u8>,
}

/// Points of a split, 0 for training and 1 for testing: first `points_per_class` of class 1, then
/// as many of class 0. The order decides which random numbers a point gets.
pub fn points(spec: &ToySpec, seed: u64, split: u64) -> Points {
    let mut stream = Stream::open(seed, Purpose::ToyPoints, &[split]);
    let mut out = Points { coordinates: Vec::new(), labels: Vec::new() };
    for class in [1u8, 0] {
        let shift = if class == 1 { spec.shift } else { -spec.shift };
        for _ in 0..spec.points_per_class {
            let x = spec.center + spec.std * stream.normal() + shift;
            let y = spec.center + spec.std * stream.normal();
            out.coordinates.push([x as f32, y as f32]);
            out.labels.push(class);
        }
    }
    out
}

/// Class that the Bayes rule gives a point: the classes have the same isotropic spread, so
/// the rule is the vertical line midway between them, and class 1 lies to its right
/// (`shift > 0`).
pub fn bayes_class(spec: &ToySpec, x: f64) -> u8 {
    u8::from(x > spec.center)
}
