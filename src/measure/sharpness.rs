//! Sharpness: the largest eigenvalue of the Hessian of the training loss.

use super::{Problem, Subject, examples};
use crate::backend::{Backend, With};
use crate::experiments::results::Measured;
use crate::models::state::State;
use crate::rng::{Purpose, Stream};
use crate::train::Incomplete;
use crate::train::source::{Batch, Split};

/// How far to both sides of the weights gradients are taken, for a direction of length 1.
pub const STEP: f64 = 1e-3;

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
        let (backend, state) = (&mut *subject.backend, subject.state);
        let product = hessian_times(backend, state, &batches, (&v, STEP), subject.stop)?;
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

/// Product of the Hessian of the mean loss over `batches` with a direction of length 1, all
/// parameters in a row: the difference of the gradients a step along it and against it.
/// `stop` is polled before every batch. The backend is left with the weights of `state`.
///
/// # Errors
/// If the device fails, or `stop` says so.
pub fn hessian_times(
    backend: &mut dyn Backend,
    state: &State,
    batches: &[Batch],
    (direction, step): (&[f64], f64),
    stop: &dyn Fn() -> bool,
) -> Result<Vec<f64>, Incomplete> {
    let mut product = vec![0.0; direction.len()];
    for sign in [1.0, -1.0] {
        backend.set_state(&moved(state, direction, sign * step));
        let gradient = mean_gradient(backend, batches, stop)?;
        for (product, gradient) in product.iter_mut().zip(gradient) {
            *product += sign * gradient / (2.0 * step);
        }
    }
    backend.set_state(state);
    Ok(product)
}

/// Weights at `state + step * direction`.
fn moved(state: &State, direction: &[f64], step: f64) -> State {
    let mut moved = state.clone();
    for (weight, along) in moved.parameters.iter_mut().flatten().zip(direction) {
        *weight = (f64::from(*weight) + step * along) as f32;
    }
    moved
}

/// Gradient of the mean loss over all batches.
fn mean_gradient(
    backend: &mut dyn Backend,
    batches: &[Batch],
    stop: &dyn Fn() -> bool,
) -> Result<Vec<f64>, Incomplete> {
    let total: usize = batches.iter().map(|batch| batch.labels.len()).sum();
    let mut mean = vec![0.0; backend.graph().parameter_count()];
    for batch in batches {
        if stop() {
            return Err(Incomplete::Stopped);
        }
        let gradient = backend.gradient(batch.examples(), With::Evaluation)?;
        let weight = batch.labels.len() as f64 / total as f64;
        for (mean, part) in mean.iter_mut().zip(gradient.iter().flatten()) {
            *mean += weight * f64::from(*part);
        }
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
