//! The way back of what `normalize` does: gradients of its terms, and of BatchNorm's weights and
//! biases.

use super::Machine;
use super::arena::{Arena, GROUP, Images, Place};
use super::normalize::{Moments, eight};
use super::pointers::{Base, Shared, Values};
use super::pointwise::{Eight, Factor, Hand, Passed};
use super::tree::Tree;
use super::vector::each;

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

/// The way back of a [`super::Blend`]: the gradient `dy`, which is overwritten by what passes the
/// ReLU, goes to the terms in this order. Only the last may be made in place.
pub struct BlendBack<'a> {
    pub images: Images,
    pub dy: Place,
    /// The value, if there was a ReLU.
    pub y: Option<Place>,
    pub terms: [Option<BackTerm<'a>>; 2],
}

impl Machine<'_> {
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
        let dweight: Eight = each(|c| dot[c] * inverse[c]);
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
