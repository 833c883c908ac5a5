//! Convolutions: where their operands lie, and how the work is cut into parts.

use super::Machine;
use super::arena::{Arena, GROUP, Images, Place, ROW};
use super::geometry::{Geometry, Lists};
use super::pointers::{Base, Shared, Values, read};
use super::rows::{Rows, Start, Transpose};
use super::tree::Tree;
use super::weights::Weights;
use std::ops::Range;

/// A convolution of values in an arena.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    pub geometry: &'a Geometry,
    pub images: Images,
    /// Its input, and its output; or the gradients of both.
    pub x: Place,
    pub y: Place,
}

impl Layer<'_> {
    /// Length of the weights in `f32`s: `[output / 8][tap][input][8]`.
    fn weights(&self) -> usize {
        self.y.groups() * self.geometry.taps() * self.x.channels * GROUP
    }

    /// Length of the weights with inputs and outputs exchanged: `[input / 8][tap][output][8]`.
    pub fn transposed(&self) -> usize {
        self.x.groups() * self.geometry.taps() * self.y.channels * GROUP
    }

    /// # Panics
    /// If sizes do not fit each other: a mistake in a plan.
    fn check(&self) {
        assert_eq!(self.x.pixels, self.geometry.input_pixels(), "pixels of the input");
        assert_eq!(self.y.pixels, self.geometry.output_pixels(), "pixels of the output");
        assert!(!self.x.meets(self.y, self.images), "a convolution in place");
        assert!(self.images.count() > 0 && self.x.channels > 0, "an empty value");
    }
}

/// Index of a layer's first weight, `[output / 8][tap][input][8]`, and of its first bias,
/// `[output / 8][8]`, in the arena of parameters or of their gradients.
#[derive(Clone, Copy)]
pub struct Weighted {
    pub weight: usize,
    pub bias: Option<usize>,
}

/// The convolution forward, or the way back from the gradient of its output to that of its input.
/// `channels` are those of `x`, which are summed over; `w` is `[y group][tap][x channel][8]`.
struct Way<'a> {
    lists: &'a Lists,
    taps: usize,
    x: Values,
    y: Values,
    channels: usize,
    w: Shared,
    start: Start,
}

// SAFETY: its pointers are shared as those of `Values` are.
unsafe impl Sync for Way<'_> {}

impl Machine<'_> {
    /// Forward: overwrites `y` with the convolution of `x`, bias included.
    ///
    /// # Panics
    /// If places, sizes or weights do not fit: a mistake in a plan.
    pub fn convolve(
        self,
        layer: Layer<'_>,
        parameters: &Arena,
        Weighted { weight, bias }: Weighted,
        values: &mut Arena,
    ) {
        layer.check();
        let Layer { geometry, images, x, y } = layer;
        let w = read(parameters, weight, layer.weights());
        let start = match bias {
            Some(at) => Start::Bias(read(parameters, at, y.groups() * GROUP).0),
            None => Start::Zero,
        };
        let mut base = Base::new(values);
        let (x_values, y_values) = (base.value(x, images), base.value(y, images));
        let (lists, taps, channels) = (&geometry.forward, geometry.taps(), x.channels);
        self.rows(&Way { lists, taps, x: x_values, y: y_values, channels, w, start });
        if bias.is_some() {
            // The bias was also added to the image that an odd batch lacks, which must stay zero.
            // SAFETY: the groups exist, and the kernels are done.
            (0..y.groups()).for_each(|group| unsafe { y_values.pad(group, &[0.0; GROUP]) });
        }
    }

    /// The gradient `x` of a layer's input from that of its output, `y`; added to what is there
    /// if `add`. `scratch` has [`Layer::transposed`] numbers.
    pub fn input_gradient(
        self,
        layer: Layer<'_>,
        parameters: &Arena,
        weight: usize,
        values: &mut Arena,
        scratch: &mut Arena,
        add: bool,
    ) {
        layer.check();
        let Layer { geometry, images, x, y } = layer;
        let (taps, inputs, outputs) = (geometry.taps(), x.channels, y.channels);
        let w = read(parameters, weight, layer.weights());
        let t = Base::new(scratch).part(0, layer.transposed());
        let all = x.groups();
        let parts = if self.team.threads() > 1 { all } else { 1 };
        self.team.run(parts, &|part| {
            // The braces copy each whole: a pointer captured by itself could not be shared.
            let (w, t) = ({ w }.0, { t }.0);
            let groups = part * all / parts..(part + 1) * all / parts;
            // SAFETY: both have their lengths; a part writes its own groups of inputs.
            unsafe {
                (self.table.transpose)(&Transpose { groups, taps, inputs, outputs, w, t });
            }
        });
        let mut base = Base::new(values);
        let (from, to) = (base.value(y, images), base.value(x, images));
        let start = if add { Start::There } else { Start::Zero };
        let lists = &geometry.backward;
        self.rows(&Way { lists, taps, x: from, y: to, channels: outputs, w: t, start });
    }

    /// Cuts the work by blocks of images. With several threads also by columns (the groups of outputs
    /// that one call of the kernel takes) and by ranges of pixels, until there are about four parts a
    /// thread: enough that a late one leaves little for the others to wait for.
    fn rows(self, way: &Way<'_>) {
        let (blocks, targets) = (way.x.images.blocks(), way.lists.targets());
        let (columns, cuts) = match self.team.threads() {
            1 => (1, 1),
            threads => {
                let columns = way.y.groups.div_ceil(self.table.columns);
                (columns, (4 * threads).div_ceil(columns * blocks).clamp(1, targets))
            }
        };
        self.team.run(columns * blocks * cuts, &|part| {
            let (column, rest) = (part / (blocks * cuts), part % (blocks * cuts));
            let (block, cut) = (rest / cuts, rest % cuts);
            let groups = share(way.y.groups, self.table.columns, column, columns);
            let targets = cut * targets / cuts..(cut + 1) * targets / cuts;
            self.rows_part(way, block, groups, targets);
        });
    }

    fn rows_part(self, way: &Way<'_>, block: usize, groups: Range<usize>, targets: Range<usize>) {
        let pairs = way.x.images.pairs_of(block);
        let (channels, group) = (way.channels, groups.start);
        // SAFETY: block and groups exist; weights and bias have the length of all groups, and
        // lists only pixels that exist. Parts write different groups, blocks or pixels.
        unsafe {
            (self.table.rows)(&Rows {
                lists: way.lists,
                targets,
                taps: way.taps,
                pairs,
                channels,
                x: way.x.group(block, 0),
                x_group: way.x.len(block),
                w: way.w.0.add(group * way.taps * channels * GROUP),
                y: way.y.group(block, group),
                y_group: way.y.len(block),
                groups: groups.len(),
                start: match way.start {
                    Start::Bias(bias) => Start::Bias(bias.add(group * GROUP)),
                    start => start,
                },
            });
        }
    }

    /// Gradients of a layer's weights and bias from its input `x` and the gradient `y` of its
    /// output.
    pub fn weight_gradient(
        self,
        layer: Layer<'_>,
        values: &mut Arena,
        gradients: &mut Arena,
        Weighted { weight, bias }: Weighted,
    ) {
        layer.check();
        let Layer { geometry, images, x, y } = layer;
        let mut base = Base::new(values);
        let (x_values, dy) = (base.value(x, images), base.value(y, images));
        let mut gradients = Base::new(gradients);
        let dw = gradients.part(weight, layer.weights());
        // One part takes everything unless there are threads to share it.
        let (columns, cuts) = match self.team.threads() {
            1 => (1, 1),
            _ => (y.groups().div_ceil(self.table.columns), x.groups()),
        };
        self.team.run(columns * cuts, &|part| {
            let Shared(dw) = { dw };
            let x_groups = share(x.groups(), 1, part % cuts, cuts);
            let dy_groups = share(y.groups(), self.table.columns, part / cuts, columns);
            let inputs = x.channels;
            // SAFETY: groups and blocks exist, lists have only pixels that do, and `dw` its
            // length. A part writes the weights between its own groups.
            unsafe {
                let x = x_values;
                (self.table.weights)(&Weights { geometry, inputs, x, x_groups, dy, dy_groups, dw });
            }
        });
        if let Some(bias) = bias {
            let db = gradients.part(bias, y.groups() * GROUP);
            self.team.run(y.groups(), &|group| {
                let Shared(db) = { db };
                // SAFETY: groups exist, and each writes its own biases.
                unsafe {
                    let total = self.total(&dy, group);
                    db.add(group * GROUP).cast::<[f32; GROUP]>().write(total);
                }
            });
        }
    }

    /// Of each channel of a group, the sum over all pixels and images: `tree(total(x))` of
    /// docs/numerics.md.
    ///
    /// # Safety
    /// The group exists, and nobody writes to it.
    pub(super) unsafe fn total(self, x: &Values, group: usize) -> [f32; GROUP] {
        let blocks = x.images.blocks();
        if blocks == 1 {
            return (self.table.total)(x.group(0, group), x.len(0));
        }
        let mut tree = Tree::<GROUP>::new();
        tree.start(GROUP);
        for block in 0..blocks {
            *tree.next() = (self.table.total)(x.group(block, group), x.len(block));
            tree.merge_all();
        }
        *tree.total()
    }
}

/// Part `part` of `parts` of some groups, in units of `unit` groups.
fn share(groups: usize, unit: usize, part: usize, parts: usize) -> Range<usize> {
    let units = groups.div_ceil(unit);
    let bound = |part: usize| (part * units / parts * unit).min(groups);
    bound(part)..bound(part + 1)
}

const _: () = assert!(ROW == 2 * GROUP);
