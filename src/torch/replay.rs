//! Steps that are recorded once and replayed. A step of a small network is some two hundred
//! short kernels, and a GPU can wait longer for their launches than it works; a CUDA graph
//! launches them together. The kernels are the same in the same order, so are the bits.
//!
//! A recording holds addresses and constants: it serves one batch size and one learning rate,
//! and reads its batch from tensors of its own.

use super::network::Network;
use super::optim::{UpdateRule, step};
use super::{Graph, TorchError};
use tch::{Device, Tensor};

/// Steps of a batch size that are made plainly before one is recorded: libraries choose
/// kernels and set up work space in the first ones.
const WARM_UP: u32 = 3;

/// Work on a device, which uses the same tensors each time.
pub type Work<'w> = dyn FnMut() -> Result<(), TorchError> + 'w;

/// Records work once and runs the recording as often as wanted.
pub trait Recorder: Sized {
    /// Nothing is recorded yet.
    ///
    /// # Errors
    /// If `device` cannot record.
    fn new(device: Device) -> Result<Self, TorchError>;

    /// Records `work` without running any of it on the device.
    ///
    /// # Errors
    /// What `work` gives, or if it cannot be recorded.
    fn record(&mut self, work: &mut Work<'_>) -> Result<(), TorchError>;

    /// Runs what was recorded, which was this `work`.
    ///
    /// # Errors
    /// If the device fails.
    fn replay(&mut self, work: &mut Work<'_>) -> Result<(), TorchError>;
}

impl Recorder for Graph {
    fn new(device: Device) -> Result<Self, TorchError> {
        Graph::new(device)
    }

    fn record(&mut self, work: &mut Work<'_>) -> Result<(), TorchError> {
        Graph::record(self, work)
    }

    fn replay(&mut self, _: &mut Work<'_>) -> Result<(), TorchError> {
        Graph::replay(self)
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
    /// Where steps are recorded; `None`: they are made one by one.
    device: Option<Device>,
    /// Told in words, once, if they cannot be recorded.
    warn: fn(&str),
    rate: f64,
    /// Plain steps by batch size.
    seen: Vec<(i64, u32)>,
    recorded: Vec<Recorded<R>>,
}

impl<R: Recorder> Stepper<R> {
    /// Makes each step plainly.
    pub fn plain() -> Self {
        Stepper {
            device: None,
            warn: |_| {},
            rate: f64::NAN,
            seen: Vec::new(),
            recorded: Vec::new(),
        }
    }

    /// Records steps on `device` and replays them. Where that is refused, `warn` is told why,
    /// and steps are plain from there on.
    pub fn replaying(device: Device, warn: fn(&str)) -> Self {
        Stepper { device: Some(device), warn, ..Stepper::plain() }
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
        let before = network.batches_tracked;
        let mut work = |own: (&Tensor, &Tensor)| step(network, rule, own, rate);
        let fits = |r: &Recorded<R>| r.labels.size()[0] == size;
        let place = match self.recorded.iter().position(fits) {
            Some(place) => place,
            None => {
                match Recorded::new(device, (inputs.empty_like(), labels.empty_like()), &mut work) {
                    Ok(recorded) => {
                        self.recorded.push(recorded);
                        self.recorded.len() - 1
                    }
                    Err(problem) => {
                        self.give_up(&problem);
                        network.batches_tracked = before;
                        return step(network, rule, batch, rate);
                    }
                }
            }
        };
        let outputs = self.recorded[place].replay(batch, &mut work)?;
        // Counted on the host, which a replay does not reach.
        network.batches_tracked = before + 1;
        Ok(outputs)
    }

    fn give_up(&mut self, problem: &TorchError) {
        (self.warn)(&format!(
            "a step cannot be recorded as a CUDA graph ({problem}); steps are launched kernel by \
             kernel, which takes longer and gives the same bits"
        ));
        self.device = None;
        self.recorded.clear();
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

/// A step on a batch: logits and loss.
type StepOn<'s> = dyn FnMut((&Tensor, &Tensor)) -> Result<(Tensor, Tensor), TorchError> + 's;

impl<R: Recorder> Recorded<R> {
    /// Records a step on these tensors, whose values are of no account.
    fn new(
        device: Device,
        (inputs, labels): (Tensor, Tensor),
        step: &mut StepOn<'_>,
    ) -> Result<Self, TorchError> {
        let (mut recorder, mut outputs) = (R::new(device)?, None);
        recorder.record(&mut || {
            outputs = Some(step((&inputs, &labels))?);
            Ok(())
        })?;
        Ok(Recorded { recorder, inputs, labels, outputs })
    }

    /// Makes the step on copies of a batch that lie where the recording looks for them.
    fn replay(
        &mut self,
        (inputs, labels): (&Tensor, &Tensor),
        step: &mut StepOn<'_>,
    ) -> Result<(Tensor, Tensor), TorchError> {
        let Recorded { recorder, inputs: x, labels: y, outputs } = self;
        x.copy_(inputs);
        y.copy_(labels);
        recorder.replay(&mut || {
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
        static WARNINGS: Cell<u32> = const { Cell::new(0) };
    }

    /// Does the work each time, as a replay would, on the recording's own tensors.
    struct Again;

    impl Recorder for Again {
        fn new(_: Device) -> Result<Self, TorchError> {
            RECORDINGS.set(RECORDINGS.get() + 1);
            Ok(Again)
        }

        fn record(&mut self, _: &mut Work<'_>) -> Result<(), TorchError> {
            Ok(())
        }

        fn replay(&mut self, work: &mut Work<'_>) -> Result<(), TorchError> {
            RUNS.set(RUNS.get() + 1);
            work()
        }
    }

    /// Records two steps and refuses the third.
    struct Refusing;

    impl Recorder for Refusing {
        fn new(_: Device) -> Result<Self, TorchError> {
            RECORDINGS.set(RECORDINGS.get() + 1);
            Ok(Refusing)
        }

        fn record(&mut self, _: &mut Work<'_>) -> Result<(), TorchError> {
            if RECORDINGS.get() < 3 {
                return Ok(());
            }
            Err(TorchError::Call("cudaErrorStreamCaptureUnsupported".to_owned()))
        }

        fn replay(&mut self, work: &mut Work<'_>) -> Result<(), TorchError> {
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
    fn train<R: Recorder>(mut stepper: Stepper<R>, rule: &Optimizer) -> (Vec<f32>, State) {
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
            let plain = train(Stepper::<Again>::plain(), &rule);
            assert_eq!(RUNS.get(), 0);
            let replayed = train(Stepper::<Again>::replaying(Device::Cpu, |_| {}), &rule);
            assert!(plain == replayed);
            // Of 18 batches of 8 and 6 of 3, three each are made plainly. The large batch is
            // recorded at both rates; the small one is seen three times at the first.
            assert_eq!(RUNS.get(), 15 + 3);
            assert_eq!(RECORDINGS.get(), 3);
        }
    }

    #[test]
    fn what_cannot_be_recorded_is_made_plainly_and_said_once() {
        crate::torch::initialize().unwrap();
        let rule = Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 };
        RECORDINGS.set(0);
        RUNS.set(0);
        let plain = train(Stepper::<Again>::plain(), &rule);
        let warn: fn(&str) = |text| {
            assert!(text.contains("cudaErrorStreamCaptureUnsupported"), "{text}");
            WARNINGS.set(WARNINGS.get() + 1);
        };
        let replayed = train(Stepper::<Refusing>::replaying(Device::Cpu, warn), &rule);
        assert!(plain == replayed);
        // The large batch is recorded and replayed at both rates, until the small one is refused
        // in the epoch of the drop.
        assert_eq!((WARNINGS.get(), RECORDINGS.get(), RUNS.get()), (1, 3, 6 + 3));
        // A device that has none at all.
        WARNINGS.set(0);
        let refused = |text: &str| {
            assert!(text.contains("CUDA graphs need a GPU"), "{text}");
            WARNINGS.set(WARNINGS.get() + 1);
        };
        assert!(plain == train(Stepper::<Graph>::replaying(Device::Cpu, refused), &rule));
        assert_eq!(WARNINGS.get(), 1);
    }

    #[test]
    fn a_device_that_cannot_record_says_so() {
        crate::torch::initialize().unwrap();
        let Err(problem) = Graph::new(Device::Cpu) else { panic!("a CPU has no CUDA graphs") };
        assert!(problem.to_string().contains("CUDA graphs"), "{problem}");
    }
}
