//! BatchNorm, forward and backward.

use super::real::Real;
use super::sums::{Maps, total, total_of_products};

/// What a channel is normalized with.
#[derive(Clone, Copy, Debug)]
pub struct Channel<T> {
    pub mean: T,
    /// Unbiased; only of a batch.
    pub variance: T,
    pub inverse: T,
    pub slope: T,
    offset: T,
}

impl<T: Real> Channel<T> {
    /// From the running statistics.
    pub fn running(mean: T, variance: T, weight: T, bias: T) -> Channel<T> {
        let inverse = T::of(1.0) / (variance + T::of(1e-5)).sqrt();
        let slope = weight * inverse;
        let offset = bias - mean * slope;
        Channel { mean, variance, inverse, slope, offset }
    }

    /// From the batch.
    pub fn of_batch(x: &Maps<T>, channel: usize, weight: T, bias: T) -> Channel<T> {
        let m = values(x);
        let mean = total(x, |image, pixel| x.get(image, channel, pixel)) / m;
        let square = total_of_products(x, |image, pixel| {
            let d = x.get(image, channel, pixel) - mean;
            (d, d)
        });
        let unbiased = square / T::count((x.images * x.shape.pixels() - 1).max(1));
        Channel { variance: unbiased, ..Channel::running(mean, square / m, weight, bias) }
    }
}

/// Values of one channel in the batch.
fn values<T: Real>(x: &Maps<T>) -> T {
    T::count(x.images * x.shape.pixels())
}

pub fn forward<T: Real>(x: &Maps<T>, channels: &[Channel<T>]) -> Maps<T> {
    let mut y = Maps::zeros(x.images, x.shape);
    for image in 0..x.images {
        for (channel, of) in channels.iter().enumerate() {
            for pixel in 0..x.shape.pixels() {
                let value = T::fma(x.get(image, channel, pixel), of.slope, of.offset);
                y.set(image, channel, pixel, value);
            }
        }
    }
    y
}

/// Gradients of a BatchNorm layer.
pub struct Gradients<T> {
    pub weight: Vec<T>,
    pub bias: Vec<T>,
    pub inputs: Maps<T>,
}

/// `of_batch`: the channels' statistics are those of `x` itself, and depend on it.
pub fn backward<T: Real>(
    x: &Maps<T>,
    g: &Maps<T>,
    channels: &[Channel<T>],
    weight: &[T],
    of_batch: bool,
) -> Gradients<T> {
    let m = values(x);
    let mut gradients =
        Gradients { weight: Vec::new(), bias: Vec::new(), inputs: Maps::zeros(x.images, x.shape) };
    for (channel, of) in channels.iter().enumerate() {
        let dbias = total(x, |image, pixel| g.get(image, channel, pixel));
        let dot = total_of_products(x, |image, pixel| {
            (g.get(image, channel, pixel), x.get(image, channel, pixel) - of.mean)
        });
        let dweight = dot * of.inverse;
        let a = weight[channel] * of.inverse;
        let b = -((a * of.inverse) * (dweight / m));
        let c = -(a * (dbias / m)) - of.mean * b;
        for image in 0..x.images {
            for pixel in 0..x.shape.pixels() {
                let (g, x) = (g.get(image, channel, pixel), x.get(image, channel, pixel));
                let dx = if of_batch { T::fma(g, a, T::fma(x, b, c)) } else { g * of.slope };
                gradients.inputs.set(image, channel, pixel, dx);
            }
        }
        gradients.weight.push(dweight);
        gradients.bias.push(dbias);
    }
    gradients
}
