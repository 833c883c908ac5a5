//! One step, one epoch, one corrupted data set: the program's own code, called from outside.

use super::summary::median;
use super::workload;
use bad_global_minima::backend::{Backend, Batch, Crop, Device, PixelSet, Side, Totals};
use bad_global_minima::corrupt;
use bad_global_minima::data::{Catalog, ImageSet};
use bad_global_minima::engine::{EngineDevice, Options, Simd};
use bad_global_minima::models::graph::{Graph, Signature};
use bad_global_minima::models::state::{InitialWeights, State};
use bad_global_minima::models::weights::NamedTensors;
use bad_global_minima::spec::{NetworkSpec, Optimizer, Precision, RunSpec, Start, Stop};
use bad_global_minima::train::source::{self, Source, Split};
use bad_global_minima::train::{self, Inputs, Observer, TrainError};
use std::time::Instant;

/// This machine's CPU with the engine.
pub fn cpu(threads: usize) -> EngineDevice {
    EngineDevice(Options { simd: Simd::detect(), threads })
}

/// A network with its update rule and a batch.
pub struct Trainer {
    backend: Box<dyn Backend>,
    batch: source::Batch,
    /// Whether the device keeps the batch.
    kept: bool,
    rate: f64,
}

impl Trainer {
    /// The first step of a run on one core, parents left out.
    ///
    /// # Errors
    /// If its data cannot be read.
    pub fn of(spec: &RunSpec, catalog: &Catalog) -> anyhow::Result<Trainer> {
        let spec = from_random_weights(spec);
        let source = Source::open(&spec, catalog)?;
        let graph = Graph::new(&spec.network, source.signature());
        let state = train::start(&spec, &graph, source.seed(), None)?;
        let mut backend = train::open(&spec, &graph, &state, &cpu(1))?;
        backend.set_optimizer(&spec.train.optimizer);
        let batch = source.batch(Split::Train { epoch: 1 }, 0..spec.train.batch_size as usize);
        Ok(Trainer { backend, batch, kept: false, rate: spec.train.learning_rate })
    }

    /// A network of its own on made-up images.
    ///
    /// # Errors
    /// If the device has not the precision or the memory.
    pub fn made_up(
        network: &NetworkSpec,
        signature: Signature,
        examples: usize,
        (device, precision): (&dyn Device, Precision),
    ) -> anyhow::Result<Trainer> {
        let graph = Graph::new(network, signature);
        let state = State::random(&graph, InitialWeights { seed: 0, scale: 1.0 });
        let mut backend = device.open(&graph, &state, precision)?;
        backend.set_optimizer(&Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 });
        let pixel = |place: usize| (place * 7919 % 251) as u8;
        let values = signature.input.values();
        let label = |example: usize| (example % workload::CLASSES) as i64;
        let table: Vec<f32> = (0..256).map(|value| value as f32 / 64.0 - 2.0).collect();
        let inputs = (0..examples * values).map(|place| table[usize::from(pixel(place))]);
        let batch =
            source::Batch { inputs: inputs.collect(), labels: (0..examples).map(label).collect() };
        let read = |example: usize, out: &mut [u8]| {
            for (place, value) in out.iter_mut().enumerate() {
                *value = pixel(example * values + place);
            }
            label(example)
        };
        let set = PixelSet {
            examples,
            crop: signature.input,
            padding: 0,
            table: table.repeat(signature.input.channels),
            read: &read,
        };
        let kept = backend.keep(Side::Train, &set)?;
        if kept {
            let crop = |example| Crop { example, top: 0, left: 0, flip: false };
            let crops: Vec<Crop> = (0..examples as u32).map(crop).collect();
            backend.open_pass(Side::Train, &crops)?;
        }
        Ok(Trainer { backend, batch, kept, rate: 1e-4 })
    }

    /// Forward, loss, backward, update.
    ///
    /// # Errors
    /// If the device fails.
    pub fn step(&mut self) -> anyhow::Result<()> {
        let batch = match self.kept {
            true => Batch::Resident(0..self.batch.labels.len()),
            false => Batch::Host(self.batch.examples()),
        };
        Ok(self.backend.train(&batch, self.rate)?)
    }

    /// Seconds of a step, over `count` of them that are not waited for one by one, after some to
    /// warm up: the median of three such blocks.
    ///
    /// # Errors
    /// If the device fails.
    pub fn time_block(&mut self, count: u32, warm_up: u32) -> anyhow::Result<f64> {
        self.block(warm_up)?;
        let mut seconds = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            self.block(count)?;
            seconds.push(start.elapsed().as_secs_f64() / f64::from(count));
        }
        Ok(median(&seconds))
    }

    fn block(&mut self, count: u32) -> anyhow::Result<()> {
        self.backend.set_totals(Totals::default());
        for _ in 0..count {
            self.step()?;
        }
        // Reading a number waits for all that the device has been given.
        anyhow::ensure!(self.backend.totals().loss.is_finite(), "the loss is not finite");
        Ok(())
    }

    /// Seconds of each of `count` steps, after some to warm up.
    ///
    /// # Errors
    /// If the device fails.
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
/// If data cannot be read or the device fails.
pub fn time_epochs(spec: &RunSpec, catalog: &Catalog, count: u32) -> anyhow::Result<Vec<f64>> {
    let mut spec = from_random_weights(spec);
    // One more at each end: the last is evaluated after it.
    spec.train.stop = Stop::Epochs(count + 2);
    spec.train.evaluate_every = u32::MAX;
    let mut clock = Clock(Vec::new());
    let inputs = Inputs { catalog, device: &cpu(1), parent: None, resume: None, key: "benchmark" };
    train::train(&spec, &inputs, &mut clock)?;
    let gap = |pair: &[Instant]| (pair[1] - pair[0]).as_secs_f64();
    Ok(clock.0.windows(2).map(gap).take(count as usize).collect())
}

/// All embedded training images, at their full size.
///
/// # Errors
/// If they cannot be read.
pub fn images(catalog: &Catalog) -> anyhow::Result<ImageSet> {
    Ok(catalog.read(&catalog.info(workload::DATASET)?)?.0)
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
