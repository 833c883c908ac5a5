//! Losses of logits, and their gradients.

use super::kernels::{Arena, Images, Place};
use crate::backend::Totals;

/// Adds losses and hits of examples to the totals. `logits` `[labels, outputs]`.
pub fn add_to(totals: &mut Totals, logits: &[f32], labels: &[i64]) {
    let mut room = Vec::new();
    for (logits, &label) in logits.chunks_exact(logits.len() / labels.len().max(1)).zip(labels) {
        room.resize(logits.len(), 0.0);
        totals.loss += f64::from(of_example(logits, label, labels.len(), &mut room));
        totals.correct += i64::from(is_hit(logits, label));
    }
}

/// As [`add_to`], from logits in the engine's memory; writes their gradient to its place.
pub fn with_gradient(
    totals: &mut Totals,
    labels: &[i64],
    logits: Place,
    gradient: Place,
    values: &mut Arena,
) {
    let images = Images(labels.len());
    let values = values.values_mut();
    values[gradient.at..gradient.at + gradient.len(images)].fill(0.0);
    let outputs = logits.channels;
    let (mut z, mut g) = (vec![0.0; outputs], vec![0.0; outputs]);
    for (image, &label) in labels.iter().enumerate() {
        for (c, z) in z.iter_mut().enumerate() {
            *z = values[logits.index(images, image, c, 0)];
        }
        totals.loss += f64::from(of_example(&z, label, labels.len(), &mut g));
        totals.correct += i64::from(is_hit(&z, label));
        for (c, g) in g.iter().enumerate() {
            values[gradient.index(images, image, c, 0)] = *g;
        }
    }
}

/// Whether the label is the first of the largest logits; for a single one, its sign.
fn is_hit(logits: &[f32], label: i64) -> bool {
    if let [logit] = logits {
        return (label == 1) == (*logit > 0.0);
    }
    let mut best = 0;
    for (class, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = class;
        }
    }
    best as i64 == label
}

/// Loss of an example, and `gradient` with respect to its logits: of the sum over the batch for
/// a single logit, else of the mean.
fn of_example(logits: &[f32], label: i64, batch: usize, gradient: &mut [f32]) -> f32 {
    if let ([z], [g]) = (logits, &mut *gradient) {
        return binary(*z, label as f32, g);
    }
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    let mut sum = 0.0;
    for (e, z) in gradient.iter_mut().zip(logits) {
        *e = libm::expf(z - top);
        sum += *e;
    }
    for (class, g) in gradient.iter_mut().enumerate() {
        let target = if class as i64 == label { 1.0 } else { 0.0 };
        *g = (*g / sum - target) / batch as f32;
    }
    libm::logf(sum) - (logits[label as usize] - top)
}

/// Binary cross-entropy of a logit.
fn binary(z: f32, target: f32, gradient: &mut f32) -> f32 {
    let t = libm::expf(-z.abs());
    *gradient = if z >= 0.0 { 1.0 / (1.0 + t) } else { t / (1.0 + t) } - target;
    ((if z > 0.0 { z } else { 0.0 }) - z * target) + libm::log1pf(t)
}
