//! BatchNorm with what follows it: `y = left + right`, either of them normalized or not, and
//! ReLU of it, by groups of channels. (`normalize_back` has the way back.)

use super::Machine;
use super::arena::{Arena, GROUP, Images, Place};
use super::pointers::{Base, Values};
use super::pointwise::{Apply, Eight, Operand};
use super::tree::Tree;
use super::vector::each;

/// What BatchNorm adds to a variance.
pub const BATCH_NORM_EPS: f32 = 1e-5;

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

/// A group's numbers of a parameter.
pub(super) fn eight(parameters: &Arena, at: usize) -> Eight {
    let values = &parameters.values()[at..][..GROUP];
    each(|c| values[c])
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
            let total = self.total(x, group);
            let mean = each(|c| total[c] / count as f32);
            let squares = self.squares(x, group, &mean);
            let weight = eight(parameters, weight + group * GROUP);
            let bias = eight(parameters, bias + group * GROUP);
            moments.set(mean, each(|c| squares[c] / count as f32), &weight, &bias);
            moments.unbiased = each(|c| squares[c] / (count - 1).max(1) as f32);
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
}
