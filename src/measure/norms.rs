//! Norm-based capacity of the final weights (paper, norms; Neyshabur et al. 2015, 2017).
//!
//! All numbers are decimal logarithms: products over twenty layers leave the range that one
//! reads. BatchNorm counts as the diagonal affine map that it is in evaluation mode. With
//! BatchNorm the scale of a convolution is not identifiable, so each norm is also given
//! relative to the margin: the network's outputs, and with them the margin, carry the scale.

use super::{Problem, Subject, examples};
use crate::experiments::results::Measured;
use crate::models::{Mode, Network};
use crate::train::source::Split;
use tch::{Kind, Tensor};

/// Values: `frobenius` (Euclidean norm of all trainable parameters, log10), `spectral`
/// (product over layers of the largest singular value, log10; a convolution as the matrix
/// `[out, in * kernel * kernel]`), `path_l1` and `path_l2` (log10), `margin_median` (median
/// over training examples of the logit of the label less the largest other one, as it is),
/// and `spectral_margin`, `path_l1_margin`, `path_l2_margin` (the norm divided by the median
/// margin, log10; absent where that is not positive).
///
/// # Errors
/// If margins cannot be read, or the measurement is told to stop.
pub fn measure(subject: &Subject<'_>) -> Result<Measured, Problem> {
    let network = subject.network;
    let signature = subject.source.signature();
    let mut measured = Measured::default();
    let frobenius = crate::models::norm(&network.trainable()).log10();
    let spectral = spectral_log10(network);
    subject.go_on()?;
    let path = |p| path_norm_log10(network, signature.input, subject.device, p);
    let norms = [("spectral", spectral), ("path_l1", path(1.0)), ("path_l2", path(2.0))];
    measured.values.insert("frobenius".to_owned(), frobenius);
    measured.values.extend(norms.map(|(name, value)| (name.to_owned(), value)));
    if signature.outputs > 1 {
        let margin = median(margins(subject)?);
        measured.values.insert("margin_median".to_owned(), margin);
        if margin > 0.0 {
            let relative = norms.map(|(name, v)| (format!("{name}_margin"), v - margin.log10()));
            measured.values.extend(relative);
        }
    }
    Ok(measured)
}

/// Sum over layers of log10 of the largest singular value.
pub fn spectral_log10(network: &Network) -> f64 {
    let weights = network.parameters.iter().filter(|p| p.tensor.dim() >= 2);
    let linear: f64 = weights
        .map(|p| {
            let matrix = p.tensor.detach().to_kind(Kind::Double).flatten(1, -1);
            largest_singular_value(&matrix).log10()
        })
        .sum();
    let diagonal: f64 = network
        .buffers
        .iter()
        .filter_map(|buffer| {
            let layer = buffer.name.strip_suffix(".running_var")?;
            let name = format!("{layer}.weight");
            let weight = network.parameters.iter().find(|p| p.name == name)?;
            let variance = buffer.tensor.to_kind(Kind::Double) + crate::models::BATCH_NORM_EPS;
            let slope = weight.tensor.detach().to_kind(Kind::Double) / variance.sqrt();
            Some(slope.abs().max().double_value(&[]).log10())
        })
        .sum();
    linear + diagonal
}

/// Largest singular value of a matrix, by its full decomposition.
pub fn largest_singular_value(matrix: &Tensor) -> f64 {
    let (_, singular_values, _) = matrix.svd(true, false);
    singular_values.max().double_value(&[])
}

/// log10 of the p-path norm: (sum over all paths from inputs and biases to outputs of the
/// product of |w|^p along the path)^(1/p). Where a maximum is pooled, the largest sum goes
/// on.
pub fn path_norm_log10(network: &Network, input: [i64; 3], device: tch::Device, p: f64) -> f64 {
    let [channels, height, width] = input;
    let ones = Tensor::ones([1, channels, height, width], (Kind::Double, device));
    let total = tch::no_grad(|| network.forward(&ones, Mode::Path { p }).sum(Kind::Double));
    total.double_value(&[]).log10() / p
}

fn margins(subject: &Subject<'_>) -> Result<Vec<f64>, Problem> {
    let mut all = Vec::new();
    for (inputs, labels) in examples(subject, Split::TrainPlain, usize::MAX) {
        subject.go_on()?;
        let logits = tch::no_grad(|| subject.network.forward(&inputs, Mode::Eval));
        let column = labels.unsqueeze(1);
        let own = logits.gather(1, &column, false).squeeze_dim(1);
        let others = logits.scatter_value(1, &column, f64::NEG_INFINITY);
        let margin = own - others.amax([1], false);
        let values = Vec::<f64>::try_from(margin.to_kind(Kind::Double));
        all.extend(values.map_err(|e| format!("margins cannot be read: {e}"))?);
    }
    Ok(all)
}

/// Median; the mean of the two middle values of an even number.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
