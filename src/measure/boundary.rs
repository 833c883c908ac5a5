//! The toy's decision boundary. The classes lie so far apart that test accuracy is a blunt
//! measure; the shape of the boundary is what the figure shows, so that is measured.

use super::{Problem, Subject};
use crate::data::toy::bayes_class;
use crate::experiments::results::Measured;
use crate::spec::DataSpec;
use crate::train::source::Split;
use std::collections::BTreeMap;

/// Evaluates the network on a grid over the window around both classes.
///
/// Values: `bayes_disagreement`, the share of the window in percent where the predicted
/// class is not the Bayes rule's; `boundary_length`, the length of the line where the
/// prediction changes, in units of the coordinates (the Bayes rule's own is the window's
/// height). Series: `grid` (probability of class 1, row-major, the lowest row first),
/// `window` (x_min, x_max, y_min, y_max), `size` (columns, rows), and `points` (x, y, label
/// trained on, true label for each training point).
///
/// # Errors
/// If the run is not of the toy, or the device fails.
pub fn measure(subject: &mut Subject<'_>, columns: u32, reach: f64) -> Result<Measured, Problem> {
    let (DataSpec::Toy(toy), Some((train, _))) = (&subject.spec.data, subject.source.toy_points())
    else {
        return Err("only the toy has a decision boundary to draw".into());
    };
    let (half_width, half_height) = (toy.shift + reach * toy.std, reach * toy.std);
    let window = [
        toy.center - half_width,
        toy.center + half_width,
        toy.center - half_height,
        toy.center + half_height,
    ];
    let columns = columns.max(2) as usize;
    let rows = ((columns as f64 * half_height / half_width).round() as usize).max(2);
    let step = [2.0 * half_width / (columns - 1) as f64, 2.0 * half_height / (rows - 1) as f64];
    let x_of = |column: usize| window[0] + column as f64 * step[0];
    let y_of = |row: usize| window[2] + row as f64 * step[1];
    let cells = || (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let inputs: Vec<f32> =
        cells().flat_map(|(row, column)| [x_of(column) as f32, y_of(row) as f32]).collect();
    let logits: Vec<f64> = subject.backend.logits(&inputs)?.into_iter().map(f64::from).collect();

    let differs = cells()
        .zip(&logits)
        .filter(|((_, column), logit)| u8::from(**logit > 0.0) != bayes_class(toy, x_of(*column)));
    let disagreement = 100.0 * differs.count() as f64 / logits.len() as f64;
    let length = zero_line_length(&logits, columns, step);

    let labels = subject.source.batch(Split::TrainPlain, 0..train.labels.len()).labels;
    let points = train.coordinates.iter().zip(&train.labels).zip(labels).flat_map(
        |((&[x, y], &true_label), label)| {
            [f64::from(x), f64::from(y), label as f64, f64::from(true_label)]
        },
    );
    let probability = |logit: &f64| 1.0 / (1.0 + libm::exp(-logit));
    Ok(Measured {
        values: BTreeMap::from([
            ("bayes_disagreement".to_owned(), disagreement),
            ("boundary_length".to_owned(), length),
        ]),
        series: BTreeMap::from([
            ("grid".to_owned(), logits.iter().map(probability).collect()),
            ("window".to_owned(), window.to_vec()),
            ("size".to_owned(), vec![columns as f64, rows as f64]),
            ("points".to_owned(), points.collect()),
        ]),
    })
}

/// Length of the line where a field on a grid is zero: each square is cut into two
/// triangles, in each of which the field is taken as linear.
fn zero_line_length(field: &[f64], columns: usize, [dx, dy]: [f64; 2]) -> f64 {
    let rows = field.len() / columns;
    let mut length = 0.0;
    for row in 0..rows - 1 {
        for column in 0..columns - 1 {
            let corner = |down: usize, right: usize| {
                let value = field[(row + down) * columns + column + right];
                (right as f64 * dx, down as f64 * dy, value)
            };
            let (a, b, c, d) = (corner(0, 0), corner(0, 1), corner(1, 0), corner(1, 1));
            length += cut([a, b, c]) + cut([b, d, c]);
        }
    }
    length
}

/// Length of the zero line of a linear field on a triangle of `(x, y, value)`.
fn cut(corners: [(f64, f64, f64); 3]) -> f64 {
    let [p, q, r] = corners;
    let crossings: Vec<(f64, f64)> = [(p, q), (q, r), (r, p)]
        .into_iter()
        .filter(|(from, to)| (from.2 > 0.0) != (to.2 > 0.0))
        .map(|(from, to)| {
            let t = from.2 / (from.2 - to.2);
            (from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1))
        })
        .collect();
    match crossings[..] {
        [a, b] => libm::hypot(a.0 - b.0, a.1 - b.1),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field on a 101 x 101 grid over [-1, 1]^2.
    fn field(f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let at = |i: usize| i as f64 / 50.0 - 1.0;
        (0..101)
            .flat_map(|row| (0..101).map(move |column| (at(column), at(row))))
            .map(|(x, y)| f(x, y))
            .collect()
    }

    #[test]
    fn a_straight_line_has_the_height_of_the_window() {
        let length = zero_line_length(&field(|x, _| x - 0.013), 101, [0.02, 0.02]);
        assert!((length - 2.0).abs() < 1e-9, "{length}");
    }

    #[test]
    fn a_circle_has_its_circumference() {
        let circle = field(|x, y| x * x + y * y - 0.25);
        let length = zero_line_length(&circle, 101, [0.02, 0.02]);
        assert!((length - std::f64::consts::PI).abs() < 2e-3, "{length}");
    }
}
