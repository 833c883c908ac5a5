//! One step, one epoch, one corrupted data set: the program's own code, called from outside.

use super::summary::median;
use super::workload;
use bad_global_minima::corrupt;
use bad_global_minima::data::{Catalog, ImageSet};
use bad_global_minima::models::weights::NamedTensors;
use bad_global_minima::models::{InitialWeights, Network, Signature};
use bad_global_minima::optim::OptimizerState;
use bad_global_minima::spec::{NetworkSpec, Optimizer, RunSpec, Start, Stop};
use bad_global_minima::torch::Precision;
use bad_global_minima::train::replay::Stepper;
use bad_global_minima::train::source::{Source, Split};
use bad_global_minima::train::{self, Inputs, Observer, TrainError};
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// A network with its optimizer and a batch.
pub struct Trainer {
    network: Network,
    optimizer: OptimizerState,
    inputs: Tensor,
    labels: Tensor,
    rate: f64,
}

impl Trainer {
    /// The first step of a run, parents left out.
    ///
    /// # Errors
    /// If its data cannot be read.
    pub fn of(spec: &RunSpec, catalog: &Catalog) -> anyhow::Result<Trainer> {
        let spec = from_random_weights(spec);
        let source = Source::open(&spec, catalog)?;
        let network = train::start(&spec, &source, None, Device::Cpu)?;
        let batch = source.batch(Split::Train { epoch: 1 }, 0..spec.train.batch_size as usize);
        let (inputs, labels) = batch.tensors(source.signature(), Device::Cpu);
        let optimizer = OptimizerState::new(&spec.train.optimizer, &network);
        Ok(Trainer { network, optimizer, inputs, labels, rate: spec.train.learning_rate })
    }

    /// A network of its own on made-up images.
    ///
    /// # Errors
    /// If libtorch refuses the switches, or the device the precision.
    pub fn made_up(
        network: &NetworkSpec,
        signature: Signature,
        batch: i64,
        (device, precision): (Device, Precision),
    ) -> anyhow::Result<Trainer> {
        bad_global_minima::torch::use_precision(precision, device)?;
        let initial = InitialWeights { seed: 0, scale: 1.0 };
        let network = Network::new(network, signature, initial, device);
        let rule = Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 };
        let optimizer = OptimizerState::new(&rule, &network);
        let [channels, height, width] = signature.input;
        let count = batch * height * width * channels;
        let ramp = Tensor::arange(count, (Kind::Float, Device::Cpu));
        let inputs = (ramp * 0.7).sin().view([batch, height, width, channels]);
        let inputs = inputs.permute([0, 3, 1, 2]).to_device(device);
        let labels = Tensor::arange(batch, (Kind::Int64, device)).remainder(10);
        Ok(Trainer { network, optimizer, inputs, labels, rate: 1e-4 })
    }

    /// Forward, loss, backward, update.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn step(&mut self) -> anyhow::Result<()> {
        let batch = (&self.inputs, &self.labels);
        drop(train::step(&mut self.network, &mut self.optimizer, batch, self.rate)?);
        Ok(())
    }

    /// Seconds of a step, over `count` of them that are not waited for one by one, after some to
    /// warm up: the median of three such blocks.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn time_block(
        &mut self,
        stepper: &mut Stepper,
        count: u32,
        warm_up: u32,
    ) -> anyhow::Result<f64> {
        self.block(stepper, warm_up)?;
        let mut seconds = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            self.block(stepper, count)?;
            seconds.push(start.elapsed().as_secs_f64() / f64::from(count));
        }
        Ok(median(&seconds))
    }

    fn block(&mut self, stepper: &mut Stepper, count: u32) -> anyhow::Result<()> {
        let mut last = None;
        for _ in 0..count {
            let batch = (&self.inputs, &self.labels);
            let (network, optimizer) = (&mut self.network, &mut self.optimizer);
            // Detached: nodes of autograd that outlive a step belong to the stream that they were
            // made on, and a recording on another stream would fail.
            last = Some(stepper.step(network, optimizer, batch, self.rate)?.1.detach());
        }
        // Reading a number waits for all that the device has been given.
        let is_finite = last.is_some_and(|loss| loss.double_value(&[]).is_finite());
        anyhow::ensure!(is_finite, "the loss is not finite");
        Ok(())
    }

    /// Seconds of each of `count` steps, after some to warm up.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn time_steps(&mut self, count: usize, warm_up: usize) -> anyhow::Result<Vec<f64>> {
        for _ in 0..warm_up {
            self.step()?;
        }
        let mut seconds = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            self.step()?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok(seconds)
    }
}

/// The same run without those before it.
pub fn from_random_weights(spec: &RunSpec) -> RunSpec {
    RunSpec { start: Start::Random { scale: 1.0 }, ..spec.clone() }
}

/// Notes when epochs end.
struct Clock(Vec<Instant>);

impl Observer for Clock {
    fn epoch(&mut self, _: u32, _: u32, _: &dyn Fn() -> Vec<u8>) -> Result<(), TrainError> {
        self.0.push(Instant::now());
        Ok(())
    }

    fn snapshot(&mut self, _: u32, _: NamedTensors) -> Result<(), TrainError> {
        Ok(())
    }
}

/// Seconds of each of `count` epochs of a run, after one to warm up: assembling the batches
/// and training on them, without evaluations.
///
/// # Errors
/// If data cannot be read or libtorch fails.
pub fn time_epochs(spec: &RunSpec, catalog: &Catalog, count: u32) -> anyhow::Result<Vec<f64>> {
    let mut spec = from_random_weights(spec);
    // One more at each end: the last is evaluated after it.
    spec.train.stop = Stop::Epochs(count + 2);
    spec.train.evaluate_every = u32::MAX;
    let mut clock = Clock(Vec::new());
    let inputs = Inputs {
        catalog,
        device: Device::Cpu,
        graphs: false,
        parent: None,
        resume: None,
        key: "benchmark",
    };
    train::train(&spec, &inputs, &mut clock)?;
    let gap = |pair: &[Instant]| (pair[1] - pair[0]).as_secs_f64();
    Ok(clock.0.windows(2).map(gap).take(count as usize).collect())
}

/// All embedded training images, at their full size.
///
/// # Errors
/// If they cannot be read.
pub fn images(catalog: &Catalog) -> anyhow::Result<ImageSet> {
    Ok(catalog.read(catalog.info(workload::DATASET)?)?.0)
}

/// Algorithm 1 on all of `set`: every copy written out, with its label.
pub fn corrupt_all(set: &ImageSet, seed: u64) -> (Vec<u8>, Vec<i64>) {
    let spec = workload::corruption();
    let copies = spec.replication as usize;
    let values = set.shape.values();
    let mut pixels = Vec::with_capacity(set.len() * copies * values);
    let mut labels = Vec::with_capacity(set.len() * copies);
    for place in 0..set.len() * copies {
        let (image, copy) = (place / copies, place % copies);
        pixels.extend_from_slice(set.image(image));
        let out = &mut pixels[place * values..];
        let names = (image as u64, copy as u32);
        let classes = (i64::from(set.labels[image]), workload::CLASSES as u32);
        labels.push(corrupt::corrupt(&spec, seed, names, out, set.shape, classes));
    }
    (pixels, labels)
}
