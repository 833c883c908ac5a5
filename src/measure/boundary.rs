//! The toy's decision boundary. The classes lie so far apart that test accuracy is a blunt
//! measure; the shape of the boundary is what the figure shows, so that is measured.

use super::measured::Measured;
use super::{Problem, Subject};
use crate::data::toy::bayes_class;
use crate::models::state::{InitialWeights, State};
use crate::spec::{DataSpec, Start};
use crate::train::source::Split;
use std::collections::BTreeMap;

/// Evaluates the network on a grid over the window around both classes.
///
/// Values: `bayes_disagreement`, the share of the window in percent where the predicted
/// class is not the Bayes rule's; `boundary_length`, the length of the line where the
/// prediction changes, in units of the coordinates (the Bayes rule's own is the window's
/// height); `regions`, the number of connected pieces of the window in which one class is
/// predicted, both classes together (the Bayes rule has two), and `regions_of_class_1`, those
/// of class 1; `specks`, how many of the regions are smaller than [`SPECK`] grid points;
/// `points_fitted`, the share in percent of the training points that are classified as trained
/// on, without the noisy copies that augmentation joins them by (as images are evaluated
/// without their augmentation).
///
/// Series: `grid` (probability of class 1 to four decimals, row-major, the lowest row first),
/// `start` (the same of the random weights that the run started from, if it did), `window`
/// (x_min, x_max, y_min, y_max), `size` (columns, rows), and `points` (x, y, label trained on,
/// true label for each training point).
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
    let predicted: Vec<bool> = logits.iter().map(|logit| *logit > 0.0).collect();
    let regions = regions(&predicted, columns);
    let count = |is_counted: fn(&&Region) -> bool| regions.iter().filter(is_counted).count() as f64;

    // The points themselves come first, then their copies.
    let originals = subject.source.batch(Split::TrainPlain, 0..2 * toy.points_per_class as usize);
    let answers = subject.backend.logits(&originals.inputs)?;
    let right = answers.iter().zip(&originals.labels).filter(|(l, y)| i64::from(**l > 0.0) == **y);
    let fitted = 100.0 * right.count() as f64 / originals.labels.len() as f64;

    let labels = subject.source.batch(Split::TrainPlain, 0..train.labels.len()).labels;
    let points = train.coordinates.iter().zip(&train.labels).zip(labels).flat_map(
        |((&[x, y], &true_label), label)| {
            [f64::from(x), f64::from(y), label as f64, f64::from(true_label)]
        },
    );
    let mut series = BTreeMap::from([
        ("grid".to_owned(), probabilities(&logits)),
        ("window".to_owned(), window.to_vec()),
        ("size".to_owned(), vec![columns as f64, rows as f64]),
        ("points".to_owned(), points.collect()),
    ]);
    if let Start::Random { scale } = subject.spec.start {
        let weights = InitialWeights { seed: subject.source.seed(), scale };
        subject.backend.set_state(&State::random(subject.graph, weights));
        let logits = subject.backend.logits(&inputs)?.into_iter().map(f64::from);
        series.insert("start".to_owned(), probabilities(&logits.collect::<Vec<_>>()));
    }
    Ok(Measured {
        values: BTreeMap::from([
            ("bayes_disagreement".to_owned(), disagreement),
            ("boundary_length".to_owned(), length),
            ("points_fitted".to_owned(), fitted),
            ("regions".to_owned(), count(|_| true)),
            ("regions_of_class_1".to_owned(), count(|region| region.class_1)),
            ("specks".to_owned(), count(|region| region.points < SPECK)),
        ]),
        series,
    })
}

/// Probabilities of class 1 as a picture shows them: four decimals take a third of the disk.
fn probabilities(logits: &[f64]) -> Vec<f64> {
    let decimals = |p: f64| (p * 1e4).round() / 1e4;
    logits.iter().map(|logit| decimals(1.0 / (1.0 + libm::exp(-logit)))).collect()
}

/// Regions of fewer grid points are specks: smaller than a square of three by three points,
/// which at 161 columns is a fourth of a class's standard deviation wide. They are regions as
/// good as any, but a thin wedge that runs across the grid can end in a few of them, so they
/// are counted apart too. What is smaller than the grid's step is not seen at all.
const SPECK: usize = 9;

/// A connected piece of the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Region {
    class_1: bool,
    points: usize,
}

/// The regions of a grid of predictions (row-major), in the order of their first points: points
/// are connected with the neighbours of the same class to the left, right, above and below.
fn regions(predicted: &[bool], columns: usize) -> Vec<Region> {
    let mut seen = vec![false; predicted.len()];
    let mut regions = Vec::new();
    for first in 0..predicted.len() {
        if seen[first] {
            continue;
        }
        let mut region = Region { class_1: predicted[first], points: 0 };
        seen[first] = true;
        let mut open = vec![first];
        while let Some(point) = open.pop() {
            region.points += 1;
            let column = point % columns;
            let neighbours = [
                (column > 0).then(|| point - 1),
                (column + 1 < columns).then_some(point + 1),
                point.checked_sub(columns),
                Some(point + columns).filter(|&below| below < predicted.len()),
            ];
            for neighbour in neighbours.into_iter().flatten() {
                if !seen[neighbour] && predicted[neighbour] == region.class_1 {
                    seen[neighbour] = true;
                    open.push(neighbour);
                }
            }
        }
        regions.push(region);
    }
    regions
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

    /// Regions of a field, as `(class 1, points)`.
    fn pieces(f: impl Fn(f64, f64) -> f64) -> Vec<(bool, usize)> {
        let predicted: Vec<bool> = field(f).into_iter().map(|value| value > 0.0).collect();
        regions(&predicted, 101).iter().map(|region| (region.class_1, region.points)).collect()
    }

    #[test]
    fn halves_are_two_regions_and_a_stripe_makes_three() {
        assert_eq!(pieces(|x, _| x - 0.01), [(false, 51 * 101), (true, 50 * 101)]);
        let stripe = pieces(|x, _| 0.25 - x.abs());
        assert_eq!(stripe, [(false, 38 * 101), (true, 25 * 101), (false, 38 * 101)]);
    }

    #[test]
    fn a_ring_parts_its_inside_from_its_outside() {
        let ring = pieces(|x, y| 0.1 - (x.hypot(y) - 0.5).abs());
        let classes: Vec<bool> = ring.iter().map(|region| region.0).collect();
        assert_eq!(classes, [false, true, false]);
        assert_eq!(ring.iter().map(|region| region.1).sum::<usize>(), 101 * 101);
    }

    #[test]
    fn corners_do_not_connect_the_fields_of_a_checkerboard() {
        // Four by four fields of 25 points each way, the last ones of 26.
        let side = |v: f64| ((v + 1.0) * 50.0 + 0.5).floor().min(99.0) as i32 / 25;
        let board = pieces(|x, y| if (side(x) + side(y)) % 2 == 0 { 1.0 } else { -1.0 });
        assert_eq!(board.len(), 16);
        assert_eq!(board.iter().filter(|region| region.0).count(), 8);
        // The last point of a row and the first of the next are no neighbours.
        assert_eq!(regions(&[false, false, true, true, false, false], 3).len(), 3);
        assert_eq!(regions(&[true, false, false, true], 2).len(), 4);
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
