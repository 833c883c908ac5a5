//! What a run will take, estimated before it is made.
//!
//! Seconds on one core of the machine that the references were made on, from a count of
//! multiply-adds and of steps: `examples * operations / RATE + steps * OVERHEAD`. The two
//! constants were fitted to stored runs (`bgm plan` shows estimates beside measured times);
//! they order work and feed progress bars, and no result depends on them.

use crate::spec::{Arch, DataSpec, RunSpec, Stop};

/// Multiply-adds a second of a training step on one core.
const RATE: f64 = 3.0e10;
/// Seconds that a step of one layer takes whatever its size.
const LAYER_OVERHEAD: f64 = 1.4e-5;
/// Fraction of its epochs that a memorizing run is expected to need.
const MEMORIZED_AT: f64 = 0.3;

/// Estimated seconds of a run on one core of the reference machine.
pub fn seconds(spec: &RunSpec) -> f64 {
    let (examples, pixels) = match &spec.data {
        DataSpec::Toy(toy) => (2.0 * f64::from(toy.points_per_class), 1.0),
        DataSpec::Images(images) => {
            let (count, side) = match images.dataset.as_str() {
                "fashion-mnist-subset" => (2_000.0, 28.0),
                "fashion-mnist" => (60_000.0, 28.0),
                "cinic-10" => (90_000.0, 32.0),
                "restricted-imagenet" => (257_000.0, 224.0),
                _ => (50_000.0, 32.0),
            };
            let count = if images.train == 0 { count } else { f64::from(images.train) };
            let side = side / f64::from(images.pool);
            (count, side * side)
        }
    };
    let train = &spec.train;
    let copies = train.corruption.as_ref().map_or(1.0, |c| f64::from(c.replication))
        * train.noise_copies.as_ref().map_or(1.0, |n| f64::from(n.copies + 1));
    let epochs = match train.stop {
        Stop::Epochs(epochs) => f64::from(epochs),
        Stop::Memorized { max_epochs, .. } => MEMORIZED_AT * f64::from(max_epochs),
    };
    let seen = examples * copies * epochs;
    let width = f64::from(spec.network.width);
    // Multiply-adds of one forward pass per pixel at width 1, and layers, of each network.
    let (operations, layers) = match spec.network.arch {
        Arch::Mlp => (width * width + 2.0 * width * pixels, 3.0),
        Arch::Resnet18 => (pixels * width * width * 132.0, 20.0),
        Arch::Resnet50 => (pixels * width * width * 310.0, 53.0),
        Arch::Vgg16 => (pixels * width * width * 75.0, 13.0),
        Arch::Densenet40 => (pixels * width * width * 470.0, 39.0),
    };
    // Forward and backward take about three forward passes.
    seen * 3.0 * operations / RATE
        + seen / f64::from(train.batch_size) * 3.0 * layers * LAYER_OVERHEAD
}
