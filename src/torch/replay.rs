//! Steps that are recorded once and replayed. A step of a small network is some two hundred
//! short kernels, and a GPU can wait longer for their launches than it works; a CUDA graph
//! launches them together. The kernels are the same in the same order, so are the bits.
//!
//! A recording holds addresses and constants: it serves one batch size and one learning rate,
//! and reads its batch from tensors of its own.

use super::backend::step;
use super::network::Network;
use super::optim::UpdateRule;
use super::{Graph, TorchError};
use tch::{Device, Tensor};

/// Steps of a batch size that are made plainly before one is recorded: libraries choose
/// kernels and set up work space in the first ones.
const WARM_UP: u32 = 3;

/// Runs work by recording it, and again by replaying the recording.
pub trait Recorder: Sized {
    /// Nothing is recorded yet.
    ///
    /// # Errors
    /// If `device` cannot record.
    fn new(device: Device) -> Result<Self, TorchError>;

    /// Runs `work`, which must use the same tensors each time. Whether it is called is up to
    /// the recorder; its effects on the device are the same.
    ///
    /// # Errors
    /// What `work` gives, or if recording or replaying fails.
    fn run(&mut self, work: &mut dyn FnMut() -> Result<(), TorchError>) -> Result<(), TorchError>;
}

impl Recorder for Graph {
    fn new(device: Device) -> Result<Self, TorchError> {
        Graph::new(device)
    }

    fn run(&mut self, work: &mut dyn FnMut() -> Result<(), TorchError>) -> Result<(), TorchError> {
        if !self.is_recorded() {
            self.record(work)?;
        }
        self.replay()
    }
}

/// One recorded step.
struct Recorded<R> {
    recorder: R,
    /// `[batch, channels, height, width]`, overwritten before each step.
    inputs: Tensor,
    /// `[batch]`, likewise.
    labels: Tensor,
    /// Logits `[batch, outputs]` and loss, overwritten by each step.
    outputs: Option<(Tensor, Tensor)>,
}

/// Makes the steps of one run.
pub struct Stepper<R: Recorder = Graph> {
    device: Option<Device>,
    rate: f64,
    /// Plain steps by batch size.
    seen: Vec<(i64, u32)>,
    recorded: Vec<Recorded<R>>,
}

impl<R: Recorder> Stepper<R> {
    /// Makes each step plainly.
    pub fn plain() -> Self {
        Stepper { device: None, rate: f64::NAN, seen: Vec::new(), recorded: Vec::new() }
    }

    /// Records steps on `device` and replays them.
    pub fn replaying(device: Device) -> Self {
        Stepper { device: Some(device), ..Stepper::plain() }
    }

    /// Forgets the recordings, whose tensors are no longer those of the rule.
    pub fn forget(&mut self) {
        self.recorded.clear();
        self.seen.clear();
    }

    /// As [`step`]; the logits and the loss may be overwritten by the next one.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn step(
        &mut self,
        network: &mut Network,
        rule: &mut UpdateRule,
        batch: (&Tensor, &Tensor),
        rate: f64,
    ) -> Result<(Tensor, Tensor), TorchError> {
        let Some(device) = self.device else {
            return step(network, rule, batch, rate);
        };
        let (inputs, labels) = batch;
        let size = labels.size()[0];
        if self.is_warming_up(size) {
            return step(network, rule, batch, rate);
        }
        if rate.to_bits() != self.rate.to_bits() {
            self.recorded.clear();
            self.rate = rate;
        }
        let fits = |r: &Recorded<R>| r.labels.size()[0] == size;
        let place = match self.recorded.iter().position(fits) {
            Some(place) => place,
            None => {
                let (inputs, labels) = (inputs.empty_like(), labels.empty_like());
                let recorder = R::new(device)?;
                self.recorded.push(Recorded { recorder, inputs, labels, outputs: None });
                self.recorded.len() - 1
            }
        };
        let tracked = network.batches_tracked + 1;
        let outputs = self.recorded[place].run(batch, |own| step(network, rule, own, rate))?;
        // Counted on the host, which a replay does not reach.
        network.batches_tracked = tracked;
        Ok(outputs)
    }

    fn is_warming_up(&mut self, size: i64) -> bool {
        let place = self.seen.iter().position(|(seen, _)| *seen == size);
        let place = place.unwrap_or_else(|| {
            self.seen.push((size, 0));
            self.seen.len() - 1
        });
        let (_, steps) = &mut self.seen[place];
        *steps += 1;
        *steps <= WARM_UP
    }
}

impl<R: Recorder> Recorded<R> {
    /// Makes the step on copies of a batch that lie where the recording looks for them.
    fn run(
        &mut self,
        (inputs, labels): (&Tensor, &Tensor),
        mut step: impl FnMut((&Tensor, &Tensor)) -> Result<(Tensor, Tensor), TorchError>,
    ) -> Result<(Tensor, Tensor), TorchError> {
        let Recorded { recorder, inputs: x, labels: y, outputs } = self;
        x.copy_(inputs);
        y.copy_(labels);
        recorder.run(&mut || {
            *outputs = Some(step((x, y))?);
            Ok(())
        })?;
        let (logits, loss) = outputs
            .as_ref()
            .ok_or_else(|| TorchError::Call("a recorded step gave nothing".to_owned()))?;
        Ok((logits.shallow_clone(), loss.shallow_clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::graph::{self, Shape, Signature};
    use crate::models::state::{InitialWeights, State};
    use crate::spec::{Arch, NetworkSpec, Optimizer};
    use std::cell::Cell;
    use tch::Kind;

    thread_local! {
        static RECORDINGS: Cell<u32> = const { Cell::new(0) };
        static RUNS: Cell<u32> = const { Cell::new(0) };
    }

    /// Does the work each time, as a replay would, on the recording's own tensors.
    struct Again;

    impl Recorder for Again {
        fn new(_: Device) -> Result<Self, TorchError> {
            RECORDINGS.set(RECORDINGS.get() + 1);
            Ok(Again)
        }

        fn run(
            &mut self,
            work: &mut dyn FnMut() -> Result<(), TorchError>,
        ) -> Result<(), TorchError> {
            RUNS.set(RUNS.get() + 1);
            work()
        }
    }

    fn network() -> Network {
        let spec = NetworkSpec { arch: Arch::Resnet18, width: 4, batch_norm: true };
        let signature = Signature { input: Shape::new(1, 8, 8), outputs: 10 };
        let graph = graph::Graph::new(&spec, signature);
        let state = State::random(&graph, InitialWeights { seed: 3, scale: 1.0 });
        Network::new(&graph, &state, Device::Cpu)
    }

    /// Batches of 8, 8, 8 and 3 examples for six epochs, the rate lower from the fourth on.
    fn train(mut stepper: Stepper<Again>, rule: &Optimizer) -> (Vec<f32>, State) {
        let mut network = network();
        let mut rule = UpdateRule::new(rule, &network);
        let mut losses = Vec::new();
        for epoch in 0..6 {
            let rate = if epoch < 3 { 0.05 } else { 0.01 };
            for (batch, size) in [8_i64, 8, 8, 3].into_iter().enumerate() {
                let values = size * 64;
                let start = (epoch * 7 + batch as i64) as f64;
                let x = (Tensor::arange(values, (Kind::Float, Device::Cpu)) * 0.37 + start).sin();
                let x = x.view([size, 1, 8, 8]);
                let y = (Tensor::arange(size, (Kind::Int64, Device::Cpu)) + epoch).remainder(10);
                let (logits, loss) = stepper.step(&mut network, &mut rule, (&x, &y), rate).unwrap();
                assert_eq!(logits.size(), [size, 10]);
                losses.push(loss.double_value(&[]) as f32);
            }
        }
        assert_eq!(network.batches_tracked, 24);
        (losses, network.state())
    }

    #[test]
    fn steps_on_own_tensors_keep_every_bit() {
        crate::torch::initialize().unwrap();
        for rule in [
            Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 },
            Optimizer::Adam { weight_decay: 5e-4 },
        ] {
            RECORDINGS.set(0);
            RUNS.set(0);
            let plain = train(Stepper::plain(), &rule);
            assert_eq!(RUNS.get(), 0);
            let replayed = train(Stepper::replaying(Device::Cpu), &rule);
            assert!(plain == replayed);
            // Of 18 batches of 8 and 6 of 3, three each are made plainly. The large batch is
            // recorded at both rates; the small one is seen three times at the first.
            assert_eq!(RUNS.get(), 15 + 3);
            assert_eq!(RECORDINGS.get(), 3);
        }
    }

    #[test]
    fn a_device_that_cannot_record_says_so() {
        crate::torch::initialize().unwrap();
        let Err(problem) = Graph::new(Device::Cpu) else { panic!("a CPU has no CUDA graphs") };
        assert!(problem.to_string().contains("CUDA graphs"), "{problem}");
    }
}
