//! The machine's limit: what a large matrix product reaches on the same cores in the same
//! run, and what part of it the steps of a network reach.

use super::summary::median;
use super::trainer::Trainer;
use super::workload;
use bad_global_minima::torch::Precision;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// Sides of the square matrices that are tried.
const SIDES: [i64; 3] = [1024, 2048, 3072];
const REPEATS: usize = 4;

/// Floating-point operations a second of the fastest of some square `f32` products on
/// `threads` threads, each the median of a few.
pub fn product(threads: i32) -> f64 {
    tch::set_num_threads(threads);
    let speed = |side: i64| {
        let matrix = |scale: f64| {
            let ramp = Tensor::arange(side * side, (Kind::Float, Device::Cpu));
            (ramp * scale).sin().view([side, side])
        };
        let (a, b) = (matrix(0.3), matrix(0.7));
        let time = |_| {
            let start = Instant::now();
            let product = a.matmul(&b);
            let seconds = start.elapsed().as_secs_f64();
            assert_eq!(product.size(), [side, side]);
            seconds
        };
        let seconds: Vec<f64> = (0..=REPEATS).map(time).skip(1).collect();
        2.0 * (side as f64).powi(3) / median(&seconds)
    };
    SIDES.into_iter().map(speed).fold(0.0, f64::max)
}

/// What part of the peak a network reaches.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    pub threads: i32,
    /// Operations a second of the matrix product, the better of one before and one after.
    pub peak: f64,
    /// Seconds of a training step.
    pub step: f64,
    /// Operations of a step over its seconds and the peak.
    pub fraction: f64,
}

/// Holds a step of the full-width ResNet18 against the peak.
///
/// # Errors
/// If libtorch fails.
pub fn full_width(threads: i32, steps: usize) -> anyhow::Result<Reached> {
    let mut trainer = Trainer::made_up(
        &workload::FULL_WIDTH,
        workload::FULL_SIZE,
        workload::FULL_BATCH,
        (Device::Cpu, Precision::Strict),
    )?;
    let before = product(threads);
    let step = median(&trainer.time_steps(steps, 1)?);
    let peak = before.max(product(threads));
    let flop = workload::full_count().step() as f64 * workload::FULL_BATCH as f64;
    tch::set_num_threads(1);
    Ok(Reached { threads, peak, step, fraction: flop / step / peak })
}

impl std::fmt::Display for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Reached { threads, peak, step, fraction } = self;
        write!(
            f,
            "{threads} thread(s): matrix product {:.1} GFLOP/s; ResNet18 width 64, batch 128, \
             1x28x28: {step:.3} s a step, {:.1} GFLOP/s, {:.1}% of the peak",
            peak / 1e9,
            fraction * peak / 1e9,
            100.0 * fraction
        )
    }
}
