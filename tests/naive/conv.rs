//! Convolution, forward and backward.

use super::real::Real;
use super::sums::{Maps, blocks, pairs, total, tree};
use bad_global_minima::models::graph::{Conv, Shape};

/// Pixel of the input that an output pixel sees through a tap, if it is not padding.
fn input_pixel(conv: &Conv, from: Shape, output: [usize; 2], tap: [usize; 2]) -> Option<usize> {
    let inside = |axis: usize, side: usize| {
        let padded = output[axis] * conv.stride + tap[axis];
        padded.checked_sub(conv.padding).filter(|&at| at < side)
    };
    Some(inside(0, from.height)? * from.width + inside(1, from.width)?)
}

fn taps(conv: &Conv) -> impl Iterator<Item = [usize; 2]> + use<> {
    grid(conv.kernel[0], conv.kernel[1])
}

/// Row and column of each pixel in ascending order.
fn grid(height: usize, width: usize) -> impl Iterator<Item = [usize; 2]> {
    (0..height * width).map(move |at| [at / width, at % width])
}

/// Position in a weight `[outputs, inputs, height, width]`.
fn weight_at(conv: &Conv, inputs: usize, output: usize, input: usize, tap: [usize; 2]) -> usize {
    ((output * inputs + input) * conv.kernel[0] + tap[0]) * conv.kernel[1] + tap[1]
}

pub fn forward<T: Real>(
    x: &Maps<T>,
    to: Shape,
    conv: &Conv,
    weight: &[T],
    bias: Option<&[T]>,
) -> Maps<T> {
    let inputs = x.shape.channels;
    let mut y = Maps::zeros(x.images, to);
    for image in 0..x.images {
        for output in 0..to.channels {
            for (pixel, at) in grid(to.height, to.width).enumerate() {
                let mut s = bias.map_or(T::ZERO, |bias| bias[output]);
                for tap in taps(conv) {
                    let Some(from) = input_pixel(conv, x.shape, at, tap) else { continue };
                    for input in 0..inputs {
                        let w = weight[weight_at(conv, inputs, output, input, tap)];
                        s = T::fma(x.get(image, input, from), w, s);
                    }
                }
                y.set(image, output, pixel, s);
            }
        }
    }
    y
}

/// Continues the chains that `dx` holds.
pub fn backward_inputs<T: Real>(dx: &mut Maps<T>, dy: &Maps<T>, conv: &Conv, weight: &[T]) {
    let (from, to) = (dx.shape, dy.shape);
    // Which output pixel sees an input pixel through each tap.
    let mut users: Vec<Vec<([usize; 2], usize)>> = vec![Vec::new(); from.pixels()];
    for tap in taps(conv) {
        for (pixel, at) in grid(to.height, to.width).enumerate() {
            if let Some(input) = input_pixel(conv, from, at, tap) {
                users[input].push((tap, pixel));
            }
        }
    }
    for image in 0..dx.images {
        for input in 0..from.channels {
            for (pixel, users) in users.iter().enumerate() {
                let mut s = dx.get(image, input, pixel);
                for &(tap, user) in users {
                    for output in 0..to.channels {
                        let w = weight[weight_at(conv, from.channels, output, input, tap)];
                        s = T::fma(dy.get(image, output, user), w, s);
                    }
                }
                dx.set(image, input, pixel, s);
            }
        }
    }
}

pub fn backward_weights<T: Real>(x: &Maps<T>, dy: &Maps<T>, conv: &Conv) -> Vec<T> {
    let (inputs, to) = (x.shape.channels, dy.shape);
    let mut gradient = vec![T::ZERO; to.channels * inputs * conv.kernel[0] * conv.kernel[1]];
    for output in 0..to.channels {
        for input in 0..inputs {
            for tap in taps(conv) {
                let mut partial = Vec::new();
                for block in blocks(x.images) {
                    let mut s = [T::ZERO; 2];
                    for (pixel, at) in grid(to.height, to.width).enumerate() {
                        let Some(from) = input_pixel(conv, x.shape, at, tap) else { continue };
                        for pair in pairs(block.clone()) {
                            for (parity, image) in pair.into_iter().enumerate() {
                                let Some(image) = image else { continue };
                                let (x, dy) =
                                    (x.get(image, input, from), dy.get(image, output, pixel));
                                s[parity] = T::fma(x, dy, s[parity]);
                            }
                        }
                    }
                    partial.push(s[0] + s[1]);
                }
                gradient[weight_at(conv, inputs, output, input, tap)] = tree(partial);
            }
        }
    }
    gradient
}

pub fn backward_bias<T: Real>(dy: &Maps<T>) -> Vec<T> {
    (0..dy.shape.channels)
        .map(|channel| total(dy, |image, pixel| dy.get(image, channel, pixel)))
        .collect()
}
