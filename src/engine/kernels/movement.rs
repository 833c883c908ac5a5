//! Layers that only move numbers or pool them, and the update.

use super::Machine;
use super::arena::{Arena, GROUP, Images, Place, ROW};
use super::pointers::{Base, Values};
use super::pointwise::{Factor, Hand};
use super::pooling::{Pool, Pooling};
use super::update::{Rule, Update};

/// Pooling of `x` to `y`.
#[derive(Clone, Copy)]
pub struct Pooled {
    pub images: Images,
    pub pooling: Pooling,
    /// Height and width of `x`.
    pub size: [usize; 2],
    pub x: Place,
    pub y: Place,
}

/// A gradient to be written, or added to what is there.
#[derive(Clone, Copy)]
pub struct Target {
    pub place: Place,
    pub add: bool,
}

/// What the update keeps between steps: no numbers where a rule keeps none.
pub struct Kept<'a> {
    pub first: &'a mut Arena,
    pub second: &'a mut Arena,
}

impl Machine<'_> {
    /// `y` from `x`.
    pub fn pool(self, pooled: Pooled, values: &mut Arena) {
        self.pooled(pooled, None, values);
    }

    /// The gradient of `x` from `dy`, that of `y`.
    pub fn pool_back(self, pooled: Pooled, dx: Target, dy: Place, values: &mut Arena) {
        self.pooled(pooled, Some((dx, dy)), values);
    }

    fn pooled(self, pooled: Pooled, back: Option<(Target, Place)>, values: &mut Arena) {
        let Pooled { images, pooling, size, x, y } = pooled;
        let to = match pooling {
            Pooling::Global => 1,
            Pooling::Max | Pooling::Mean => (size[0] / 2) * (size[1] / 2),
        };
        assert_eq!((x.pixels, y.pixels), (size[0] * size[1], to), "pixels");
        assert_eq!(x.channels, y.channels, "channels");
        let mut base = Base::new(values);
        let (x, y) = (base.value(x, images), base.value(y, images));
        let back = back.map(|(dx, dy)| {
            assert_eq!((dx.place.channels, dx.place.pixels), (pooled.x.channels, x.pixels));
            assert_eq!((dy.channels, dy.pixels), (pooled.y.channels, y.pixels));
            (base.value(dx.place, images), base.value(dy, images), dx.add)
        });
        self.team.run(images.blocks() * x.groups, &|part| {
            let (block, group) = (part / x.groups, part % x.groups);
            // SAFETY: block and group exist, and a part takes one of each.
            unsafe {
                (self.table.pool)(&Pool {
                    pooling,
                    size,
                    row: images.pairs_of(block) * ROW,
                    x: x.group(block, group),
                    y: y.group(block, group),
                    back: back.map(|(dx, dy, _)| {
                        (dx.group(block, group), dy.group(block, group).cast_const())
                    }),
                    add: back.is_some_and(|(_, _, add)| add),
                });
            }
        });
    }

    /// `y` is the channels of `first`, then those of `second`.
    pub fn concat(self, images: Images, [first, second]: [Place; 2], y: Place, values: &mut Arena) {
        assert_eq!(first.channels + second.channels, y.channels, "channels");
        let mut base = Base::new(values);
        let parts = [first, second].map(|part| (base.value(part, images), part.channels));
        let to = base.value(y, images);
        self.team.run(images.blocks() * to.groups, &|part| {
            let (block, group) = (part / to.groups, part % to.groups);
            // SAFETY: block and group exist, and a part writes one of each.
            unsafe {
                let rows = to.len(block) / ROW;
                let target = to.group(block, group);
                if (group + 1) * GROUP <= first.channels {
                    let from = parts[0].0.group(block, group);
                    return std::ptr::copy_nonoverlapping(from, target, rows * ROW);
                }
                std::ptr::write_bytes(target, 0, rows * ROW);
                for channel in group * GROUP..((group + 1) * GROUP).min(y.channels) {
                    let (part, own) = match channel.checked_sub(first.channels) {
                        None => (&parts[0].0, channel),
                        Some(own) => (&parts[1].0, own),
                    };
                    let from = part.group(block, own / GROUP).add(own % GROUP * 2);
                    copy_channel(from, target.add(channel % GROUP * 2), rows, false);
                }
            }
        });
    }

    /// Gradients of the two values of which `dy`'s is the concatenation.
    pub fn concat_back(self, images: Images, targets: [Target; 2], dy: Place, values: &mut Arena) {
        let [first, second] = targets.map(|target| target.place);
        assert_eq!(first.channels + second.channels, dy.channels, "channels");
        let mut base = Base::new(values);
        let from = base.value(dy, images);
        for (Target { place, add }, skip) in targets.into_iter().zip([0, first.channels]) {
            let to = base.value(place, images);
            self.team.run(images.blocks() * to.groups, &|part| {
                let (block, group) = (part / to.groups, part % to.groups);
                let end = ((group + 1) * GROUP).min(place.channels);
                // SAFETY: block and group exist, and a part writes one of each.
                unsafe {
                    let rows = to.len(block) / ROW;
                    let dx = to.group(block, group);
                    if skip % GROUP == 0 && end % GROUP == 0 {
                        let g = from.group(block, skip / GROUP + group).cast_const();
                        let (factor, len) = (Factor::One, rows * ROW);
                        return (self.table.hand)(&Hand { g, factor, dx, add, len });
                    }
                    if !add {
                        std::ptr::write_bytes(dx, 0, rows * ROW);
                    }
                    for channel in group * GROUP..end {
                        let own = skip + channel;
                        let g = from.group(block, own / GROUP).add(own % GROUP * 2);
                        copy_channel(g, dx.add(channel % GROUP * 2), rows, add);
                    }
                }
            });
        }
    }

    /// Moves the parameters by a step of the rule.
    pub fn update(
        self,
        rule: Rule,
        decay: Option<f32>,
        parameters: &mut Arena,
        gradients: &mut Arena,
        kept: Kept<'_>,
    ) {
        let len = parameters.values().len();
        let (first, second) = match rule {
            Rule::Sgd { momentum: None, .. } => (0, 0),
            Rule::Sgd { .. } => (len, 0),
            Rule::Adam { .. } => (len, len),
        };
        let w = Base::new(parameters).part(0, len);
        let g = Base::new(gradients).part(0, len);
        let (m, v) = (Base::new(kept.first).part(0, first), Base::new(kept.second).part(0, second));
        let rows = len / ROW;
        let parts = self.team.threads();
        self.team.run(parts, &|part| {
            let (w, g, m, v) = ({ w }.0, { g }.0, { m }.0, { v }.0);
            let (from, to) = (part * rows / parts * ROW, (part + 1) * rows / parts * ROW);
            // SAFETY: all have `len` numbers, or none where the rule keeps none. A part takes
            // its own rows.
            unsafe {
                (self.table.update)(&Update {
                    rule,
                    decay,
                    w: w.add(from),
                    g: g.add(from),
                    first: m.wrapping_add(from),
                    second: v.wrapping_add(from),
                    len: to - from,
                });
            }
        });
    }
}

/// Both images of a channel, row by row.
///
/// # Safety
/// `rows` rows of the channel are there at both places.
unsafe fn copy_channel(from: *const f32, to: *mut f32, rows: usize, add: bool) {
    for row in 0..rows {
        let [a, b] = from.add(row * ROW).cast::<[f32; 2]>().read();
        let to = to.add(row * ROW).cast::<[f32; 2]>();
        let [c, d] = to.read();
        to.write(if add { [c + a, d + b] } else { [a, b] });
    }
}

// `Values` is what the parts of the work share.
const _: fn() = || {
    fn shared<T: Sync>() {}
    shared::<Values>();
};
