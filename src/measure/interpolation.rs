//! Loss and accuracy along the straight line between two minima.

use super::{Problem, Subject, examples};
use crate::experiments::results::Measured;
use crate::models::Mode;
use crate::models::weights::{NamedTensors, load_state, state};
use crate::train::feed::Feed;
use crate::train::source::Split;
use crate::train::{EVALUATION_BATCH, build, measure_split};
use tch::Kind;

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
/// If the other run is not there, its weights do not fit, or the measurement is told to stop.
pub fn measure(subject: &Subject<'_>, points: u32) -> Result<Measured, Problem> {
    let other = subject.counterpart.ok_or("the run at the other end is not there")?;
    let here = state(subject.network);
    let mut network = build(subject.spec, subject.source, subject.device);
    // One pass, so that every layer has statistics of one input; more would not fit a device.
    let calibration = examples(subject, Split::TrainPlain, EVALUATION_BATCH).next();
    let (calibration, _) = calibration.ok_or("there are no training images")?;
    let feed = Feed::new(subject.source, subject.device);
    let points = points.max(3);
    let [mut ts, mut losses, mut train, mut test] = [const { Vec::new() }; 4];
    for point in 0..points {
        let t = f64::from(point) / f64::from(points - 1);
        load_state(&mut network, &between(&here, other, t)?).map_err(|e| e.to_string())?;
        subject.go_on()?;
        drop(tch::no_grad(|| network.forward(&calibration, Mode::Calibrate)));
        let on_train = measure_split(&network, &feed, Split::TrainPlain, subject.stop)?;
        let on_test = measure_split(&network, &feed, Split::Test, subject.stop)?;
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

fn between(a: &NamedTensors, b: &NamedTensors, t: f64) -> Result<NamedTensors, String> {
    a.iter()
        .map(|(name, from)| {
            let to = b.get(name).ok_or_else(|| format!("tensor '{name}' is missing there"))?;
            let mixed = if from.kind() == Kind::Float {
                from * (1.0 - t) + to * t
            } else {
                from.shallow_clone()
            };
            Ok((name.clone(), mixed))
        })
        .collect()
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
