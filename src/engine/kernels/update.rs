//! The update rules, over all parameters at once.

use super::arena::ROW;
use super::vector::Vector;

/// Rates of a step, rounded to single precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    Sgd {
        rate: f32,
        momentum: Option<f32>,
    },
    /// `step` and `root` hold the corrections of the moments' bias.
    Adam {
        step: f32,
        root: f32,
    },
}

/// `w`, and what the rule keeps, after the gradient `g`.
pub struct Update {
    pub rule: Rule,
    pub decay: Option<f32>,
    pub w: *mut f32,
    pub g: *const f32,
    /// Momentum, or Adam's first moments.
    pub first: *mut f32,
    pub second: *mut f32,
    /// A multiple of [`ROW`].
    pub len: usize,
}

/// SGD without and with momentum, or Adam.
const VANILLA: u8 = 0;
const MOMENTUM: u8 = 1;
const ADAM: u8 = 2;

#[inline(always)]
unsafe fn update_as<V: Vector, const RULE: u8>(o: &Update, rates: [f32; 2]) {
    let (first, second) = (V::splat(rates[0]), V::splat(rates[1]));
    let decay = V::splat(o.decay.unwrap_or(0.0));
    let fresh = V::splat((1.0 - 0.9_f64) as f32);
    let (old, square) = (V::splat(0.999), V::splat((1.0 - 0.999_f64) as f32));
    let epsilon = V::splat(1e-8);
    for at in (0..o.len).step_by(ROW) {
        let (w, mut d) = (V::load(o.w.add(at)), V::load(o.g.add(at)));
        if o.decay.is_some() {
            d = d.add(decay.mul(w));
        }
        let by = match RULE {
            VANILLA => first.mul(d),
            MOMENTUM => {
                let v = second.mul(V::load(o.first.add(at))).add(d);
                v.store(o.first.add(at));
                first.mul(v)
            }
            _ => {
                let m = V::load(o.first.add(at));
                let m = m.add(d.sub(m).mul(fresh));
                m.store(o.first.add(at));
                let v = V::load(o.second.add(at)).mul(old).add(d.mul(d).mul(square));
                v.store(o.second.add(at));
                first.mul(m.div(v.sqrt().div(second).add(epsilon)))
            }
        };
        w.sub(by).store(o.w.add(at));
    }
}

#[inline(always)]
pub unsafe fn update<V: Vector>(o: &Update) {
    match o.rule {
        Rule::Sgd { rate, momentum: None } => update_as::<V, VANILLA>(o, [rate, 0.0]),
        Rule::Sgd { rate, momentum: Some(momentum) } => {
            update_as::<V, MOMENTUM>(o, [rate, momentum]);
        }
        Rule::Adam { step, root } => update_as::<V, ADAM>(o, [step, root]),
    }
}
