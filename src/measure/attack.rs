//! Accuracy under perturbations of the input that are chosen to do harm: l-infinity FGSM
//! (Goodfellow et al. 2015) and PGD (Madry et al. 2018) on the pixel scale [0, 1].

use super::{AttackMethod, Problem, Subject, examples};
use crate::experiments::results::Measured;
use crate::models::Mode;
use crate::rng::{Purpose, Stream};
use crate::train::source::Split;
use crate::train::{Stopped, predictions, training_loss};
use tch::{Kind, Tensor};

/// Attacks the first `count` test images. Values, for each epsilon: `accuracy@<epsilon>` (in
/// percent, after the attack) and `kept@<epsilon>` (of the images that are classified
/// correctly without it, the percentage that still are: a network that is worse on clean
/// images is not called fragile for that). The same as series over `epsilon`: `accuracy`, `kept`.
///
/// FGSM is one step of epsilon; PGD starts at a seeded random point of the ball and takes
/// `steps` steps of 2.5 epsilon / steps. Pixels stay in [0, 1].
///
/// # Errors
/// If the run is not of images, or the measurement is told to stop.
pub fn measure(
    subject: &Subject<'_>,
    method: AttackMethod,
    epsilons: &[f64],
    count: usize,
) -> Result<Measured, Problem> {
    let Some(normalization) = subject.source.normalization() else {
        return Err("only images have pixels to perturb".into());
    };
    let device = subject.device;
    let column =
        |values: Vec<f32>| Tensor::from_slice(&values).view([1, -1, 1, 1]).to_device(device);
    // Pixel bounds and units on the scale of the network's inputs.
    let (low, high) = normalization.input_range();
    let ball =
        Ball { low: column(low), high: column(high), std: column(normalization.std().to_vec()) };
    let mut measured = Measured::default();
    for (which, &epsilon) in epsilons.iter().enumerate() {
        let mut stream = Stream::open(subject.spec.seed, Purpose::Measurement, &[1, which as u64]);
        let (mut total, mut clean, mut kept, mut attacked) = (0, 0, 0, 0);
        for (inputs, labels) in examples(subject, Split::Test, count) {
            let right = |x: &Tensor| {
                let logits = tch::no_grad(|| subject.network.forward(x, Mode::Eval));
                predictions(&logits).eq_tensor(&labels)
            };
            let before = right(&inputs);
            let harmed = ball.attack(subject, (&inputs, &labels), method, epsilon, &mut stream)?;
            let after = right(&harmed);
            let count = |t: &Tensor| t.sum(Kind::Int64).int64_value(&[]);
            total += inputs.size()[0];
            clean += count(&before);
            attacked += count(&after);
            kept += count(&before.logical_and(&after));
        }
        let percent = |part: i64, whole: i64| 100.0 * part as f64 / whole.max(1) as f64;
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

/// Where inputs may lie; each `[1, channels, 1, 1]`.
struct Ball {
    low: Tensor,
    high: Tensor,
    std: Tensor,
}

impl Ball {
    fn attack(
        &self,
        subject: &Subject<'_>,
        (inputs, labels): (&Tensor, &Tensor),
        method: AttackMethod,
        epsilon: f64,
        stream: &mut Stream,
    ) -> Result<Tensor, Stopped> {
        let radius = &self.std.reciprocal() * epsilon;
        let (lowest, highest) =
            ((inputs - &radius).maximum(&self.low), (inputs + &radius).minimum(&self.high));
        let within = |x: Tensor| x.maximum(&lowest).minimum(&highest);
        let (mut x, steps, step) = match method {
            AttackMethod::Fgsm => (inputs.shallow_clone(), 1, radius.shallow_clone()),
            AttackMethod::Pgd { steps } => {
                let noise: Vec<f32> =
                    (0..inputs.numel()).map(|_| 2.0 * stream.unit_f32() - 1.0).collect();
                let noise = Tensor::from_slice(&noise).view_as(&inputs.contiguous());
                let start = within(inputs + noise.to_device(inputs.device()) * &radius);
                (start, steps, &radius * (2.5 / f64::from(steps.max(1))))
            }
        };
        for _ in 0..steps {
            subject.go_on()?;
            let leaf = x.detach().set_requires_grad(true);
            let logits = subject.network.forward(&leaf, Mode::Eval);
            let loss = training_loss(&logits, labels);
            let gradient = Tensor::run_backward(&[&loss], &[&leaf], false, false);
            x = tch::no_grad(|| within(&x.detach() + gradient[0].sign() * &step));
        }
        Ok(x.detach())
    }
}
