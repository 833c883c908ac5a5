//! Sharpness: the largest eigenvalue of the Hessian of the training loss.

use super::measured::Measured;
use super::{Problem, Subject, examples};
use crate::backend::Backend;
use crate::rng::{Purpose, Stream};
use crate::train::Incomplete;
use crate::train::source::{Batch, Split};

/// Values: `hessian_max`, the eigenvalue of largest magnitude by `iterations` steps of power
/// iteration from a seeded start, of the mean loss over the first `count` training examples
/// in evaluation mode; `residual`, `||Hv - lambda v|| / |lambda|` at the end (how far from
/// converged).
///
/// # Errors
/// If the device fails, or the measurement is told to stop.
pub fn measure(
    subject: &mut Subject<'_>,
    iterations: u32,
    count: usize,
) -> Result<Measured, Problem> {
    let batches: Vec<Batch> = examples(subject.source, Split::TrainPlain, count).collect();
    let mut stream = Stream::open(subject.spec.seed, Purpose::Measurement, &[2]);
    let mut v: Vec<f64> = (0..subject.graph.parameter_count()).map(|_| stream.normal()).collect();
    normalize(&mut v);
    let (mut lambda, mut residual) = (0.0, f64::INFINITY);
    for _ in 0..iterations {
        let product = hessian_times(&mut *subject.backend, &batches, &v, subject.stop)?;
        lambda = dot(&product, &v);
        let rest: Vec<f64> = product.iter().zip(&v).map(|(h, v)| h - v * lambda).collect();
        residual = dot(&rest, &rest).sqrt() / lambda.abs();
        v = product;
        normalize(&mut v);
    }
    let values = [("hessian_max", lambda), ("residual", residual)];
    let values = values.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
    Ok(Measured { values, ..Measured::default() })
}

/// Product of the Hessian of the mean loss over the examples of `batches` with a direction, all
/// parameters in a row. With a single logit, where training sums the loss over a batch, it is the
/// mean all the same, so the product does not depend on how the examples are split into batches.
/// `stop` is polled before every batch.
///
/// # Errors
/// If the device fails, or `stop` says so.
pub fn hessian_times(
    backend: &mut dyn Backend,
    batches: &[Batch],
    direction: &[f64],
    stop: &dyn Fn() -> bool,
) -> Result<Vec<f64>, Incomplete> {
    let total: usize = batches.iter().map(|batch| batch.labels.len()).sum();
    let mut mean = vec![0.0; direction.len()];
    for batch in batches {
        if stop() {
            return Err(Incomplete::Stopped);
        }
        let product = backend.hessian_times(batch.examples(), direction)?;
        // A mean over the batch counts once for each example; a sum has counted them already.
        let is_sum = backend.graph().signature.outputs == 1;
        let count = if is_sum { 1.0 } else { batch.labels.len() as f64 };
        let weight = count / total as f64;
        mean.iter_mut().zip(product).for_each(|(mean, part)| *mean += weight * part);
    }
    Ok(mean)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

fn normalize(v: &mut [f64]) {
    let length = dot(v, v).sqrt().max(f64::MIN_POSITIVE);
    v.iter_mut().for_each(|part| *part /= length);
}
