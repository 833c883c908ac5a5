//! What a run will take, estimated before it is made.
//!
//! Seconds on one core with AVX2, from counts of multiply-adds, of the values that pass between
//! layers and of steps. The constants were fitted to steps of five networks; `bgm plan` shows
//! estimates beside measured times. They order work and feed progress bars, and no result
//! depends on them.

use super::network::graph;
use crate::data::published::DATASETS;
use crate::measure::{AttackMethod, MeasureSpec};
use crate::spec::{DataSpec, EvaluateOn, ImageDataSpec, RunSpec, Stop};

/// Multiply-adds a second of a training step on one core.
const RATE: f64 = 4.4e10;
/// Seconds of a value that is normalized, passed through ReLU, added or pooled.
const VALUE: f64 = 0.6e-9;
/// Seconds that a step of one layer takes whatever its size.
const LAYER_OVERHEAD: f64 = 5e-7;
/// Fraction of its epochs that a memorizing run is expected to need.
const MEMORIZED_AT: f64 = 0.3;
/// Floating-point operations of a multiply-add.
const FLOPS: f64 = 2.0;
/// Forward and backward take about three forward passes.
const TRAINING: f64 = 3.0;
/// Most examples that evaluations and measurements take at a time.
const AT_ONCE: f64 = 500.0;
/// Seconds of starting the program, opening the data and writing the run.
pub const START_UP: f64 = 0.5;

/// What is counted of a piece of work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Multiply-adds, of forward and backward passes together.
    pub multiply_adds: f64,
    /// Values of all layers' outputs, of forward and backward passes together.
    pub values: f64,
    /// Layers passed through, a batch at a time, forward and backward.
    pub layer_steps: f64,
}

impl std::ops::Add for Work {
    type Output = Work;

    fn add(self, other: Work) -> Work {
        Work {
            multiply_adds: self.multiply_adds + other.multiply_adds,
            values: self.values + other.values,
            layer_steps: self.layer_steps + other.layer_steps,
        }
    }
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Work>>(works: I) -> Work {
        works.fold(Work::default(), |a, b| a + b)
    }
}

impl Work {
    /// Forward passes of `examples` examples in batches.
    fn passes(spec: &RunSpec, examples: f64, batch: f64) -> Work {
        let graph = graph(spec);
        let multiply_adds = examples * graph.multiply_adds() as f64;
        let values = graph.nodes.iter().map(|node| node.shape.values() as f64).sum::<f64>();
        let layers = graph.layer_products().count() as f64;
        Work { multiply_adds, values: examples * values, layer_steps: examples / batch * layers }
    }

    fn times(self, count: f64) -> Work {
        Work {
            multiply_adds: self.multiply_adds * count,
            values: self.values * count,
            layer_steps: self.layer_steps * count,
        }
    }

    /// Training alone, as long as it is expected to take.
    pub fn of_training(spec: &RunSpec) -> Work {
        let seen = copied_examples(spec) * expected_epochs(spec);
        Work::passes(spec, seen, f64::from(spec.train.batch_size)).times(TRAINING)
    }

    /// A run, its evaluations included, as long as it is expected to take.
    pub fn of(spec: &RunSpec) -> Work {
        Work::of_training(spec) + Work::of_evaluations(spec, expected_epochs(spec))
    }

    /// A run, its evaluations included, as long as it can take.
    pub fn at_most(spec: &RunSpec) -> Work {
        let most = f64::from(spec.train.stop.max_epochs());
        let training = Work::of_training(spec).times(most / expected_epochs(spec));
        training + Work::of_evaluations(spec, most)
    }

    /// The evaluations before the first epoch, along so many and after the last: each on the
    /// training set, and on the test set as far as the spec says.
    fn of_evaluations(spec: &RunSpec, epochs: f64) -> Work {
        let along = 1.0 + ((epochs - 1.0) / f64::from(spec.train.evaluate_every.max(1))).floor();
        let all = test_examples(&spec.data);
        let fewer = match &spec.data {
            DataSpec::Images(images) => images.test_along.map_or(all, f64::from),
            DataSpec::Toy(_) => all,
        };
        let examples = (along + 1.0) * copied_examples(spec) + along * fewer + all;
        Work::passes(spec, examples, AT_ONCE.min(examples))
    }

    /// A measurement of a finished run.
    pub fn of_measure(spec: &RunSpec, measure: &MeasureSpec) -> Work {
        let pass = |examples: f64| Work::passes(spec, examples, AT_ONCE.min(examples.max(1.0)));
        match measure {
            MeasureSpec::Boundary { columns, .. } => pass(f64::from(*columns).powi(2)),
            MeasureSpec::Norms => pass(training_examples(&spec.data)),
            MeasureSpec::Attack { method, epsilon, images } => {
                let steps = match method {
                    AttackMethod::Fgsm => 1.0,
                    AttackMethod::Pgd { steps } => f64::from(*steps),
                };
                let passes = 2.0 + TRAINING * steps;
                pass(f64::from(*images)).times(passes * epsilon.len() as f64)
            }
            MeasureSpec::Sharpness { iterations, images } => {
                // A gradient with its derivatives, in double precision.
                pass(f64::from(*images)).times(20.0 * TRAINING * f64::from(*iterations))
            }
            MeasureSpec::Coherence { images } => {
                let times = 1.0 + spec.train.snapshots.len() as f64;
                Work::passes(spec, f64::from(*images), 1.0).times(TRAINING * times)
            }
            MeasureSpec::LayerDistance => Work::default(),
            MeasureSpec::Interpolation { points, .. } => {
                // Statistics and evaluation on the training set, evaluation on the test set.
                pass(3.0 * training_examples(&spec.data)).times(f64::from(*points))
            }
        }
    }

    /// Floating-point operations: two a multiply-add.
    pub fn flops(self) -> f64 {
        FLOPS * self.multiply_adds
    }

    /// Estimated seconds on one core of the reference machine.
    pub fn cpu_seconds(self) -> f64 {
        self.multiply_adds / RATE + self.values * VALUE + self.layer_steps * LAYER_OVERHEAD
    }

    /// Seconds on a device that sustains `flops` floating-point operations a second.
    pub fn device_seconds(self, flops: f64) -> f64 {
        self.flops() / flops
    }
}

/// Estimated seconds of a run on one core of the reference machine.
pub fn seconds(spec: &RunSpec) -> f64 {
    Work::of(spec).cpu_seconds()
}

/// Multiply-adds of a step below which its threads would wait for each other rather than work.
const THREADED_STEP: f64 = 4.0e6;

/// Threads that a run can use: one if its steps are small.
pub fn useful_threads(spec: &RunSpec) -> usize {
    let step = TRAINING * graph(spec).multiply_adds() as f64 * f64::from(spec.train.batch_size);
    if step < THREADED_STEP { 1 } else { usize::MAX }
}

/// Epochs that a run is expected to need.
fn expected_epochs(spec: &RunSpec) -> f64 {
    match spec.train.stop {
        Stop::Epochs(epochs) => f64::from(epochs),
        Stop::Memorized { max_epochs, .. } => MEMORIZED_AT * f64::from(max_epochs),
    }
}

/// Training examples of a run: copies of Algorithm 1 and noise copies included.
fn copied_examples(spec: &RunSpec) -> f64 {
    let train = &spec.train;
    training_examples(&spec.data)
        * train.corruption.as_ref().map_or(1.0, |c| f64::from(c.replication))
        * train.noise_copies.as_ref().map_or(1.0, |n| f64::from(n.copies + 1))
}

/// Training examples of a run, copies included; `None` of a data set of unknown size.
pub(super) fn known_examples(spec: &RunSpec) -> Option<f64> {
    let is_known = match &spec.data {
        DataSpec::Toy(_) => true,
        DataSpec::Images(images) => images.train != 0 || counts(images).is_some(),
    };
    is_known.then(|| copied_examples(spec))
}

/// Training images or points of a data set, before Algorithm 1 or noise copies.
pub fn training_examples(data: &DataSpec) -> f64 {
    match data {
        DataSpec::Toy(toy) => 2.0 * f64::from(toy.points_per_class),
        DataSpec::Images(images) if images.train != 0 => f64::from(images.train),
        DataSpec::Images(images) => whole(images, 0),
    }
}

/// Images or points that a run is tested on at its end.
fn test_examples(data: &DataSpec) -> f64 {
    match data {
        DataSpec::Toy(toy) => 2.0 * f64::from(toy.points_per_class),
        DataSpec::Images(images) if images.test != 0 => f64::from(images.test),
        DataSpec::Images(images) if images.evaluate_on == EvaluateOn::Validation => {
            (whole(images, 0) - f64::from(images.train)).max(1.0)
        }
        DataSpec::Images(images) => whole(images, 1),
    }
}

/// All training images of a data set (side 0), or all of its test images (side 1).
fn whole(images: &ImageDataSpec, side: usize) -> f64 {
    match counts(images) {
        Some(counts) => counts[side] as f64,
        // Madry et al.'s nine super-classes.
        None if images.dataset == "restricted-imagenet" => [257_000.0, 10_150.0][side],
        None => [50_000.0, 10_000.0][side],
    }
}

/// Published numbers of training and test images of a data set.
fn counts(images: &ImageDataSpec) -> Option<[u64; 2]> {
    DATASETS.iter().find(|info| info.name == images.dataset)?.counts
}
