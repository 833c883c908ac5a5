//! Coherence of per-example gradients (Chatterjee 2020, named by Review 2 as a possible
//! explanation): how much the examples agree on where to go.

use super::measured::Measured;
use super::{Problem, Subject, examples};
use crate::backend::{Backend, Examples, With};
use crate::models::{norm, weights};
use crate::train::Incomplete;
use crate::train::source::{Batch, Split};

/// Coherence on the first `count` training examples, with the labels trained on, in
/// evaluation mode: at each kept epoch and at the end. Values: `coherence@<epoch>` and
/// `coherence` at the end; series `epochs` and `coherence`.
///
/// # Errors
/// If kept weights do not fit, the device fails, or the measurement is told to stop.
pub fn measure(subject: &mut Subject<'_>, count: usize) -> Result<Measured, Problem> {
    let mut measured = Measured::default();
    let batches: Vec<Batch> = examples(subject.source, Split::TrainPlain, count).collect();
    let (mut epochs, mut values) = (Vec::new(), Vec::new());
    for (epoch, kept) in subject.snapshots {
        let state = weights::state(subject.graph, kept)
            .map_err(|e| format!("weights of epoch {epoch}: {e}"))?;
        subject.backend.set_state(&state);
        let value = coherence(&mut *subject.backend, &batches, subject.stop)?;
        measured.values.insert(format!("coherence@{epoch}"), value);
        epochs.push(f64::from(*epoch));
        values.push(value);
    }
    subject.backend.set_state(subject.state);
    let last = coherence(&mut *subject.backend, &batches, subject.stop)?;
    measured.values.insert("coherence".to_owned(), last);
    measured.series.insert("epochs".to_owned(), epochs);
    measured.series.insert("coherence".to_owned(), values);
    Ok(measured)
}

/// `m ||mean of g_i||^2 / mean of ||g_i||^2` over `m` examples: 1 if the gradients are
/// orthogonal, `m` if they are all the same. `stop` is polled before every example.
///
/// # Errors
/// If the device fails, or `stop` says so.
pub fn coherence(
    backend: &mut dyn Backend,
    batches: &[Batch],
    stop: &dyn Fn() -> bool,
) -> Result<f64, Incomplete> {
    let parameters = &backend.graph().parameters;
    let mut sum: Vec<Vec<f64>> = parameters.iter().map(|p| vec![0.0; p.count()]).collect();
    let size = backend.graph().signature.input.values();
    let (mut squares, mut examples) = (0.0, 0);
    for batch in batches {
        for (inputs, labels) in batch.inputs.chunks_exact(size).zip(batch.labels.chunks(1)) {
            if stop() {
                return Err(Incomplete::Stopped);
            }
            let gradients = backend.gradient(Examples { inputs, labels }, With::Evaluation)?;
            let length = norm(&gradients);
            squares += length * length;
            examples += 1;
            for (sum, gradient) in sum.iter_mut().flatten().zip(gradients.iter().flatten()) {
                *sum += f64::from(*gradient);
            }
        }
    }
    let m = f64::from(examples);
    let square_of_sum = sum.iter().flatten().fold(0.0, |total, part| total + part * part);
    let mean_square = square_of_sum / (m * m);
    Ok(if squares > 0.0 { m * mean_square / (squares / m) } else { 0.0 })
}
