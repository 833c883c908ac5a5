//! A convolution over one block of images, forward or to its inputs: register tiles of pairs
//! of images by groups of 8 outputs, each a chain over (tap, channel).

use super::arena::{GROUP, ROW};
use super::geometry::Lists;
use super::vector::Vector;
use std::ops::Range;

/// What a chain starts at.
#[derive(Clone, Copy)]
pub enum Start {
    Zero,
    /// The bias of its channel; eight numbers a group.
    Bias(*const f32),
    /// What is there.
    There,
}

/// `y[q] = start + sum over (p, tap) of q's list: x[p] w[tap]`, for some pixels of some groups.
pub struct Rows<'a> {
    pub lists: &'a Lists,
    pub targets: Range<usize>,
    pub taps: usize,
    pub pairs: usize,
    /// Channels of `x`, which are summed over.
    pub channels: usize,
    pub x: *const f32,
    /// Numbers from one group of `x` to the next.
    pub x_group: usize,
    /// Of the first group: `[tap][channel][8]`, channels in [`super::vector::ORDER`].
    pub w: *const f32,
    pub y: *mut f32,
    /// Numbers from one group of `y` to the next.
    pub y_group: usize,
    /// How many groups of `y`.
    pub groups: usize,
    pub start: Start,
}

/// # Safety
/// The processor has `V`'s instructions, and all that `o` describes is valid memory.
#[inline(always)]
pub unsafe fn rows<V: Vector>(o: &Rows) {
    // A copy of its own, that no write through a pointer can change for all the compiler knows.
    let o = &Rows { targets: o.targets.clone(), ..*o };
    let mut group = 0;
    while V::ROWS[1] > 0 && group + 2 <= o.groups {
        columns::<V, 2>(o, group);
        group += 2;
    }
    while group < o.groups {
        columns::<V, 1>(o, group);
        group += 1;
    }
}

/// `N` groups of outputs.
#[inline(always)]
unsafe fn columns<V: Vector, const N: usize>(o: &Rows, group: usize) {
    let most = V::ROWS[N - 1];
    let w = o.w.add(group * o.taps * o.channels * GROUP);
    let y = o.y.add(group * o.y_group);
    let tiles = o.pairs.div_ceil(most);
    let mut start = [V::zero(); N];
    if let Start::Bias(bias) = o.start {
        for (n, start) in start.iter_mut().enumerate() {
            let mut row = Aligned([0.0; ROW]);
            for (lane, value) in row.0.iter_mut().enumerate() {
                *value = *bias.add((group + n) * GROUP + lane / 2);
            }
            *start = V::load(row.0.as_ptr());
        }
    }
    for q in o.targets.clone() {
        let list = o.lists.of(q);
        let mut first = 0;
        for tile in 0..tiles {
            let m = (o.pairs - first).div_ceil(tiles - tile);
            let x = o.x.add(first * ROW);
            let y = y.add((q * o.pairs + first) * ROW);
            macro_rules! by_rows {
                ($($m:literal)*) => {
                    match m {
                        $($m if $m <= most => self::tile::<V, $m, N>(o, list, start, x, w, y),)*
                        _ => std::hint::unreachable_unchecked(),
                    }
                };
            }
            by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
            first += m;
        }
    }
}

#[repr(align(64))]
struct Aligned([f32; ROW]);

#[inline(always)]
unsafe fn tile<V: Vector, const M: usize, const N: usize>(
    o: &Rows,
    list: &[(u32, u32)],
    start: [V; N],
    x: *const f32,
    w: *const f32,
    y: *mut f32,
) {
    let mut sums = [start; M];
    if let Start::There = o.start {
        for m in 0..M {
            for n in 0..N {
                sums[m][n] = V::load(y.add(n * o.y_group + ROW * m));
            }
        }
    }
    let w_group = o.taps * o.channels * GROUP;
    for &(p, tap) in list {
        let mut w = w.add(tap as usize * o.channels * GROUP);
        let mut x = x.add(p as usize * o.pairs * ROW);
        let mut left = o.channels;
        while left > 0 {
            let depth = left.min(GROUP);
            macro_rules! each {
                ($channels:expr) => {
                    for c in $channels {
                        let mut b = [V::zero(); N];
                        for n in 0..N {
                            b[n] = V::twice(w.add(GROUP * c + n * w_group));
                        }
                        for m in 0..M {
                            let a = V::pair(x.add(ROW * m + 2 * c));
                            for n in 0..N {
                                sums[m][n] = sums[m][n].fma(a, b[n]);
                            }
                        }
                    }
                };
            }
            // The common case with a constant length, which the compiler unrolls.
            if depth == GROUP {
                each!(0..GROUP);
            } else {
                each!(0..depth);
            }
            w = w.add(GROUP * depth);
            x = x.wrapping_add(o.x_group);
            left -= depth;
        }
    }
    for m in 0..M {
        for n in 0..N {
            sums[m][n].store(y.add(n * o.y_group + ROW * m));
        }
    }
}

/// Weights `[output / 8][tap][input][8]` with inputs and outputs exchanged:
/// `[input / 8][tap][output][8]`.
pub struct Transpose {
    /// Which groups of inputs.
    pub groups: Range<usize>,
    pub taps: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub w: *const f32,
    pub t: *mut f32,
}

/// # Safety
/// All that `o` describes is valid memory, `t` for whole groups of inputs.
#[inline(always)]
pub unsafe fn transpose<V: Vector>(o: &Transpose) {
    use super::vector::ORDER;
    let &Transpose { taps, inputs, outputs, w, t, .. } = o;
    for to in o.groups.clone().map(|group| group * GROUP) {
        for from in (0..outputs).step_by(GROUP) {
            let (across, down) = ((inputs - to).min(GROUP), (outputs - from).min(GROUP));
            for tap in 0..taps {
                let w = w.add((from * taps + tap * GROUP) * inputs + GROUP * to);
                let t = t.add((to * taps + tap * GROUP) * outputs + GROUP * from);
                // Row `i` of `w` is input `i`, its places are outputs; the reverse in `t`.
                if across == GROUP && down == GROUP {
                    let (mut inputs, mut outputs) = ([w; GROUP], [t; GROUP]);
                    for (place, at) in ORDER.into_iter().enumerate() {
                        inputs[place] = w.add(GROUP * at);
                        outputs[place] = t.add(GROUP * at);
                    }
                    V::transpose(inputs, outputs);
                    continue;
                }
                for output in 0..down {
                    for (place, input) in ORDER.into_iter().enumerate() {
                        *t.add(GROUP * output + place) = if input < across {
                            *w.add(GROUP * input + ORDER[output])
                        } else {
                            0.0
                        };
                    }
                }
            }
        }
    }
}
