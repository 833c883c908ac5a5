//! How far each layer has travelled from where training started (paper, distance to the
//! initialization; Review 3).

use super::Subject;
use super::measured::Measured;
use crate::models::{distance, norm};
use crate::train;

/// Series over the layers with a weight matrix, in the network's order: `depth` (from 1),
/// `absolute` (`||w - w_0||_2` of the weight) and `relative` (divided by `||w_0||_2`).
/// Values: `smallest` and `largest`, of the relative ones. Biases and BatchNorm's vectors
/// start at 0 or 1 and are left out.
///
/// # Errors
/// If the weights that training started from are missing or do not fit.
pub fn measure(subject: &Subject<'_>) -> Result<Measured, String> {
    let seed = subject.source.seed();
    let start = train::start(subject.spec, subject.graph, seed, subject.counterpart)
        .map_err(|e| e.to_string())?;
    let mut measured = Measured::default();
    let [mut depths, mut absolute, mut relative] = [const { Vec::new() }; 3];
    for (index, parameter) in subject.graph.parameters.iter().enumerate() {
        if parameter.shape.len() < 2 {
            continue;
        }
        let [from, to] =
            [&start, subject.state].map(|state| std::slice::from_ref(&state.parameters[index]));
        depths.push(depths.len() as f64 + 1.0);
        absolute.push(distance(to, from));
        relative.push(distance(to, from) / norm(from));
    }
    let extreme = |pick: fn(f64, f64) -> f64| relative.iter().copied().reduce(pick);
    for (name, value) in [("smallest", extreme(f64::min)), ("largest", extreme(f64::max))] {
        measured.values.insert(name.to_owned(), value.ok_or("the network has no layers")?);
    }
    let rows = [("depth", depths), ("absolute", absolute), ("relative", relative)];
    measured.series.extend(rows.map(|(name, row)| (name.to_owned(), row)));
    Ok(measured)
}
