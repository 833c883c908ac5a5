//! Where values and their gradients lie, in rows for each pair of images.

use super::{BlendStep, Step};
use crate::models::graph::ValueId;

/// First rows of the values (and gradients) that have a place.
pub struct Layout {
    pub values: Vec<Option<usize>>,
    pub gradients: Vec<Option<usize>>,
    pub rows: usize,
}

/// For the way back: every value that it needs keeps its place, gradients are made in the place
/// of the gradient that they come from where that is free by then. Marks which contributions
/// to a gradient are added to earlier ones.
pub fn training(steps: &mut [Step], rows: &[usize]) -> Layout {
    let mut end = 0;
    let mut place = |value: ValueId| {
        end += rows[value];
        end - rows[value]
    };
    let uses = uses(steps, rows.len());
    let mut values = vec![None; rows.len()];
    values[0] = Some(place(0));
    for at in 0..steps.len() {
        let y = steps[at].output();
        values[y] = match in_place(&steps[at], &steps[..at], &uses) {
            Some(x) => values[x],
            None => Some(place(y)),
        };
    }
    let mut gradients = vec![None; rows.len()];
    if let Some(last) = steps.last() {
        gradients[last.output()] = Some(place(last.output()));
    }
    for step in steps.iter_mut().rev() {
        let y = step.output();
        if let Step::Blend(blend) = step {
            order_terms(blend, &gradients);
        }
        let blend = matches!(step, Step::Blend(_));
        for (turn, input) in step.inputs_mut().into_iter().enumerate() {
            input.add = gradients[input.value].is_some();
            if !input.add {
                // The first term of a blend is the last that takes the gradient of `y`.
                let reuse = blend && turn == 0;
                let own = if reuse { gradients[y] } else { Some(place(input.value)) };
                gradients[input.value] = own;
            }
        }
    }
    Layout { values, gradients, rows: end }
}

/// A value that is not needed on the way back, and whose only user can write over it.
fn in_place(step: &Step, before: &[Step], uses: &[usize]) -> Option<ValueId> {
    let Step::Blend(BlendStep { terms, .. }) = step else { return None };
    if terms.iter().any(|term| term.norm.is_some()) {
        return None;
    }
    let of_conv = |value: ValueId| {
        before.iter().any(|step| matches!(step, Step::Conv(conv) if conv.y == value))
    };
    let values = terms.iter().map(|term| term.x.value);
    values.into_iter().find(|&value| uses[value] == 1 && of_conv(value))
}

/// Puts a term first whose gradient can lie where that of the output does: one that has no
/// contribution yet, and a plain one if there is, since that costs nothing then.
fn order_terms(blend: &mut BlendStep, gradients: &[Option<usize>]) {
    blend.terms.sort_by_key(|term| (gradients[term.x.value].is_some(), term.norm.is_some()));
}

/// How many steps take each value.
fn uses(steps: &[Step], values: usize) -> Vec<usize> {
    let mut uses = vec![0; values];
    steps.iter().flat_map(Step::inputs).for_each(|input| uses[input.value] += 1);
    uses
}

/// For an evaluation: places are free again after the last step that needs them.
pub fn evaluation(steps: &[Step], rows: &[usize]) -> Layout {
    let mut left = uses(steps, rows.len());
    let mut values: Vec<Option<usize>> = vec![None; rows.len()];
    let mut live: Vec<ValueId> = vec![0];
    values[0] = Some(0);
    let mut end = rows[0];
    for step in steps {
        let y = step.output();
        let inputs: Vec<_> = step.inputs().into_iter().map(|input| input.value).collect();
        inputs.iter().for_each(|&x| left[x] -= 1);
        let over = inputs.iter().copied().find(|&x| left[x] == 0 && matches!(step, Step::Blend(_)));
        let at = match over {
            Some(x) => values[x].unwrap_or(0),
            None => first_gap(&live, &values, rows, rows[y]),
        };
        live.retain(|&value| left[value] > 0);
        values[y] = Some(at);
        end = end.max(at + rows[y]);
        live.push(y);
    }
    Layout { values, gradients: vec![None; rows.len()], rows: end }
}

/// The first place that no live value takes.
fn first_gap(live: &[ValueId], values: &[Option<usize>], rows: &[usize], need: usize) -> usize {
    let mut taken: Vec<_> =
        live.iter().filter_map(|&value| Some((values[value]?, rows[value]))).collect();
    taken.sort_unstable();
    let mut at = 0;
    for (start, len) in taken {
        if at + need <= start {
            return at;
        }
        at = at.max(start + len);
    }
    at
}
