//! Accuracy under perturbations of the input that are chosen to do harm: l-infinity FGSM
//! (Goodfellow et al. 2015) and PGD (Madry et al. 2018) on the pixel scale [0, 1].

use super::measured::Measured;
use super::{AttackMethod, Problem, Subject, classes, examples};
use crate::backend::{Backend, Examples};
use crate::data::normalize::Normalization;
use crate::rng::{Purpose, Stream};
use crate::train::Incomplete;
use crate::train::source::Split;

/// Attacks the first `count` test images. Values, for each epsilon: `accuracy@<epsilon>` (in
/// percent, after the attack) and `kept@<epsilon>` (of the images that are classified
/// correctly without it, the percentage that still are: a network that is worse on clean
/// images is not called fragile for that). The same as series over `epsilon`: `accuracy`, `kept`.
///
/// FGSM is one step of epsilon; PGD starts at a seeded random point of the ball and takes
/// `steps` steps of 2.5 epsilon / steps. Pixels stay in [0, 1].
///
/// # Errors
/// If the run is not of images, the device fails, or the measurement is told to stop.
pub fn measure(
    subject: &mut Subject<'_>,
    method: AttackMethod,
    epsilons: &[f64],
    count: usize,
) -> Result<Measured, Problem> {
    let Some(normalization) = subject.source.normalization() else {
        return Err("only images have pixels to perturb".into());
    };
    let mut measured = Measured::default();
    for (which, &epsilon) in epsilons.iter().enumerate() {
        let mut stream = Stream::open(subject.spec.seed, Purpose::Measurement, &[1, which as u64]);
        let ball = Ball::new(normalization, epsilon);
        let (mut total, mut clean, mut kept, mut attacked) = (0, 0, 0, 0);
        for batch in examples(subject.source, Split::Test, count) {
            let before = hits(&mut *subject.backend, batch.examples())?;
            let (backend, stop) = (&mut *subject.backend, subject.stop);
            let harmed = ball.attack(backend, batch.examples(), method, &mut stream, stop)?;
            let after = hits(backend, Examples { inputs: &harmed, labels: &batch.labels })?;
            let count = |hits: &[bool]| hits.iter().filter(|&&hit| hit).count();
            total += batch.labels.len();
            clean += count(&before);
            attacked += count(&after);
            kept += before.iter().zip(&after).filter(|(b, a)| **b && **a).count();
        }
        let percent = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        let row = [
            ("epsilon", epsilon),
            ("accuracy", percent(attacked, total)),
            ("kept", percent(kept, clean)),
        ];
        for (name, value) in row {
            measured.series.entry(name.to_owned()).or_default().push(value);
        }
        for (name, value) in &row[1..] {
            measured.values.insert(format!("{name}@{epsilon}"), *value);
        }
    }
    Ok(measured)
}

/// Which examples are classified as labelled.
fn hits(backend: &mut dyn Backend, examples: Examples<'_>) -> Result<Vec<bool>, Incomplete> {
    let outputs = backend.graph().signature.outputs;
    let logits = backend.logits(examples.inputs)?;
    Ok(classes(&logits, outputs)
        .zip(examples.labels)
        .map(|(class, &label)| class == label)
        .collect())
}

/// Where inputs may lie, on the scale of the network's inputs; a value a channel.
struct Ball {
    /// Of black and of white.
    range: Vec<[f32; 2]>,
    radius: Vec<f32>,
}

impl Ball {
    fn new(normalization: &Normalization, epsilon: f64) -> Ball {
        let (low, high) = normalization.input_range();
        let radius = |&std: &f32| (epsilon / f64::from(std)) as f32;
        Ball {
            range: low.into_iter().zip(high).map(|(low, high)| [low, high]).collect(),
            radius: normalization.std().iter().map(radius).collect(),
        }
    }

    /// The examples' inputs, harmed. `stop` is polled before every step.
    fn attack(
        &self,
        backend: &mut dyn Backend,
        examples: Examples<'_>,
        method: AttackMethod,
        stream: &mut Stream,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<f32>, Incomplete> {
        let channels = self.radius.len();
        let within = |index: usize, value: f32| {
            let (center, channel) = (examples.inputs[index], index % channels);
            let ([low, high], radius) = (self.range[channel], self.radius[channel]);
            value.max((center - radius).max(low)).min((center + radius).min(high))
        };
        let mut x = examples.inputs.to_vec();
        let (steps, reach) = match method {
            AttackMethod::Fgsm => (1, 1.0),
            AttackMethod::Pgd { steps } => {
                for (index, value) in x.iter_mut().enumerate() {
                    let noise = 2.0 * stream.unit_f32() - 1.0;
                    *value = within(index, *value + noise * self.radius[index % channels]);
                }
                (steps, (2.5 / f64::from(steps.max(1))) as f32)
            }
        };
        for _ in 0..steps {
            if stop() {
                return Err(Incomplete::Stopped);
            }
            let labels = examples.labels;
            let gradient = backend.input_gradient(Examples { inputs: &x, labels })?;
            for (index, (value, slope)) in x.iter_mut().zip(gradient).enumerate() {
                let step = self.radius[index % channels] * reach;
                let harm = match slope {
                    slope if slope > 0.0 => step,
                    slope if slope < 0.0 => -step,
                    _ => 0.0,
                };
                *value = within(index, *value + harm);
            }
        }
        Ok(x)
    }
}
