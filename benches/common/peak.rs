//! The machine's limit: what a large matrix product reaches on the same cores in the same
//! run, and what part of it the steps of a network reach.

use super::summary::median;
use super::trainer::{self, Trainer};
use super::workload;
use bad_global_minima::spec::Precision;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// Sides of the square matrices that are tried.
const SIDES: [i64; 3] = [1024, 2048, 3072];
const REPEATS: usize = 3;
/// Steps of the full-width network, each between two products.
pub const ROUNDS: usize = 5;

/// Floating-point operations a second of the fastest of some square `f32` products on
/// `threads` threads, each the median of a few. libtorch brings two libraries that multiply, MKL
/// and oneDNN, and neither is the faster one on all processors: both are tried.
pub fn product(threads: i32) -> f64 {
    tch::set_num_threads(threads);
    let speed = |side: i64| {
        let matrix = |scale: f64| {
            let ramp = Tensor::arange(side * side, (Kind::Float, Device::Cpu));
            (ramp * scale).sin().view([side, side])
        };
        let (a, b) = (matrix(0.3), matrix(0.7));
        let onednn = a.f_to_mkldnn(Kind::Float).ok();
        let time = |product: &dyn Fn() -> Tensor| {
            let time = |_| {
                let start = Instant::now();
                let product = product();
                let seconds = start.elapsed().as_secs_f64();
                assert_eq!(product.size(), [side, side]);
                seconds
            };
            let seconds: Vec<f64> = (0..=REPEATS).map(time).skip(1).collect();
            2.0 * (side as f64).powi(3) / median(&seconds)
        };
        let mkl = time(&|| a.matmul(&b));
        onednn.map_or(mkl, |a| mkl.max(time(&|| a.mkldnn_linear::<Tensor>(&b, None))))
    };
    SIDES.into_iter().map(speed).fold(0.0, f64::max)
}

/// What part of the peak a network reaches.
#[derive(Clone, Debug)]
pub struct Reached {
    pub threads: i32,
    /// Operations a second of the matrix product, the median over the rounds.
    pub peak: f64,
    /// Seconds of a training step, the median over the rounds.
    pub step: f64,
    /// Operations of a step over its seconds and the peak around it, round by round, sorted.
    fractions: Vec<f64>,
    /// The part of the operations that do not multiply padding.
    inside: f64,
}

impl Reached {
    /// The median over the rounds.
    pub fn fraction(&self) -> f64 {
        median(&self.fractions)
    }
}

/// Holds a step of the full-width ResNet18 against the peak, `rounds` times: each step is
/// compared with the mean of the products right before and right after it, so that a machine
/// whose speed moves slows both.
///
/// # Errors
/// If libtorch fails.
pub fn full_width(threads: i32, rounds: usize) -> anyhow::Result<Reached> {
    let mut trainer = Trainer::made_up(
        &workload::FULL_WIDTH,
        workload::FULL_SIZE,
        workload::FULL_BATCH,
        (&trainer::cpu(threads as usize), Precision::Strict),
    )?;
    trainer.step()?;
    let (mut peaks, mut steps) = (vec![product(threads)], Vec::new());
    for _ in 0..rounds {
        steps.extend(trainer.time_steps(1, 0)?);
        peaks.push(product(threads));
    }
    tch::set_num_threads(1);
    let count = workload::full_count();
    let flop = count.step() as f64 * workload::FULL_BATCH as f64;
    let inside = count.step_inside() as f64 / count.step() as f64;
    let around = peaks.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
    let mut fractions: Vec<f64> =
        around.zip(&steps).map(|(peak, step)| flop / step / peak).collect();
    fractions.sort_by(f64::total_cmp);
    Ok(Reached { threads, peak: median(&peaks), step: median(&steps), fractions, inside })
}

impl std::fmt::Display for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Reached { threads, peak, step, fractions, inside } = self;
        let of_peak = |fraction: Option<&f64>| 100.0 * fraction.copied().unwrap_or(f64::NAN);
        write!(
            f,
            "{threads} thread(s): matrix product {:.1} GFLOP/s; ResNet18 width 64, batch 128, \
             1x28x28: {step:.3} s a step, {:.1}% of the peak ({:.1} to {:.1} in {} rounds); without products with padding, which a \
             kernel may leave out, {:.1}%",
            peak / 1e9,
            of_peak(Some(&self.fraction())),
            of_peak(fractions.first()),
            of_peak(fractions.last()),
            fractions.len(),
            inside * of_peak(Some(&self.fraction()))
        )
    }
}
