//! BatchNorm with what follows it: `y = left + right`, either of them normalized or not, and
//! ReLU of it; forward and back, by groups of channels.

use super::Machine;
use super::arena::{Arena, GROUP, Images, Place};
use super::pointers::{Base, Shared, Values};
use super::pointwise::{Apply, Eight, Factor, Hand, Operand, Passed};
use super::tree::Tree;
use crate::models::state::BATCH_NORM_EPS;

/// BatchNorm's statistics of a group of channels, and what they make of weight and bias.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moments {
    pub mean: Eight,
    pub variance: Eight,
    /// The batch's unbiased variance.
    pub unbiased: Eight,
    pub inverse: Eight,
    pub slope: Eight,
    pub offset: Eight,
}

impl Moments {
    /// Of these statistics.
    pub fn set(&mut self, mean: Eight, variance: Eight, weight: &Eight, bias: &Eight) {
        (self.mean, self.variance) = (mean, variance);
        for c in 0..GROUP {
            self.inverse[c] = 1.0 / (variance[c] + BATCH_NORM_EPS).sqrt();
            self.slope[c] = weight[c] * self.inverse[c];
            self.offset[c] = bias[c] - mean[c] * self.slope[c];
        }
    }
}

/// A value and how it is normalized.
pub struct ForwardTerm<'a> {
    pub x: Place,
    pub norm: Option<NormForward<'a>>,
}

/// BatchNorm of a value. Weight and bias lie in the arena of parameters.
pub struct NormForward<'a> {
    pub weight: usize,
    pub bias: usize,
    pub moments: Source<'a>,
}

/// Where a norm's moments come from; one for each group.
pub enum Source<'a> {
    Given(&'a [Moments]),
    /// From the batch; they are left there.
    Batch(&'a mut [Moments]),
}

/// `y = left + right`, then ReLU. `y` may lie where a term does.
pub struct Blend<'a> {
    pub images: Images,
    pub terms: [Option<ForwardTerm<'a>>; 2],
    pub relu: bool,
    pub y: Place,
}

/// A term on the way back.
pub struct BackTerm<'a> {
    /// Where its gradient lies; where that of `y` does if it is made in place.
    pub dx: Place,
    /// Add to what is there.
    pub add: bool,
    pub norm: Option<NormBack<'a>>,
}

/// BatchNorm on the way back: weight and bias lie at the same place in both arenas.
pub struct NormBack<'a> {
    pub x: Place,
    pub weight: usize,
    pub bias: usize,
    pub moments: &'a [Moments],
    /// The statistics were the batch's.
    pub of_batch: bool,
}

/// The way back of a [`Blend`]: the gradient `dy`, which is overwritten by what passes the
/// ReLU, goes to the terms in this order. Only the last may be made in place.
pub struct BlendBack<'a> {
    pub images: Images,
    pub dy: Place,
    /// The value, if there was a ReLU.
    pub y: Option<Place>,
    pub terms: [Option<BackTerm<'a>>; 2],
}

/// A forward term with pointers; parts of the work take different groups.
struct Term {
    x: Values,
    norm: Option<Norm>,
}

struct Norm {
    weight: usize,
    bias: usize,
    moments: *mut Moments,
    of_batch: bool,
}

// SAFETY: each part takes the moments of its own group.
unsafe impl Sync for Norm {}

fn eight(parameters: &Arena, at: usize) -> Eight {
    std::array::from_fn(|c| parameters.values()[at + c])
}

impl Machine<'_> {
    pub fn blend(self, blend: Blend<'_>, parameters: &Arena, values: &mut Arena) {
        let Blend { images, terms, relu, y } = blend;
        let mut base = Base::new(values);
        let y_values = base.value(y, images);
        let terms = terms.map(|term| {
            let ForwardTerm { x, norm } = term?;
            assert_eq!((x.channels, x.pixels), (y.channels, y.pixels), "terms of one shape");
            let norm = norm.map(|NormForward { weight, bias, moments }| {
                let (moments, len, of_batch) = match moments {
                    Source::Given(moments) => (moments.as_ptr().cast_mut(), moments.len(), false),
                    Source::Batch(moments) => (moments.as_mut_ptr(), moments.len(), true),
                };
                assert_eq!(len, y.groups(), "moments of each group");
                Norm { weight, bias, moments, of_batch }
            });
            Some(Term { x: base.value(x, images), norm })
        });
        // Without statistics all groups of a block are one row of numbers.
        let plain = terms.iter().flatten().all(|term| term.norm.is_none());
        let whole = plain && self.team.threads() == 1;
        let (parts, groups) = if whole { (1, y.groups()) } else { (y.groups(), 1) };
        self.team.run(parts, &|group| {
            // SAFETY: groups exist, there are moments for each, and a part takes one.
            unsafe {
                let operand = |term: &Option<Term>| {
                    term.as_ref().map(|term| self.operand(term, group, parameters))
                };
                let affine = [operand(&terms[0]), operand(&terms[1])];
                for block in 0..images.blocks() {
                    let at = |index: usize| {
                        let term: Option<&Term> = terms[index].as_ref();
                        let x = term?.x.group(block, group).cast_const();
                        Some(Operand { x, affine: affine[index].flatten() })
                    };
                    let (Some(left), right) = (at(0), at(1)) else { return };
                    let (y, len) = (y_values.group(block, group), groups * y_values.len(block));
                    (self.table.apply)(&Apply { left, right, relu, y, len });
                }
                (group..group + groups).for_each(|group| y_values.pad(group, &[0.0; GROUP]));
            }
        });
    }

    /// Slope and offset of a term's group, after its statistics where they are the batch's.
    ///
    /// # Safety
    /// The group exists, and nobody else uses it.
    unsafe fn operand(
        self,
        term: &Term,
        group: usize,
        parameters: &Arena,
    ) -> Option<(Eight, Eight)> {
        let Norm { weight, bias, moments, of_batch } = term.norm.as_ref()?;
        let moments = moments.add(group);
        if *of_batch {
            let moments = &mut *moments;
            let x = &term.x;
            let count = x.pixels * x.images.count();
            let mean = self.total(x, group).map(|sum| sum / count as f32);
            let squares = self.squares(x, group, &mean);
            let weight = eight(parameters, weight + group * GROUP);
            let bias = eight(parameters, bias + group * GROUP);
            moments.set(mean, squares.map(|sum| sum / count as f32), &weight, &bias);
            moments.unbiased = squares.map(|sum| sum / (count - 1).max(1) as f32);
        }
        Some(((*moments).slope, (*moments).offset))
    }

    /// `tree(total_of_products(d, d))` with `d = x - mean`.
    ///
    /// # Safety
    /// As above.
    unsafe fn squares(self, x: &Values, group: usize, mean: &Eight) -> Eight {
        x.pad(group, mean);
        let mut tree = Tree::<GROUP>::new();
        tree.start(GROUP);
        for block in 0..x.images.blocks() {
            *tree.next() = (self.table.squares)(x.group(block, group), x.len(block), mean);
            tree.merge_all();
        }
        x.pad(group, &[0.0; GROUP]);
        *tree.total()
    }

    pub fn blend_back(
        self,
        blend: BlendBack<'_>,
        parameters: &Arena,
        gradients: &mut Arena,
        values: &mut Arena,
    ) {
        let BlendBack { images, dy, y, terms } = blend;
        let mut base = Base::new(values);
        let mut gradients = Base::new(gradients);
        let g = base.value(dy, images);
        let y = y.map(|y| base.value(y, images));
        let terms = terms.map(|term| {
            let BackTerm { dx, add, norm } = term?;
            assert_eq!((dx.channels, dx.pixels), (dy.channels, dy.pixels), "terms of one shape");
            let norm = norm.map(|NormBack { x, weight, bias, moments, of_batch }| {
                assert_eq!((x.channels, x.pixels), (dy.channels, dy.pixels), "one shape");
                assert_eq!(moments.len(), dy.groups(), "moments of each group");
                let len = dy.groups() * GROUP;
                NormTerm {
                    x: base.value(x, images),
                    weight,
                    moments,
                    of_batch,
                    dweight: gradients.part(weight, len),
                    dbias: gradients.part(bias, len),
                }
            });
            let in_place = dx.at == dy.at;
            Some(Back { dx: base.value(dx, images), add, in_place, norm })
        });
        let count = (dy.pixels * images.count()) as f32;
        if terms.iter().flatten().all(|term| term.norm.is_none()) {
            return self.back_plain(&g, y.as_ref(), &terms);
        }
        self.team.run(dy.groups(), &|group| {
            // SAFETY: groups exist, and a part takes one.
            unsafe { self.back_group(&g, y.as_ref(), &terms, group, count, parameters) };
        });
    }

    /// The way back of terms without BatchNorm: all groups of a block are one row of numbers.
    fn back_plain(self, g: &Values, y: Option<&Values>, terms: &[Option<Back<'_>>; 2]) {
        self.team.run(g.images.blocks(), &|block| {
            // SAFETY: the block exists, and a part takes one.
            unsafe {
                let y = y.map(|y| y.group(block, 0).cast_const());
                let len = g.groups * g.len(block);
                let g = g.group(block, 0);
                (self.table.passed)(&Passed { g, y, normalized: [None; 2], len });
                for term in terms.iter().flatten().filter(|term| !term.in_place || term.add) {
                    let (dx, add) = (term.dx.group(block, 0), term.add);
                    (self.table.hand)(&Hand { g, factor: Factor::One, dx, add, len });
                }
            }
        });
    }

    /// # Safety
    /// The group exists, and nobody else uses it.
    unsafe fn back_group(
        self,
        g: &Values,
        y: Option<&Values>,
        terms: &[Option<Back<'_>>; 2],
        group: usize,
        count: f32,
        parameters: &Arena,
    ) {
        let blocks = g.images.blocks();
        let norm = |index: usize| terms[index].as_ref().and_then(|term| term.norm.as_ref());
        // The kernel wants the first of them filled first.
        let order = if norm(0).is_some() { [0, 1] } else { [1, 0] };
        let mut tree = Tree::<{ 3 * GROUP }>::new();
        tree.start(3 * GROUP);
        for block in 0..blocks {
            let normalized = order.map(|index| {
                let norm = norm(index)?;
                Some((norm.x.group(block, group).cast_const(), norm.moments[group].mean))
            });
            let y = y.map(|y| y.group(block, group).cast_const());
            let (g, len) = (g.group(block, group), g.len(block));
            let sums = (self.table.passed)(&Passed { g, y, normalized, len });
            tree.next().copy_from_slice(sums.as_flattened());
            tree.merge_all();
        }
        let sums: &[Eight] = tree.total().as_chunks().0;
        for (index, term) in terms.iter().enumerate() {
            let Some(term) = term else { continue };
            let dot = sums[1 + usize::from(order[0] != index)];
            let factor = |block: usize| match &term.norm {
                None => Factor::One,
                Some(norm) => norm.factor(block, group, sums[0], dot, count, parameters),
            };
            if term.in_place && term.norm.is_none() && !term.add {
                continue;
            }
            for block in 0..blocks {
                let (g, dx) = (g.group(block, group).cast_const(), term.dx.group(block, group));
                let (factor, add, len) = (factor(block), term.add, term.dx.len(block));
                (self.table.hand)(&Hand { g, factor, dx, add, len });
            }
            term.dx.pad(group, &[0.0; GROUP]);
        }
    }
}

/// A term on the way back, with pointers.
struct Back<'a> {
    dx: Values,
    add: bool,
    in_place: bool,
    norm: Option<NormTerm<'a>>,
}

struct NormTerm<'a> {
    x: Values,
    weight: usize,
    moments: &'a [Moments],
    of_batch: bool,
    dweight: Shared,
    dbias: Shared,
}

impl NormTerm<'_> {
    /// What the gradient of a group of channels is times; writes the gradients of weight and
    /// bias.
    ///
    /// # Safety
    /// Block and group exist, and nobody else writes the group's gradients.
    unsafe fn factor(
        &self,
        block: usize,
        group: usize,
        dbias: Eight,
        dot: Eight,
        count: f32,
        parameters: &Arena,
    ) -> Factor {
        let Moments { mean, inverse, slope, .. } = self.moments[group];
        let weight = eight(parameters, self.weight + group * GROUP);
        let dweight: Eight = std::array::from_fn(|c| dot[c] * inverse[c]);
        self.dweight.0.add(group * GROUP).cast::<Eight>().write(dweight);
        self.dbias.0.add(group * GROUP).cast::<Eight>().write(dbias);
        if !self.of_batch {
            return Factor::Slope(slope);
        }
        let (mut a, mut b, mut c) = ([0.0; GROUP], [0.0; GROUP], [0.0; GROUP]);
        for i in 0..GROUP {
            a[i] = weight[i] * inverse[i];
            b[i] = -((a[i] * inverse[i]) * (dweight[i] / count));
            c[i] = -(a[i] * (dbias[i] / count)) - mean[i] * b[i];
        }
        Factor::Normalized { x: self.x.group(block, group), a, b, c }
    }
}
