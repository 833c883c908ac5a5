//! Losses of logits and their gradients.

use super::real::Real;
use super::sums::Maps;
use bad_global_minima::backend::Totals;

/// What a batch's logits give.
pub struct Loss<T> {
    /// One per example, not divided by their number.
    losses: Vec<T>,
    correct: i64,
    /// With respect to the logits, of what training follows: the mean cross-entropy over the
    /// batch, or the sum of the binary ones (docs/numerics.md).
    pub gradient: Maps<T>,
}

impl<T: Real> Loss<T> {
    pub fn add_to(&self, totals: &mut Totals) {
        for loss in &self.losses {
            totals.loss += loss.double();
        }
        totals.correct += self.correct;
    }
}

/// Cross-entropy, or binary cross-entropy for a single logit.
pub fn loss<T: Real>(logits: &Maps<T>, labels: &[i64]) -> Loss<T> {
    let outputs = logits.shape.channels;
    let mut gradient = Maps::zeros(logits.images, logits.shape);
    let (mut losses, mut correct) = (Vec::new(), 0);
    for (image, &label) in labels.iter().enumerate() {
        let here = image * outputs..(image + 1) * outputs;
        let (z, g) = (&logits.data[here.clone()], &mut gradient.data[here]);
        let (loss, hit) = if outputs == 1 {
            binary(z[0], label, &mut g[0])
        } else {
            cross_entropy(z, label as usize, logits.images, g)
        };
        losses.push(loss);
        correct += i64::from(hit);
    }
    Loss { losses, correct, gradient }
}

fn cross_entropy<T: Real>(z: &[T], label: usize, images: usize, g: &mut [T]) -> (T, bool) {
    let mut first_largest = 0;
    for class in 1..z.len() {
        if z[class] > z[first_largest] {
            first_largest = class;
        }
    }
    let top = z[first_largest];
    let e: Vec<T> = z.iter().map(|&z| (z - top).exp()).collect();
    let mut sum = T::ZERO;
    for &e in &e {
        sum = sum + e;
    }
    for class in 0..z.len() {
        let target = if class == label { T::of(1.0) } else { T::ZERO };
        g[class] = (e[class] / sum - target) / T::count(images);
    }
    (sum.log() - (z[label] - top), first_largest == label)
}

fn binary<T: Real>(z: T, label: i64, g: &mut T) -> (T, bool) {
    let (zero, one) = (T::ZERO, T::of(1.0));
    let target = T::of(label as f64);
    let t = (-z.abs()).exp();
    let loss = (if z > zero { z } else { zero }) - z * target;
    let probability = if z >= zero { one / (one + t) } else { t / (one + t) };
    *g = probability - target;
    (loss + t.log1p(), (label == 1) == (z > zero))
}
