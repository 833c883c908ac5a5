//! Convolutions of numbers with their derivatives.

use super::Dual;
use super::layers::Kernel;
use crate::models::graph::{Conv, Shape};

/// Pairs of an output and an input pixel, with the tap that connects them.
fn each_tap(conv: &Conv, from: Shape, to: Shape, mut visit: impl FnMut(usize, usize, usize)) {
    let [height, width] = conv.kernel;
    let inside = |output: usize, tap: usize, side: usize| {
        (output * conv.stride + tap).checked_sub(conv.padding).filter(|&place| place < side)
    };
    for (y, x) in (0..to.height).flat_map(|y| (0..to.width).map(move |x| (y, x))) {
        for ky in 0..height {
            let Some(row) = inside(y, ky, from.height) else { continue };
            for kx in 0..width {
                let Some(column) = inside(x, kx, from.width) else { continue };
                visit(y * to.width + x, row * from.width + column, ky * width + kx);
            }
        }
    }
}

/// A convolution of one image.
pub fn convolve(
    conv: &Conv,
    kernel: &Kernel,
    (x, from): (&Dual, Shape),
    (out, to): (&mut Dual, Shape),
) {
    for pixel in 0..to.pixels() {
        let row = pixel * to.channels..(pixel + 1) * to.channels;
        out.value[row.clone()].copy_from_slice(&kernel.bias.value);
        out.slope[row].copy_from_slice(&kernel.bias.slope);
    }
    each_tap(conv, from, to, |pixel, source, tap| {
        let row = pixel * to.channels..(pixel + 1) * to.channels;
        let (y, along) = (&mut out.value[row.clone()], &mut out.slope[row]);
        for c in 0..from.channels {
            let place = source * from.channels + c;
            let (value, slope) = (x.value[place], x.slope[place]);
            if value == 0.0 && slope == 0.0 {
                continue;
            }
            let first = (tap * from.channels + c) * to.channels;
            let w = &kernel.forward.value[first..][..y.len()];
            let v = &kernel.forward.slope[first..][..y.len()];
            for o in 0..w.len() {
                y[o] += value * w[o];
                along[o] += slope * w[o] + value * v[o];
            }
        }
    });
}

/// Its gradients: to the inputs, and what they add to the products.
pub fn convolve_back(
    conv: &Conv,
    kernel: &mut Kernel,
    (x, dx, from): (&Dual, &mut Dual, Shape),
    (g, to): (&Dual, Shape),
) {
    for slopes in g.slope.chunks_exact(to.channels) {
        kernel.bias_product.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
    }
    each_tap(conv, from, to, |pixel, source, tap| {
        let row = pixel * to.channels..(pixel + 1) * to.channels;
        let (value, slope) = (&g.value[row.clone()], &g.slope[row]);
        let below = source * from.channels..(source + 1) * from.channels;
        for c in 0..from.channels {
            let (a, b) = (x.value[below.start + c], x.slope[below.start + c]);
            if a == 0.0 && b == 0.0 {
                continue;
            }
            let first = (tap * from.channels + c) * to.channels;
            let product = &mut kernel.product[first..][..value.len()];
            for o in 0..product.len() {
                product[o] += b * value[o] + a * slope[o];
            }
        }
        let (d, along) = (&mut dx.value[below.clone()], &mut dx.slope[below]);
        for o in 0..to.channels {
            let (a, b) = (value[o], slope[o]);
            if a == 0.0 && b == 0.0 {
                continue;
            }
            let first = (tap * to.channels + o) * from.channels;
            let w = &kernel.backward.value[first..][..d.len()];
            let v = &kernel.backward.slope[first..][..d.len()];
            for c in 0..w.len() {
                d[c] += a * w[c];
                along[c] += b * w[c] + a * v[c];
            }
        }
    });
}
