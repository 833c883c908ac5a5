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

/// Each output from the values of its window.
fn pool<T: Real>(x: &Maps<T>, to: Shape, of_window: fn([T; 4]) -> T) -> Maps<T> {
    let mut y = Maps::zeros(x.images, to);
    for image in 0..x.images {
        for channel in 0..to.channels {
            for pixel in 0..to.pixels() {
                let values = window(x.shape, to, pixel).map(|at| x.get(image, channel, at));
                y.set(image, channel, pixel, of_window(values));
            }
        }
    }
    y
}

pub fn max<T: Real>(x: &Maps<T>, to: Shape) -> Maps<T> {
    pool(x, to, |x| x[first_largest(&x)])
}

pub fn mean<T: Real>(x: &Maps<T>, to: Shape) -> Maps<T> {
    pool(x, to, |x| (((x[0] + x[1]) + x[2]) + x[3]) * T::of(0.25))
}

/// Gradient of the inputs from the one of each output and the values of its window.
fn unpool<T: Real>(x: &Maps<T>, g: &Maps<T>, of_window: fn([T; 4], T) -> [T; 4]) -> Maps<T> {
    let mut dx = Maps::zeros(x.images, x.shape);
    for image in 0..x.images {
        for channel in 0..g.shape.channels {
            for pixel in 0..g.shape.pixels() {
                let window = window(x.shape, g.shape, pixel);
                let values = window.map(|at| x.get(image, channel, at));
                let parts = of_window(values, g.get(image, channel, pixel));
                for (at, part) in window.into_iter().zip(parts) {
                    dx.set(image, channel, at, part);
                }
            }
        }
    }
    dx
}

pub fn max_backward<T: Real>(x: &Maps<T>, g: &Maps<T>) -> Maps<T> {
    unpool(x, g, |x, g| {
        let mut parts = [T::ZERO; 4];
        parts[first_largest(&x)] = g;
        parts
    })
}

pub fn mean_backward<T: Real>(x: &Maps<T>, g: &Maps<T>) -> Maps<T> {
    unpool(x, g, |_, g| [g * T::of(0.25); 4])
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
