//! A plan backward: from the gradient of the logits to those of parameters and inputs.

use super::forward::Network;
use super::kernels::{
    Arena, BackTerm, BlendBack, Images, Machine, Moments, NormBack, Pooled, Target,
};
use super::plan::{BlendStep, Input, Keep, PoolStep, Step};
use crate::models::graph::Norm;

/// What a pass backward leaves behind, and its room.
pub struct Gradients<'a> {
    /// Of the parameters, lying as they do.
    pub parameters: &'a mut Arena,
    /// For weights with inputs and outputs exchanged.
    pub scratch: &'a mut Arena,
    /// The network's inputs get their gradient too.
    pub inputs: bool,
}

/// BatchNorm's statistics in the pass forward.
#[derive(Clone, Copy)]
pub struct Used<'a> {
    pub moments: &'a [Vec<Moments>],
    /// They were the batch's.
    pub of_batch: bool,
}

impl Network<'_> {
    /// All gradients, after a pass forward that kept everything; that of the logits is there.
    pub fn backward(
        &self,
        machine: Machine<'_>,
        images: Images,
        values: &mut Arena,
        used: Used<'_>,
        gradients: &mut Gradients<'_>,
    ) {
        let pairs = images.pairs();
        let value = |value| self.plan.value(Keep::All, value, pairs);
        let gradient = |value| self.plan.gradient(value, pairs);
        let target = |input: Input| Target { place: gradient(input.value), add: input.add };
        for step in self.plan.steps.iter().rev() {
            match step {
                Step::Conv(step) => {
                    let (x, dy) = (value(step.x.value), gradient(step.y));
                    let layer = self.layer(step, images, x, dy);
                    let places = self.places.of(step);
                    machine.weight_gradient(layer, values, gradients.parameters, places);
                    if step.x.value != 0 || gradients.inputs {
                        let layer = self.layer(step, images, gradient(step.x.value), dy);
                        gradients.scratch.reserve(layer.transposed());
                        let (weight, add) = (places.weight, step.x.add);
                        let scratch = &mut *gradients.scratch;
                        machine.input_gradient(
                            layer,
                            self.parameters,
                            weight,
                            values,
                            scratch,
                            add,
                        );
                    }
                }
                Step::Blend(step) => {
                    self.blend_back(machine, step, images, values, used, gradients);
                }
                Step::Pool(PoolStep { pooling, size, x, y }) => {
                    let (place, dy) = (value(x.value), gradient(*y));
                    let (pooling, size, y) = (*pooling, *size, value(*y));
                    let pooled = Pooled { images, pooling, size, x: place, y };
                    machine.pool_back(pooled, target(*x), dy, values);
                }
                Step::Concat(step) => {
                    let targets = step.parts.map(target);
                    machine.concat_back(images, targets, gradient(step.y), values);
                }
            }
        }
    }

    fn blend_back(
        &self,
        machine: Machine<'_>,
        step: &BlendStep,
        images: Images,
        values: &mut Arena,
        used: Used<'_>,
        gradients: &mut Gradients<'_>,
    ) {
        let pairs = images.pairs();
        let value = |value| self.plan.value(Keep::All, value, pairs);
        // The first term's gradient may lie where that of the output does: it is made last.
        let terms = [1, 0].map(|index| {
            let term = step.terms.get(index)?;
            let norm = term.norm.map(|norm| {
                let Norm { weight, bias, .. } = self.graph.norms[norm];
                let [weight, bias] = [weight, bias].map(|parameter| self.places.at(parameter));
                let (moments, of_batch) = (&used.moments[norm][..], used.of_batch);
                NormBack { x: value(term.x.value), weight, bias, moments, of_batch }
            });
            let dx = self.plan.gradient(term.x.value, pairs);
            Some(BackTerm { dx, add: term.x.add, norm })
        });
        let y = step.relu.then(|| value(step.y));
        let blend = BlendBack { images, dy: self.plan.gradient(step.y, pairs), y, terms };
        machine.blend_back(blend, self.parameters, gradients.parameters, values);
    }
}
