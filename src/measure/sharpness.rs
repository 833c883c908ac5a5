//! Sharpness: the largest eigenvalue of the Hessian of the training loss.

use super::{Problem, Subject, examples};
use crate::experiments::results::Measured;
use crate::models::{Mode, Network};
use crate::rng::{Purpose, Stream};
use crate::train::source::Split;
use crate::train::{Stopped, training_loss};
use tch::{Kind, Tensor};

/// Values: `hessian_max`, the eigenvalue of largest magnitude by `iterations` steps of power
/// iteration from a seeded start, of the mean loss over the first `count` training examples
/// in evaluation mode; `residual`, `||Hv - lambda v|| / |lambda|` at the end (how far from
/// converged).
///
/// # Errors
/// If the measurement is told to stop.
pub fn measure(subject: &Subject<'_>, iterations: u32, count: usize) -> Result<Measured, Problem> {
    let batches: Vec<(Tensor, Tensor)> = examples(subject, Split::TrainPlain, count).collect();
    let mut stream = Stream::open(subject.spec.seed, Purpose::Measurement, &[2]);
    let mut random = |like: &Tensor| {
        let values: Vec<f32> = (0..like.numel()).map(|_| stream.normal() as f32).collect();
        Tensor::from_slice(&values).view(like.size().as_slice()).to_device(subject.device)
    };
    let mut v: Vec<Tensor> = subject.network.trainable().iter().map(&mut random).collect();
    normalize(&mut v);
    let (mut lambda, mut residual) = (0.0, f64::INFINITY);
    for _ in 0..iterations {
        let product = hessian_times(subject.network, &batches, &v, subject.stop)?;
        lambda = dot(&product, &v);
        let rest: Vec<Tensor> = product.iter().zip(&v).map(|(h, v)| h - v * lambda).collect();
        residual = crate::models::norm(&rest) / lambda.abs();
        v = product;
        normalize(&mut v);
    }
    let values = [("hessian_max", lambda), ("residual", residual)];
    let values = values.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
    Ok(Measured { values, ..Measured::default() })
}

/// Product of the Hessian of the mean loss over `batches` with a direction (Pearlmutter
/// 1994): the gradient of `<gradient, direction>`. `stop` is asked before every batch.
///
/// # Errors
/// If `stop` says so.
pub fn hessian_times(
    network: &Network,
    batches: &[(Tensor, Tensor)],
    direction: &[Tensor],
    stop: &dyn Fn() -> bool,
) -> Result<Vec<Tensor>, Stopped> {
    let parameters = network.trainable();
    let total: i64 = batches.iter().map(|(inputs, _)| inputs.size()[0]).sum();
    let mut sum: Vec<Tensor> = parameters.iter().map(|p| p.detach().zeros_like()).collect();
    for (inputs, labels) in batches {
        if stop() {
            return Err(Stopped);
        }
        let loss = training_loss(&network.forward(inputs, Mode::Eval), labels);
        let gradients = Tensor::run_backward(&[&loss], &parameters, true, true);
        let products = gradients.iter().zip(direction).map(|(g, v)| (g * v).sum(Kind::Float));
        let slope = products.reduce(|a, b| a + b).expect("a network has parameters");
        let second = Tensor::run_backward(&[&slope], &parameters, false, false);
        let weight = inputs.size()[0] as f64 / total as f64;
        for (sum, part) in sum.iter_mut().zip(second) {
            *sum = tch::no_grad(|| &*sum + part * weight);
        }
    }
    Ok(sum)
}

fn dot(a: &[Tensor], b: &[Tensor]) -> f64 {
    let double = |t: &Tensor| t.to_kind(Kind::Double);
    a.iter().zip(b).map(|(a, b)| (double(a) * double(b)).sum(Kind::Double).double_value(&[])).sum()
}

fn normalize(v: &mut [Tensor]) {
    let length = crate::models::norm(v).max(f64::MIN_POSITIVE);
    v.iter_mut().for_each(|part| *part = &*part / length);
}
