//! A plan forward: from the inputs to the logits.

use super::kernels::{
    Arena, BLOCK, Blend, Eight, ForwardTerm, GROUP, Images, Layer, Machine, Moments, NormForward,
    Place, Pooled, ROW, Source,
};
use super::parameters::Parameters;
use super::plan::{BlendStep, ConvStep, Keep, Plan, PoolStep, Step};
use crate::models::graph::{Graph, Norm, Shape, ValueId};
use crate::models::state::Running;

/// What a pass over a network needs.
#[derive(Clone, Copy)]
pub struct Network<'a> {
    pub graph: &'a Graph,
    pub plan: &'a Plan,
    pub places: &'a Parameters,
    pub parameters: &'a Arena,
}

/// Where BatchNorm's statistics come from.
pub enum Statistics<'a> {
    /// Those that are there.
    Given(&'a [Vec<Moments>]),
    /// The batch; they are left there.
    Batch(&'a mut [Vec<Moments>]),
}

impl Network<'_> {
    pub fn shape(&self) -> Shape {
        self.graph.signature.input
    }

    /// Values of a batch `[images, height, width, channels]`.
    pub fn forward(
        &self,
        machine: Machine<'_>,
        inputs: &[f32],
        keep: Keep,
        values: &mut Arena,
        mut statistics: Statistics<'_>,
    ) -> Images {
        let images = Images(inputs.len() / self.shape().values());
        let pairs = images.pairs();
        values.reserve(self.plan.numbers(keep, pairs));
        scatter(inputs, images, self.plan.value(keep, 0, pairs), values);
        let place = |value| self.plan.value(keep, value, pairs);
        for step in &self.plan.steps {
            match step {
                Step::Conv(step) => {
                    let layer = self.layer(step, images, place(step.x.value), place(step.y));
                    machine.convolve(layer, self.parameters, self.places.of(step), values);
                }
                Step::Blend(step) => {
                    self.blend(machine, step, images, &place, values, &mut statistics);
                }
                Step::Pool(PoolStep { pooling, size, x, y }) => {
                    let (x, y) = (place(x.value), place(*y));
                    let (pooling, size) = (*pooling, *size);
                    machine.pool(Pooled { images, pooling, size, x, y }, values);
                }
                Step::Concat(step) => {
                    let parts = step.parts.map(|part| place(part.value));
                    machine.concat(images, parts, place(step.y), values);
                }
            }
        }
        images
    }

    pub fn layer<'a>(&self, step: &'a ConvStep, images: Images, x: Place, y: Place) -> Layer<'a> {
        Layer { geometry: &step.geometry, images, x, y }
    }

    fn blend(
        &self,
        machine: Machine<'_>,
        step: &BlendStep,
        images: Images,
        place: &impl Fn(ValueId) -> Place,
        values: &mut Arena,
        statistics: &mut Statistics<'_>,
    ) {
        let norms = [0, 1].map(|index| step.terms.get(index).and_then(|term| term.norm));
        let mut sources = match statistics {
            Statistics::Given(moments) => {
                norms.map(|norm| norm.map(|norm| Source::Given(&moments[norm])))
            }
            Statistics::Batch(moments) => {
                let mut moments: Vec<_> = moments.iter_mut().map(Some).collect();
                norms.map(|norm| Some(Source::Batch(moments[norm?].take()?)))
            }
        };
        let terms = [0, 1].map(|index| {
            let term = step.terms.get(index)?;
            let norm = term.norm.and_then(|norm| {
                let Norm { weight, bias, .. } = self.graph.norms[norm];
                let [weight, bias] = [weight, bias].map(|parameter| self.places.at(parameter));
                Some(NormForward { weight, bias, moments: sources[index].take()? })
            });
            Some(ForwardTerm { x: place(term.x.value), norm })
        });
        let blend = Blend { images, terms, relu: step.relu, y: place(step.y) };
        machine.blend(blend, self.parameters, values);
    }

    /// Moments of the running statistics.
    pub fn given(&self, running: &[Running]) -> Vec<Vec<Moments>> {
        let values = self.parameters.values();
        let of = |(norm, running): (&Norm, &Running)| {
            let group = |group: usize| {
                let eight = |from: &[f32]| -> Eight {
                    std::array::from_fn(|c| *from.get(group * GROUP + c).unwrap_or(&0.0))
                };
                let mut moments = Moments::default();
                let [weight, bias] =
                    [norm.weight, norm.bias].map(|p| eight(&values[self.places.at(p)..]));
                let statistics = (eight(&running.mean), eight(&running.variance));
                moments.set(statistics.0, statistics.1, &weight, &bias);
                moments
            };
            (0..norm.channels.div_ceil(GROUP)).map(group).collect()
        };
        self.graph.norms.iter().zip(running).map(of).collect()
    }

    /// Logits `[images, outputs]` after a pass forward.
    pub fn logits(&self, images: Images, keep: Keep, values: &Arena) -> Vec<f32> {
        let place = self.plan.value(keep, self.graph.logits(), images.pairs());
        gather(images, place, values)
    }
}

/// Puts a batch `[images, pixels, channels]` into its place.
fn scatter(from: &[f32], images: Images, place: Place, arena: &mut Arena) {
    let to = &mut arena.values_mut()[place.at..place.at + place.len(images)];
    let whole = place.channels.is_multiple_of(GROUP) && !images.odd();
    if !whole {
        to.fill(0.0);
    }
    let place = Place { at: 0, ..place };
    for (image, from) in from.chunks_exact(place.pixels * place.channels).enumerate() {
        let row = images.pairs_of(image / BLOCK) * ROW;
        for group in 0..place.groups() {
            let first = place.index(images, image, group * GROUP, 0);
            let channels = group * GROUP..place.channels.min((group + 1) * GROUP);
            for (pixel, from) in from.chunks_exact(place.channels).enumerate() {
                let at = first + pixel * row;
                for (lane, value) in from[channels.clone()].iter().enumerate() {
                    to[at + 2 * lane] = *value;
                }
            }
        }
    }
}

/// A batch `[images, pixels, channels]` from its place.
pub fn gather(images: Images, place: Place, arena: &Arena) -> Vec<f32> {
    let values = arena.values();
    let mut all = Vec::with_capacity(images.count() * place.pixels * place.channels);
    for image in 0..images.count() {
        for pixel in 0..place.pixels {
            let number = |channel| values[place.index(images, image, channel, pixel)];
            all.extend((0..place.channels).map(number));
        }
    }
    all
}
