//! Distance from initialization, layer by layer (paper, distance to the initialization; asked for
//! in Review 3 of the paper).

use super::Subject;
use super::measured::Measured;
use crate::models::{distance, norm};
use crate::train;

/// Measures how far the weight tensor `w` of each convolution and linear layer has moved from
/// `w_0`, its value at the start of training (random, or the final weights of the parent run).
///
/// Series, one entry per layer in the order of `Graph::parameters`: `depth` (1, 2, ...),
/// `absolute` (`||w - w_0||_2`) and `relative` (`||w - w_0||_2 / ||w_0||_2`). Values: `smallest`
/// and `largest`, the extremes of `relative`. One-dimensional parameters (biases, BatchNorm) are
/// left out.
///
/// # Errors
/// If the parent's weights are missing or do not fit the graph, or no layer has a weight tensor.
pub fn measure(subject: &Subject<'_>) -> Result<Measured, String> {
    let seed = subject.source.seed();
    // For this measurement, the counterpart is the parent run (`MeasureSpec::counterpart`).
    let start = train::start(subject.spec, subject.graph, seed, subject.counterpart)
        .map_err(|e| e.to_string())?;
    let mut measured = Measured::default();
    let [mut depths, mut absolute, mut relative] = [const { Vec::new() }; 3];
    for (index, parameter) in subject.graph.parameters.iter().enumerate() {
        // Biases and BatchNorm parameters.
        if parameter.shape.len() < 2 {
            continue;
        }
        let [initial, trained] =
            [&start, subject.state].map(|state| std::slice::from_ref(&state.parameters[index]));
        let moved = distance(trained, initial);
        depths.push(depths.len() as f64 + 1.0);
        absolute.push(moved);
        relative.push(moved / norm(initial));
    }
    let extreme = |pick: fn(f64, f64) -> f64| relative.iter().copied().reduce(pick);
    for (name, value) in [("smallest", extreme(f64::min)), ("largest", extreme(f64::max))] {
        measured.values.insert(name.to_owned(), value.ok_or("no layer has a weight tensor")?);
    }
    let rows = [("depth", depths), ("absolute", absolute), ("relative", relative)];
    measured.series.extend(rows.map(|(name, row)| (name.to_owned(), row)));
    Ok(measured)
}
