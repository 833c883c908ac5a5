//! The three poolings, forward and backward.

use super::real::Real;
use super::sums::Maps;
use bad_global_minima::models::graph::Shape;

/// The four input pixels of an output pixel, row by row.
fn window(from: Shape, to: Shape, pixel: usize) -> [usize; 4] {
    let first = 2 * (pixel / to.width) * from.width + 2 * (pixel % to.width);
    [first, first + 1, first + from.width, first + from.width + 1]
}

/// Position in the window of its first largest value.
fn first_largest<T: Real>(x: &[T; 4]) -> usize {
    let mut best = 0;
    for at in 1..4 {
        if x[at] > x[best] {
            best = at;
        }
    }
    best
}

/// Calls `of` with image, channel and pixel of each output, and the pixels of `x` in its window.
fn each_window<T: Real>(
    x: &Maps<T>,
    to: Shape,
    mut of: impl FnMut(usize, usize, usize, [usize; 4]),
) {
    for image in 0..x.images {
        for channel in 0..to.channels {
            for pixel in 0..to.pixels() {
                of(image, channel, pixel, window(x.shape, to, pixel));
            }
        }
    }
}

/// The value of `x` where `deciding` is largest in each window. In docs/numerics.md the two are the
/// same; the reference in double precision decides by the values in single precision, so that both pick
/// the same pixel.
pub fn max<T: Real>(x: &Maps<T>, deciding: &Maps<T>, to: Shape) -> Maps<T> {
    let mut y = Maps::zeros(x.images, to);
    each_window(x, to, |image, channel, pixel, window| {
        let best = first_largest(&window.map(|at| deciding.get(image, channel, at)));
        y.set(image, channel, pixel, x.get(image, channel, window[best]));
    });
    y
}

pub fn mean<T: Real>(x: &Maps<T>, to: Shape) -> Maps<T> {
    let mut y = Maps::zeros(x.images, to);
    each_window(x, to, |image, channel, pixel, window| {
        let x = window.map(|at| x.get(image, channel, at));
        y.set(image, channel, pixel, (((x[0] + x[1]) + x[2]) + x[3]) * T::of(0.25));
    });
    y
}

/// Each gradient goes to the pixel that [`max`] picked. Windows do not overlap.
pub fn max_backward<T: Real>(deciding: &Maps<T>, g: &Maps<T>) -> Maps<T> {
    let mut dx = Maps::zeros(deciding.images, deciding.shape);
    each_window(deciding, g.shape, |image, channel, pixel, window| {
        let best = first_largest(&window.map(|at| deciding.get(image, channel, at)));
        dx.set(image, channel, window[best], g.get(image, channel, pixel));
    });
    dx
}

pub fn mean_backward<T: Real>(x: &Maps<T>, g: &Maps<T>) -> Maps<T> {
    let mut dx = Maps::zeros(x.images, x.shape);
    each_window(x, g.shape, |image, channel, pixel, window| {
        let part = g.get(image, channel, pixel) * T::of(0.25);
        window.into_iter().for_each(|at| dx.set(image, channel, at, part));
    });
    dx
}

pub fn global_mean<T: Real>(x: &Maps<T>, to: Shape) -> Maps<T> {
    let mut y = Maps::zeros(x.images, to);
    for image in 0..x.images {
        for channel in 0..to.channels {
            let mut s = T::ZERO;
            for pixel in 0..x.shape.pixels() {
                s = s + x.get(image, channel, pixel);
            }
            y.set(image, channel, 0, s / T::count(x.shape.pixels()));
        }
    }
    y
}

pub fn global_mean_backward<T: Real>(x: &Maps<T>, g: &Maps<T>) -> Maps<T> {
    let mut dx = Maps::zeros(x.images, x.shape);
    for image in 0..x.images {
        for channel in 0..x.shape.channels {
            for pixel in 0..x.shape.pixels() {
                let part = g.get(image, channel, 0) / T::count(x.shape.pixels());
                dx.set(image, channel, pixel, part);
            }
        }
    }
    dx
}
