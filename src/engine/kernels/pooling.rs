//! Pooling of one group of channels of one block of images.

use super::arena::ROW;
use super::vector::Vector;

/// How pixels become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The largest of 2 by 2.
    Max,
    /// The mean of 2 by 2.
    Mean,
    /// The mean of all.
    Global,
}

/// `y` from `x`, or the gradient `dx` from `dy` (and for the largest also `x` and `y`).
pub struct Pool {
    pub pooling: Pooling,
    /// Height and width of `x`.
    pub size: [usize; 2],
    /// Numbers of a pixel.
    pub row: usize,
    pub x: *mut f32,
    pub y: *mut f32,
    /// Gradients of both, on the way back.
    pub back: Option<(*mut f32, *const f32)>,
    /// `dx = dx + that` on the way back.
    pub add: bool,
}

#[inline(always)]
pub unsafe fn pool<V: Vector>(o: &Pool) {
    match (o.pooling, o.back) {
        (Pooling::Global, None) => global::<V>(o),
        (Pooling::Global, Some((dx, dy))) => global_back::<V>(o, dx, dy),
        (Pooling::Max, None) => windows::<V, true>(o),
        (Pooling::Mean, None) => windows::<V, false>(o),
        (Pooling::Max, Some((dx, dy))) => windows_back::<V, true>(o, dx, dy),
        (Pooling::Mean, Some((dx, dy))) => windows_back::<V, false>(o, dx, dy),
    }
}

/// First pixels of the windows' two rows, each followed by another.
fn first_pixels([height, width]: [usize; 2]) -> impl Iterator<Item = usize> {
    let columns = width / 2;
    (0..(height / 2) * columns).map(move |q| 2 * (q / columns * width + q % columns))
}

#[inline(always)]
unsafe fn windows<V: Vector, const MAX: bool>(o: &Pool) {
    for (q, first) in first_pixels(o.size).enumerate() {
        let pixels = [first, first + 1, first + o.size[1], first + o.size[1] + 1];
        for at in (0..o.row).step_by(ROW) {
            let mut y = V::load(o.x.add(first * o.row + at));
            for pixel in &pixels[1..] {
                let x = V::load(o.x.add(pixel * o.row + at));
                y = if MAX { x.larger(y) } else { y.add(x) };
            }
            let y = if MAX { y } else { y.mul(V::splat(0.25)) };
            y.store(o.y.add(q * o.row + at));
        }
    }
}

#[inline(always)]
unsafe fn windows_back<V: Vector, const MAX: bool>(o: &Pool, dx: *mut f32, dy: *const f32) {
    if !o.add {
        std::ptr::write_bytes(dx, 0, o.size[0] * o.size[1] * o.row);
    }
    for (q, first) in first_pixels(o.size).enumerate() {
        let pixels = [first, first + 1, first + o.size[1], first + o.size[1] + 1];
        for at in (0..o.row).step_by(ROW) {
            let mut g = V::load(dy.add(q * o.row + at));
            let y = V::load(o.y.add(q * o.row + at));
            for pixel in pixels {
                let at = pixel * o.row + at;
                let own = if MAX {
                    let (own, rest) = g.where_equal(V::load(o.x.add(at)), y);
                    g = rest;
                    own
                } else {
                    g.mul(V::splat(0.25))
                };
                let own = if o.add { V::load(dx.add(at)).add(own) } else { own };
                own.store(dx.add(at));
            }
        }
    }
}

#[inline(always)]
unsafe fn global<V: Vector>(o: &Pool) {
    let pixels = o.size[0] * o.size[1];
    for at in (0..o.row).step_by(ROW) {
        let mut sum = V::zero();
        for p in 0..pixels {
            sum = sum.add(V::load(o.x.add(p * o.row + at)));
        }
        sum.div(V::splat(pixels as f32)).store(o.y.add(at));
    }
}

#[inline(always)]
unsafe fn global_back<V: Vector>(o: &Pool, dx: *mut f32, dy: *const f32) {
    let pixels = o.size[0] * o.size[1];
    for at in (0..o.row).step_by(ROW) {
        let g = V::load(dy.add(at)).div(V::splat(pixels as f32));
        for p in 0..pixels {
            let dx = dx.add(p * o.row + at);
            let g = if o.add { V::load(dx).add(g) } else { g };
            g.store(dx);
        }
    }
}
