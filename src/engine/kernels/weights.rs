//! The gradient of a convolution's weights: register tiles of taps by input channels by groups
//! of 8 outputs, each a chain over (output pixel, pair of images) for either parity.

use super::arena::{GROUP, ROW};
use super::geometry::{Geometry, NOWHERE, Triple};
use super::pointers::Values;
use super::tree::Tree;
use super::vector::Vector;
use std::ops::Range;

/// `dw[tap] = sum over (p, q) of the tap's list: x[p]^T dy[q]`, over all images, for some groups
/// of input channels and of outputs.
pub struct Weights<'a> {
    pub geometry: &'a Geometry,
    /// All input channels.
    pub inputs: usize,
    pub x: Values,
    /// Which groups of them.
    pub x_groups: Range<usize>,
    pub dy: Values,
    /// Which groups of outputs.
    pub dy_groups: Range<usize>,
    /// `[output / 8][tap][input][8]`, all of it.
    pub dw: *mut f32,
}

impl Weights<'_> {
    fn w_group(&self) -> usize {
        self.geometry.taps() * self.inputs * GROUP
    }
}

/// # Safety
/// The processor has `V`'s instructions, and all that `o` describes is valid memory.
#[inline(always)]
pub unsafe fn weights<V: Vector>(o: &Weights) {
    // A copy of its own, that no write through a pointer can change for all the compiler knows.
    let o = &Weights { x_groups: o.x_groups.clone(), dy_groups: o.dy_groups.clone(), ..*o };
    if let (1, [(0, 0)]) = (o.x.images.blocks(), o.geometry.by_tap.of(0))
        && o.geometry.taps() == 1
        && o.x.images.pairs() <= V::HELD
    {
        return linear::<V>(o);
    }
    let tree = &mut Tree::new();
    let mut dy_group = o.dy_groups.start;
    while V::ROWS[1] > 0 && dy_group + 2 <= o.dy_groups.end {
        for x_group in o.x_groups.clone() {
            tiles::<V, 2>(o, x_group, dy_group, tree);
        }
        dy_group += 2;
    }
    while dy_group < o.dy_groups.end {
        for x_group in o.x_groups.clone() {
            tiles::<V, 1>(o, x_group, dy_group, tree);
        }
        dy_group += 1;
    }
}

/// A linear layer of few images: the gradient of its outputs stays in registers.
#[inline(always)]
unsafe fn linear<V: Vector>(o: &Weights) {
    macro_rules! by_pairs {
        ($($p:literal)*) => {
            match o.x.images.pairs() {
                $($p if $p <= V::HELD => linear_of::<V, $p>(o),)*
                _ => std::hint::unreachable_unchecked(),
            }
        };
    }
    by_pairs!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
}

#[inline(always)]
unsafe fn linear_of<V: Vector, const P: usize>(o: &Weights) {
    for dy_group in o.dy_groups.clone() {
        let dy = o.dy.group(0, dy_group);
        let mut held = [V::zero(); P];
        for pair in 0..P {
            held[pair] = V::load(dy.add(ROW * pair));
        }
        let dw = o.dw.add(dy_group * o.inputs * GROUP);
        for x_group in o.x_groups.clone() {
            let x = o.x.group(0, x_group);
            let dw = dw.add(x_group * GROUP * GROUP);
            for channel in 0..(o.inputs - x_group * GROUP).min(GROUP) {
                let mut sum = V::zero();
                for pair in 0..P {
                    sum = sum.fma(V::pair(x.add(ROW * pair + 2 * channel)), held[pair]);
                }
                sum.store_sum(dw.add(channel * GROUP));
            }
        }
    }
}

/// All taps of a group of inputs and `N` groups of outputs.
#[inline(always)]
unsafe fn tiles<V: Vector, const N: usize>(
    o: &Weights,
    x_group: usize,
    dy_group: usize,
    tree: &mut Tree<TILE>,
) {
    let taps = o.geometry.taps();
    let depth = (o.inputs - x_group * GROUP).min(GROUP);
    // Three taps at once share what is loaded of `dy`, where the registers are enough.
    let three = N == 1 && !o.geometry.triples.is_empty();
    let most = V::DEPTH[usize::from(three)];
    for first in (0..depth).step_by(most) {
        let channel = x_group * GROUP + first;
        let dw = o.dw.add(dy_group * o.w_group() + channel * GROUP);
        macro_rules! by_depth {
            ($($r:literal)*) => {
                match (depth - first).min(most) {
                    $($r if $r <= most => if three {
                        for (row, triples) in o.geometry.triples.iter().enumerate() {
                            let tile = Three { o, x_group, dy_group, first, triples };
                            let dw = dw.add(3 * row * o.inputs * GROUP);
                            over_blocks::<V, 3, $r, 1>(o, dw, tree, &tile);
                        }
                    } else {
                        for tap in 0..taps {
                            let tile = One { o, x_group, dy_group, first, list: o.geometry.by_tap.of(tap) };
                            let dw = dw.add(tap * o.inputs * GROUP);
                            over_blocks::<V, 1, $r, N>(o, dw, tree, &tile);
                        }
                    },)*
                    _ => std::hint::unreachable_unchecked(),
                }
            };
        }
        by_depth!(1 2 3 4 5 6 7 8);
    }
}

type Sums<V, const T: usize, const R: usize, const N: usize> = [[[V; N]; R]; T];
/// Numbers of the largest tile: three taps of eight channels, or one of eight for two groups.
const TILE: usize = 3 * 8 * GROUP;

/// A tile's chains over one block. (Not a closure: those are not inlined into a function with
/// more instructions for certain.)
trait Tile<V: Vector, const T: usize, const R: usize, const N: usize> {
    unsafe fn sums(&self, block: usize) -> Sums<V, T, R, N>;
}

#[inline(always)]
unsafe fn store<V: Vector, const T: usize, const R: usize, const N: usize>(
    sums: &Sums<V, T, R, N>,
    to: *mut f32,
    tap: usize,
    group: usize,
) {
    for t in 0..T {
        for r in 0..R {
            for n in 0..N {
                sums[t][r][n].store_sum(to.add(t * tap + r * GROUP + n * group));
            }
        }
    }
}

/// Sums a tile block by block, and those sums as a tree.
#[inline(always)]
unsafe fn over_blocks<V: Vector, const T: usize, const R: usize, const N: usize>(
    o: &Weights,
    dw: *mut f32,
    tree: &mut Tree<TILE>,
    tile: &impl Tile<V, T, R, N>,
) {
    let blocks = o.x.images.blocks();
    let tap = o.inputs * GROUP;
    if blocks == 1 {
        return store(&tile.sums(0), dw, tap, o.w_group());
    }
    tree.start(T * R * N * GROUP);
    for block in 0..blocks {
        store(&tile.sums(block), tree.next().as_mut_ptr(), R * GROUP, T * R * GROUP);
        tree.merge_all();
    }
    let total = tree.total();
    for n in 0..N {
        for t in 0..T {
            let from = total[(n * T + t) * R * GROUP..].as_ptr();
            let to = dw.add(t * tap + n * o.w_group());
            std::ptr::copy_nonoverlapping(from, to, R * GROUP);
        }
    }
}

struct One<'a> {
    o: &'a Weights<'a>,
    x_group: usize,
    dy_group: usize,
    first: usize,
    list: &'a [(u32, u32)],
}

impl<V: Vector, const R: usize, const N: usize> Tile<V, 1, R, N> for One<'_> {
    #[inline(always)]
    unsafe fn sums(&self, block: usize) -> Sums<V, 1, R, N> {
        let o = self.o;
        let pairs = o.x.images.pairs_of(block);
        let x = o.x.group(block, self.x_group).add(2 * self.first);
        let dy = o.dy.group(block, self.dy_group);
        let dy_group = o.dy.len(block);
        let mut sums = [[[V::zero(); N]; R]; 1];
        for &(p, q) in self.list {
            let x = [x.add(p as usize * pairs * ROW).cast_const()];
            let dy = dy.add(q as usize * pairs * ROW);
            chains::<V, 1, R, N>(&mut sums, pairs, x, dy, dy_group);
        }
        sums
    }
}

struct Three<'a> {
    o: &'a Weights<'a>,
    x_group: usize,
    dy_group: usize,
    first: usize,
    triples: &'a [Triple],
}

impl<V: Vector, const R: usize> Tile<V, 3, R, 1> for Three<'_> {
    #[inline(always)]
    unsafe fn sums(&self, block: usize) -> Sums<V, 3, R, 1> {
        let o = self.o;
        let pairs = o.x.images.pairs_of(block);
        let x = o.x.group(block, self.x_group).add(2 * self.first).cast_const();
        let dy = o.dy.group(block, self.dy_group);
        let mut sums = [[[V::zero(); 1]; R]; 3];
        for &(q, p) in self.triples {
            let dy = dy.add(q as usize * pairs * ROW);
            let at = [
                x.wrapping_add(p[0] as usize * pairs * ROW),
                x.wrapping_add(p[1] as usize * pairs * ROW),
                x.wrapping_add(p[2] as usize * pairs * ROW),
            ];
            // At the image's borders only some of the taps have an input.
            match (p[0] != NOWHERE, p[1] != NOWHERE, p[2] != NOWHERE) {
                (true, true, true) => chains::<V, 3, R, 1>(&mut sums, pairs, at, dy, 0),
                (true, true, false) => {
                    let mut two = [sums[0], sums[1]];
                    chains::<V, 2, R, 1>(&mut two, pairs, [at[0], at[1]], dy, 0);
                    [sums[0], sums[1]] = two;
                }
                (false, true, true) => {
                    let mut two = [sums[1], sums[2]];
                    chains::<V, 2, R, 1>(&mut two, pairs, [at[1], at[2]], dy, 0);
                    [sums[1], sums[2]] = two;
                }
                _ => {
                    for t in 0..3 {
                        if p[t] != NOWHERE {
                            let mut one = [sums[t]];
                            chains::<V, 1, R, 1>(&mut one, pairs, [at[t]], dy, 0);
                            sums[t] = one[0];
                        }
                    }
                }
            }
        }
        sums
    }
}

/// Goes on with the chains of a tile over the pairs of one pixel.
#[inline(always)]
unsafe fn chains<V: Vector, const T: usize, const R: usize, const N: usize>(
    sums: &mut Sums<V, T, R, N>,
    pairs: usize,
    x: [*const f32; T],
    dy: *const f32,
    dy_group: usize,
) {
    for pair in 0..pairs {
        let mut b = [V::zero(); N];
        for n in 0..N {
            b[n] = V::load(dy.add(ROW * pair + n * dy_group));
        }
        for t in 0..T {
            for r in 0..R {
                let a = V::pair(x[t].add(ROW * pair + 2 * r));
                for n in 0..N {
                    sums[t][r][n] = sums[t][r][n].fma(a, b[n]);
                }
            }
        }
    }
}
