//! Libtorch as a backend.

use super::ffi::Graph as CudaGraph;
use super::layers::Mode;
use super::network::{Network, predictions, total_loss, training_loss, values};
use super::optim::UpdateRule;
use super::replay::Stepper;
use super::resident::{Gather, Resident};
use super::{TorchError, platform, use_precision};
use crate::backend::{
    Backend, BackendError, Batch, Crop, Device, Examples, OptimizerState, PixelSet, Platform, Side,
    Totals, With,
};
use crate::models::graph::Graph;
use crate::models::state::State;
use crate::spec::{Optimizer, Precision};
use tch::{Kind, Tensor};

impl From<TorchError> for BackendError {
    fn from(problem: TorchError) -> Self {
        BackendError(problem.to_string())
    }
}

/// A device of libtorch.
#[derive(Clone, Copy, Debug)]
pub struct TorchDevice {
    pub device: tch::Device,
    /// Record steps as CUDA graphs and replay them, where the device can.
    pub graphs: bool,
    /// Told in words if it cannot.
    pub warn: fn(&str),
    /// Keep images in the device's memory.
    pub resident: bool,
}

impl TorchDevice {
    /// Keeps images in the memory of a GPU, and records steps there if told to.
    pub fn new(device: tch::Device, graphs: bool, warn: fn(&str)) -> TorchDevice {
        let is_gpu = device.is_cuda();
        TorchDevice { device, graphs: graphs && is_gpu, warn, resident: is_gpu }
    }
}

impl Device for TorchDevice {
    fn platform(&self) -> Platform {
        platform(self.device)
    }

    fn open(
        &self,
        graph: &Graph,
        state: &State,
        precision: Precision,
    ) -> Result<Box<dyn Backend>, BackendError> {
        use_precision(precision, self.device)?;
        Ok(Box::new(TorchBackend::new(graph, state, *self)))
    }
}

/// A network on a device of libtorch. Totals stay on the device until they are read.
pub struct TorchBackend {
    network: Network,
    rule: UpdateRule,
    stepper: Stepper<CudaGraph>,
    keeps: bool,
    kept: [Option<Resident>; 2],
    pass: Option<(Side, Gather)>,
    /// `f64`, `[]`
    loss: Tensor,
    /// `i64`, `[]`
    correct: Tensor,
}

impl TorchBackend {
    pub fn new(graph: &Graph, state: &State, device: TorchDevice) -> TorchBackend {
        let TorchDevice { device, graphs, warn, resident } = device;
        let network = Network::new(graph, state, device);
        let rule = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
        TorchBackend {
            rule: UpdateRule::new(&rule, &network),
            stepper: if graphs { Stepper::replaying(device, warn) } else { Stepper::plain() },
            network,
            keeps: resident,
            kept: [None, None],
            pass: None,
            loss: Tensor::zeros([], (Kind::Double, device)),
            correct: Tensor::zeros([], (Kind::Int64, device)),
        }
    }

    /// The network itself.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Inputs `[batch, channels, height, width]` and labels `[batch]` of a batch.
    ///
    /// # Errors
    /// If it is of a pass that was not opened.
    pub fn batch(&self, batch: &Batch<'_>) -> Result<(Tensor, Tensor), BackendError> {
        match batch {
            Batch::Host(examples) => Ok(self.network.examples(*examples)),
            Batch::Resident(range) => match &self.pass {
                Some((side, gather)) => match &self.kept[*side as usize] {
                    Some(images) => Ok(images.batch(gather, range.clone())),
                    None => Err(BackendError("the images are not on the device".to_owned())),
                },
                None => Err(BackendError("no pass was opened".to_owned())),
            },
        }
    }

    fn add(&mut self, logits: &Tensor, labels: &Tensor) {
        tch::no_grad(|| {
            self.loss += total_loss(logits, labels).to_kind(Kind::Double);
            self.correct += predictions(logits).eq_tensor(labels).sum(Kind::Int64);
        });
    }

    fn gradients(
        &self,
        (inputs, labels): (&Tensor, &Tensor),
        mode: Mode,
        of: &[&Tensor],
    ) -> Result<Vec<Tensor>, BackendError> {
        let loss = training_loss(&self.network.forward(inputs, mode), labels);
        Ok(Tensor::f_run_backward(&[&loss], of, false, false).map_err(TorchError::from)?)
    }
}

impl Backend for TorchBackend {
    fn graph(&self) -> &Graph {
        self.network.graph()
    }

    fn state(&self) -> State {
        self.network.state()
    }

    fn set_state(&mut self, state: &State) {
        self.network.set_state(state);
    }

    fn set_optimizer(&mut self, rule: &Optimizer) {
        self.rule = UpdateRule::new(rule, &self.network);
        self.stepper.forget();
    }

    fn optimizer_state(&self) -> OptimizerState {
        self.rule.state()
    }

    fn set_optimizer_state(&mut self, state: &OptimizerState) {
        self.rule.set_state(state);
    }

    fn keep(&mut self, side: Side, images: &PixelSet<'_>) -> Result<bool, BackendError> {
        if self.keeps {
            self.kept[side as usize] = Resident::send(images, self.network.device());
        }
        Ok(self.kept[side as usize].is_some())
    }

    fn open_pass(&mut self, side: Side, crops: &[Crop]) -> Result<(), BackendError> {
        match &self.kept[side as usize] {
            Some(images) => self.pass = Some((side, images.gather(crops))),
            None => return Err(BackendError("the images are not on the device".to_owned())),
        }
        Ok(())
    }

    fn train(&mut self, batch: &Batch<'_>, learning_rate: f64) -> Result<(), BackendError> {
        let (inputs, labels) = self.batch(batch)?;
        let (network, rule) = (&mut self.network, &mut self.rule);
        let (logits, _) = self.stepper.step(network, rule, (&inputs, &labels), learning_rate)?;
        self.add(&logits, &labels);
        Ok(())
    }

    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<(), BackendError> {
        let (inputs, labels) = self.batch(batch)?;
        let logits = tch::no_grad(|| self.network.forward(&inputs, Mode::Evaluation));
        self.add(&logits, &labels);
        Ok(())
    }

    fn totals(&self) -> Totals {
        Totals { loss: self.loss.double_value(&[]), correct: self.correct.int64_value(&[]) }
    }

    fn set_totals(&mut self, totals: Totals) {
        let _ = self.loss.fill_(totals.loss);
        let _ = self.correct.fill_(totals.correct);
    }

    fn logits(&mut self, inputs: &[f32]) -> Result<Vec<f32>, BackendError> {
        let inputs = self.network.inputs(inputs);
        Ok(values(&tch::no_grad(|| self.network.forward(&inputs, Mode::Evaluation))))
    }

    fn calibrate(&mut self, inputs: &[f32]) -> Result<(), BackendError> {
        let inputs = self.network.inputs(inputs);
        drop(tch::no_grad(|| self.network.forward(&inputs, Mode::Calibrate)));
        Ok(())
    }

    fn input_gradient(&mut self, examples: Examples<'_>) -> Result<Vec<f32>, BackendError> {
        let (inputs, labels) = self.network.examples(examples);
        let leaf = inputs.detach().set_requires_grad(true);
        let gradients = self.gradients((&leaf, &labels), Mode::Evaluation, &[&leaf])?;
        Ok(values(&gradients[0].permute([0, 2, 3, 1])))
    }

    fn gradient(
        &mut self,
        examples: Examples<'_>,
        with: With,
    ) -> Result<Vec<Vec<f32>>, BackendError> {
        let (inputs, labels) = self.network.examples(examples);
        let mode = match with {
            With::Evaluation => Mode::Evaluation,
            With::Batch => Mode::Batch,
        };
        let parameters: Vec<&Tensor> = self.network.parameters().iter().collect();
        let gradients = self.gradients((&inputs, &labels), mode, &parameters)?;
        Ok(gradients.iter().map(values).collect())
    }

    fn hessian_times(
        &mut self,
        examples: Examples<'_>,
        direction: &[f64],
    ) -> Result<Vec<f64>, BackendError> {
        // The gradient of the gradient's product with the direction.
        let (inputs, labels) = self.network.examples(examples);
        let loss = training_loss(&self.network.forward(&inputs, Mode::Evaluation), &labels);
        let parameters = self.network.parameters();
        let gradients = Tensor::f_run_backward(&[&loss], parameters, true, true);
        let mut rest = direction;
        let mut slope = Tensor::zeros([], (Kind::Float, self.network.device()));
        for (gradient, parameter) in gradients.map_err(TorchError::from)?.iter().zip(parameters) {
            let (own, others) = rest.split_at(parameter.numel());
            rest = others;
            let own: Vec<f32> = own.iter().map(|&value| value as f32).collect();
            let own = Tensor::from_slice(&own).view(parameter.size().as_slice());
            slope += (gradient * own.to_device(gradient.device())).sum(Kind::Float);
        }
        let second = Tensor::f_run_backward(&[&slope], parameters, false, false);
        let second = second.map_err(TorchError::from)?;
        Ok(second.iter().flat_map(values).map(f64::from).collect())
    }
}
