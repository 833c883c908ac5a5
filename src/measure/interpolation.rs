//! Loss and accuracy along the straight line between two minima.

use super::measured::Measured;
use super::{Problem, Subject, examples};
use crate::models::state::{Running, State};
use crate::models::weights;
use crate::train::feed::Feed;
use crate::train::source::Split;
use crate::train::{EVALUATION_BATCH, measure_split};

/// Evaluates `points` networks on the line from this run's weights (t = 0) to another's
/// (t = 1), ends included. The running statistics of BatchNorm are computed anew at each
/// point from training images, 500 at most (those of the ends belong to the ends).
///
/// Values: `barrier`, the largest excess of the training loss over the straight line between
/// the losses at the ends; `accuracy_dip`, the largest drop of test accuracy, in points, below
/// the straight line between the ends. Series `t`, `train_loss`, `train_accuracy`,
/// `test_accuracy`.
///
/// # Errors
/// If the other run is missing, its weights do not fit, the device fails, or the measurement
/// is told to stop.
pub fn measure(subject: &mut Subject<'_>, points: u32) -> Result<Measured, Problem> {
    let other = subject.counterpart.ok_or("the run at the other end is missing")?;
    let other = weights::state(subject.graph, other).map_err(|e| e.to_string())?;
    // One pass, so that every layer has statistics of one input; more would not fit a device.
    let calibration = examples(subject.source, Split::TrainPlain, EVALUATION_BATCH).next();
    let calibration = calibration.ok_or("there are no training images")?;
    let mut feed = Feed::new(subject.source);
    let points = points.max(3);
    let [mut ts, mut losses, mut train, mut test] = [const { Vec::new() }; 4];
    for point in 0..points {
        let t = f64::from(point) / f64::from(points - 1);
        subject.go_on()?;
        let backend = &mut *subject.backend;
        backend.set_state(&between(subject.state, &other, t as f32));
        backend.calibrate(&calibration.inputs)?;
        let on_train = measure_split(backend, &mut feed, Split::TrainPlain, subject.stop)?;
        let on_test = measure_split(backend, &mut feed, Split::Test, subject.stop)?;
        ts.push(t);
        losses.push(on_train.loss);
        train.push(on_train.accuracy);
        test.push(on_test.accuracy);
    }
    let barrier = excess(&ts, &losses);
    let dips: Vec<f64> = test.iter().map(|accuracy| -accuracy).collect();
    let mut measured = Measured::default();
    measured.values.insert("barrier".to_owned(), barrier);
    measured.values.insert("accuracy_dip".to_owned(), excess(&ts, &dips));
    let rows =
        [("t", ts), ("train_loss", losses), ("train_accuracy", train), ("test_accuracy", test)];
    measured.series.extend(rows.map(|(name, row)| (name.to_owned(), row)));
    Ok(measured)
}

/// Largest height of a curve over the straight line between its ends.
fn excess(ts: &[f64], values: &[f64]) -> f64 {
    let (first, last) = (values[0], values[values.len() - 1]);
    let over = ts.iter().zip(values).map(|(t, value)| value - (first + t * (last - first)));
    over.fold(f64::NEG_INFINITY, f64::max)
}

/// `(1 - t) a + t b`.
fn between(a: &State, b: &State, t: f32) -> State {
    let mix = |a: &Vec<f32>, b: &Vec<f32>| -> Vec<f32> {
        a.iter().zip(b).map(|(a, b)| a * (1.0 - t) + b * t).collect()
    };
    State {
        parameters: a.parameters.iter().zip(&b.parameters).map(|(a, b)| mix(a, b)).collect(),
        running: (a.running.iter().zip(&b.running))
            .map(|(a, b)| Running {
                mean: mix(&a.mean, &b.mean),
                variance: mix(&a.variance, &b.variance),
            })
            .collect(),
        batches_tracked: a.batches_tracked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excess_over_the_line_between_the_ends() {
        let ts = [0.0, 0.25, 0.5, 0.75, 1.0];
        assert_eq!(excess(&ts, &[1.0, 1.5, 4.0, 2.5, 3.0]), 2.0);
        assert_eq!(excess(&ts, &[0.0, 1.0, 2.0, 3.0, 4.0]), 0.0);
    }
}
