//! Coherence of per-example gradients (Chatterjee 2020, named by Review 2 as a possible
//! explanation): how much the examples agree on where to go.

use super::{Problem, Subject, examples};
use crate::experiments::results::Measured;
use crate::models::weights::load_state;
use crate::models::{Mode, Network};
use crate::train::source::Split;
use crate::train::{Stopped, build, training_loss};
use tch::{Kind, Tensor};

/// Coherence on the first `count` training examples, with the labels trained on, in
/// evaluation mode: at each kept epoch and at the end. Values: `coherence@<epoch>` and
/// `coherence` at the end; series `epochs` and `coherence`.
///
/// # Errors
/// If kept weights do not fit, or the measurement is told to stop.
pub fn measure(subject: &Subject<'_>, count: usize) -> Result<Measured, Problem> {
    let mut measured = Measured::default();
    let batches: Vec<(Tensor, Tensor)> = examples(subject, Split::TrainPlain, count).collect();
    let mut network = build(subject.spec, subject.source, subject.device);
    let (mut epochs, mut values) = (Vec::new(), Vec::new());
    for (epoch, state) in subject.snapshots {
        load_state(&mut network, state).map_err(|e| format!("weights of epoch {epoch}: {e}"))?;
        let value = coherence(&network, &batches, subject.stop)?;
        measured.values.insert(format!("coherence@{epoch}"), value);
        epochs.push(f64::from(*epoch));
        values.push(value);
    }
    let last = coherence(subject.network, &batches, subject.stop)?;
    measured.values.insert("coherence".to_owned(), last);
    measured.series.insert("epochs".to_owned(), epochs);
    measured.series.insert("coherence".to_owned(), values);
    Ok(measured)
}

/// `m ||mean of g_i||^2 / mean of ||g_i||^2` over `m` examples: 1 if the gradients are
/// orthogonal, `m` if they are all the same. `stop` is asked before every example.
///
/// # Errors
/// If `stop` says so.
pub fn coherence(
    network: &Network,
    batches: &[(Tensor, Tensor)],
    stop: &dyn Fn() -> bool,
) -> Result<f64, Stopped> {
    let parameters = network.trainable();
    let mut sum: Vec<Tensor> =
        parameters.iter().map(|p| p.detach().to_kind(Kind::Double).zeros_like()).collect();
    let (mut squares, mut examples) = (0.0, 0);
    for (inputs, labels) in batches {
        for index in 0..inputs.size()[0] {
            if stop() {
                return Err(Stopped);
            }
            let (x, y) = (inputs.narrow(0, index, 1), labels.narrow(0, index, 1));
            let loss = training_loss(&network.forward(&x, Mode::Eval), &y);
            let gradients = Tensor::run_backward(&[&loss], &parameters, false, false);
            squares += crate::models::norm(&gradients).powi(2);
            examples += 1;
            for (sum, gradient) in sum.iter_mut().zip(gradients) {
                *sum += gradient.to_kind(Kind::Double);
            }
        }
    }
    let m = f64::from(examples);
    let mean_square = (crate::models::norm(&sum) / m).powi(2);
    Ok(if squares > 0.0 { m * mean_square / (squares / m) } else { 0.0 })
}
