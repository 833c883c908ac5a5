//! What works number by number or on a channel's sums: BatchNorm, ReLU, addition. A kernel
//! takes one group of channels of one block of images: rows of 8 channels of 2 images.

use super::arena::{GROUP, ROW};
use super::vector::{Vector, each};

/// A number for each channel of a group.
pub type Eight = [f32; GROUP];

/// A number for each lane of a row.
#[repr(align(64))]
#[derive(Clone, Copy)]
pub struct Lanes([f32; ROW]);

impl Lanes {
    /// Both images of a channel get the channel's number.
    #[inline(always)]
    fn both(channels: &Eight) -> Lanes {
        Lanes(each(|lane| channels[lane / 2]))
    }
}

#[inline(always)]
unsafe fn spread<V: Vector>(channels: &Eight) -> V {
    V::load(Lanes::both(channels).0.as_ptr())
}

/// Sums of rows in four chains, row `r` in chain `r mod 4`, are the channel's total.
#[inline(always)]
unsafe fn fold<V: Vector>(chains: [V; 4]) -> Eight {
    let sum = chains[0].add(chains[1]).add(chains[2].add(chains[3]));
    let mut lanes = Lanes([0.0; ROW]);
    sum.store(lanes.0.as_mut_ptr());
    each(|c| lanes.0[2 * c] + lanes.0[2 * c + 1])
}

/// Calls `$row` with the position of each row and of its chain.
macro_rules! chained {
    ($len:expr, |$at:ident, $chain:ident| $row:expr) => {{
        let (len, mut first) = ($len, 0);
        while first + 4 * ROW <= len {
            for $chain in 0..4 {
                let $at = first + $chain * ROW;
                $row;
            }
            first += 4 * ROW;
        }
        for $chain in 0..3 {
            let $at = first + $chain * ROW;
            if $at < len {
                $row;
            }
        }
    }};
}

/// `total(x)`
#[inline(always)]
pub unsafe fn total<V: Vector>(x: *const f32, len: usize) -> Eight {
    let mut sums = [V::zero(); 4];
    chained!(len, |at, chain| sums[chain] = sums[chain].add(V::load(x.add(at))));
    fold(sums)
}

/// `total_of_products(d, d)` with `d = x - mean`.
#[inline(always)]
pub unsafe fn squares<V: Vector>(x: *const f32, len: usize, mean: &Eight) -> Eight {
    let (mut sums, mean) = ([V::zero(); 4], spread::<V>(mean));
    chained!(len, |at, chain| {
        let d = V::load(x.add(at)).sub(mean);
        sums[chain] = sums[chain].fma(d, d);
    });
    fold(sums)
}

/// A value, or `fma(value, slope, offset)` of it.
#[derive(Clone, Copy)]
pub struct Operand {
    pub x: *const f32,
    pub affine: Option<(Eight, Eight)>,
}

/// `y = left + right`, and ReLU of it. `y` may be the place of an operand.
pub struct Apply {
    pub left: Operand,
    pub right: Option<Operand>,
    pub relu: bool,
    pub y: *mut f32,
    pub len: usize,
}

#[inline(always)]
unsafe fn coefficients<V: Vector>(operand: Operand) -> (V, V) {
    match operand.affine {
        Some((slope, offset)) => (spread::<V>(&slope), spread::<V>(&offset)),
        None => (V::zero(), V::zero()),
    }
}

#[inline(always)]
unsafe fn apply_as<V: Vector, const LEFT: bool, const RIGHT: u8, const RELU: bool>(o: &Apply) {
    let right = o.right.unwrap_or(o.left);
    let other = right.x;
    let (left, right) = (coefficients::<V>(o.left), coefficients::<V>(right));
    for at in (0..o.len).step_by(ROW) {
        let mut y = V::load(o.left.x.add(at));
        if LEFT {
            y = left.1.fma(y, left.0);
        }
        if RIGHT > 0 {
            let mut z = V::load(other.add(at));
            if RIGHT > 1 {
                z = right.1.fma(z, right.0);
            }
            y = y.add(z);
        }
        if RELU {
            y = V::zero().larger(y);
        }
        y.store(o.y.add(at));
    }
}

#[inline(always)]
pub unsafe fn apply<V: Vector>(o: &Apply) {
    let right = o.right.map_or(0, |right| 1 + u8::from(right.affine.is_some()));
    match (o.left.affine.is_some(), right, o.relu) {
        (false, 0, false) => apply_as::<V, false, 0, false>(o),
        (false, 0, true) => apply_as::<V, false, 0, true>(o),
        (false, 1, false) => apply_as::<V, false, 1, false>(o),
        (false, 1, true) => apply_as::<V, false, 1, true>(o),
        (false, _, false) => apply_as::<V, false, 2, false>(o),
        (false, _, true) => apply_as::<V, false, 2, true>(o),
        (true, 0, false) => apply_as::<V, true, 0, false>(o),
        (true, 0, true) => apply_as::<V, true, 0, true>(o),
        (true, 1, false) => apply_as::<V, true, 1, false>(o),
        (true, 1, true) => apply_as::<V, true, 1, true>(o),
        (true, _, false) => apply_as::<V, true, 2, false>(o),
        (true, _, true) => apply_as::<V, true, 2, true>(o),
    }
}

/// `g` becomes what passes the ReLU whose output is `y`, if there is one; then sums of it, and
/// of its products with `x - mean` of up to two normalized values.
pub struct Passed {
    pub g: *mut f32,
    pub y: Option<*const f32>,
    pub normalized: [Option<(*const f32, Eight)>; 2],
    pub len: usize,
}

/// Of a group of channels in one block: `total(g)` and two of `total_of_products(g, x - mean)`.
pub type PassedSums = [Eight; 3];

#[inline(always)]
unsafe fn normalized<V: Vector>(o: &Passed, index: usize) -> (*const f32, V) {
    match &o.normalized[index] {
        Some((x, mean)) => (*x, spread::<V>(mean)),
        None => (o.g, V::zero()),
    }
}

#[inline(always)]
unsafe fn passed_as<V: Vector, const RELU: bool, const NORMS: usize>(o: &Passed) -> PassedSums {
    let y = o.y.unwrap_or(o.g);
    let first = normalized::<V>(o, 0);
    let second = normalized::<V>(o, 1);
    let mut sums = [[V::zero(); 4]; 3];
    chained!(o.len, |at, chain| {
        let mut g = V::load(o.g.add(at));
        if RELU {
            g = g.where_positive(V::load(y.add(at)));
            g.store(o.g.add(at));
        }
        if NORMS > 0 {
            sums[0][chain] = sums[0][chain].add(g);
            let d = V::load(first.0.add(at)).sub(first.1);
            sums[1][chain] = sums[1][chain].fma(g, d);
        }
        if NORMS > 1 {
            let d = V::load(second.0.add(at)).sub(second.1);
            sums[2][chain] = sums[2][chain].fma(g, d);
        }
    });
    [fold(sums[0]), fold(sums[1]), fold(sums[2])]
}

/// `normalized[1]` only beside `normalized[0]`.
#[inline(always)]
pub unsafe fn passed<V: Vector>(o: &Passed) -> PassedSums {
    match (o.y.is_some(), o.normalized.iter().flatten().count()) {
        (false, 0) => [[0.0; GROUP]; 3],
        (true, 0) => passed_as::<V, true, 0>(o),
        (false, 1) => passed_as::<V, false, 1>(o),
        (true, 1) => passed_as::<V, true, 1>(o),
        (false, _) => passed_as::<V, false, 2>(o),
        (true, _) => passed_as::<V, true, 2>(o),
    }
}

/// What a gradient is times.
#[derive(Clone, Copy)]
pub enum Factor {
    /// `g`
    One,
    /// `g * slope`
    Slope(Eight),
    /// `fma(g, a, fma(x, b, c))`
    Normalized { x: *const f32, a: Eight, b: Eight, c: Eight },
}

/// `dx = factor of g`, or `dx = dx + that`. `dx` may be the place of `g`.
pub struct Hand {
    pub g: *const f32,
    pub factor: Factor,
    pub dx: *mut f32,
    pub add: bool,
    pub len: usize,
}

/// `MODE`: 0 for one, 1 for a slope (`a`), 2 for a normalized value.
#[inline(always)]
unsafe fn hand_as<V: Vector, const MODE: u8, const ADD: bool>(
    o: &Hand,
    x: *const f32,
    [a, b, c]: [Eight; 3],
) {
    let (a, b, c) = (spread::<V>(&a), spread::<V>(&b), spread::<V>(&c));
    for at in (0..o.len).step_by(ROW) {
        let g = V::load(o.g.add(at));
        let mut dx = match MODE {
            0 => g,
            1 => g.mul(a),
            _ => c.fma(V::load(x.add(at)), b).fma(g, a),
        };
        if ADD {
            dx = V::load(o.dx.add(at)).add(dx);
        }
        dx.store(o.dx.add(at));
    }
}

#[inline(always)]
pub unsafe fn hand<V: Vector>(o: &Hand) {
    let none = [0.0; GROUP];
    match (o.factor, o.add) {
        (Factor::One, false) => hand_as::<V, 0, false>(o, o.g, [none; 3]),
        (Factor::One, true) => hand_as::<V, 0, true>(o, o.g, [none; 3]),
        (Factor::Slope(a), false) => hand_as::<V, 1, false>(o, o.g, [a, none, none]),
        (Factor::Slope(a), true) => hand_as::<V, 1, true>(o, o.g, [a, none, none]),
        (Factor::Normalized { x, a, b, c }, false) => hand_as::<V, 2, false>(o, x, [a, b, c]),
        (Factor::Normalized { x, a, b, c }, true) => hand_as::<V, 2, true>(o, x, [a, b, c]),
    }
}
