//! Norm-based capacity of the final weights (paper, norms; Neyshabur et al. 2015, 2017).
//!
//! All numbers are decimal logarithms: products over twenty layers leave the range that one
//! reads. BatchNorm counts as the diagonal affine map that it is in evaluation mode. With
//! BatchNorm the scale of a convolution is not identifiable, so each norm is also given
//! relative to the margin: the network's outputs, and with them the margin, carry the scale.

use super::measured::Measured;
use super::path::{Power, path_norm_log10};
use super::spectrum::largest_singular_value;
use super::{Problem, Subject, examples};
use crate::models::graph::Graph;
use crate::models::norm;
use crate::models::state::{BATCH_NORM_EPS, State};
use crate::train::source::Split;
use libm::log10;

/// Values: `frobenius` (Euclidean norm of all trainable parameters, log10), `spectral`
/// (product over layers of the largest singular value, log10; a convolution as the matrix
/// `[out, in * kernel * kernel]`), `path_l1` and `path_l2` (log10), `margin_median` (median
/// over training examples of the logit of the label less the largest other one, as it is),
/// and `spectral_margin`, `path_l1_margin`, `path_l2_margin` (the norm divided by the median
/// margin, log10; absent where that is not positive).
///
/// # Errors
/// If the device fails, or the measurement is told to stop.
pub fn measure(subject: &mut Subject<'_>) -> Result<Measured, Problem> {
    let (graph, state) = (subject.graph, subject.state);
    let mut measured = Measured::default();
    let frobenius = log10(norm(&state.parameters));
    let spectral = spectral_log10(graph, state);
    subject.go_on()?;
    let path = |power| path_norm_log10(graph, state, power);
    let norms =
        [("spectral", spectral), ("path_l1", path(Power::One)), ("path_l2", path(Power::Two))];
    measured.values.insert("frobenius".to_owned(), frobenius);
    measured.values.extend(norms.map(|(name, value)| (name.to_owned(), value)));
    if graph.signature.outputs > 1 {
        let margin = median(margins(subject)?);
        measured.values.insert("margin_median".to_owned(), margin);
        if margin > 0.0 {
            let relative = norms.map(|(name, v)| (format!("{name}_margin"), v - log10(margin)));
            measured.values.extend(relative);
        }
    }
    Ok(measured)
}

/// Sum over layers of log10 of the largest singular value.
pub fn spectral_log10(graph: &Graph, state: &State) -> f64 {
    let mut sum = 0.0;
    for (parameter, values) in graph.parameters.iter().zip(&state.parameters) {
        if parameter.shape.len() >= 2 {
            sum += log10(largest_singular_value(values, parameter.shape[0]));
        }
    }
    for (layer, running) in graph.norms.iter().zip(&state.running) {
        let slopes = state.parameters[layer.weight].iter().zip(&running.variance);
        let slope = |(&weight, &variance): (&f32, &f32)| {
            (f64::from(weight) / (f64::from(variance) + f64::from(BATCH_NORM_EPS)).sqrt()).abs()
        };
        sum += log10(slopes.map(slope).fold(0.0, f64::max));
    }
    sum
}

fn margins(subject: &mut Subject<'_>) -> Result<Vec<f64>, Problem> {
    let outputs = subject.graph.signature.outputs;
    let mut all = Vec::new();
    for batch in examples(subject.source, Split::TrainPlain, usize::MAX) {
        subject.go_on()?;
        let logits = subject.backend.logits(&batch.inputs)?;
        for (logits, &label) in logits.chunks_exact(outputs).zip(&batch.labels) {
            let others = (0..).zip(logits).filter(|(class, _)| *class != label);
            let largest = others.map(|(_, &logit)| logit).fold(f32::NEG_INFINITY, f32::max);
            all.push(f64::from(logits[label as usize]) - f64::from(largest));
        }
    }
    Ok(all)
}

/// Median; the mean of the two middle values of an even number.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
