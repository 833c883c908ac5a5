//! The paper's networks, with the parameter names of the authors' PyTorch classes.

mod arch;
mod densenet;
pub mod graph;
mod layers;
mod mlp;
mod resnet;
pub mod state;
pub mod tensors;
mod vgg;
pub mod weights;

pub(crate) use layers::BATCH_NORM_EPS;
pub use layers::Mode;

use crate::spec::{Arch, NetworkSpec};
use layers::Builder;
use tch::{Device, Kind, Tensor};

/// What the network takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// `[channels, height, width]`; a toy point is `[2, 1, 1]`.
    pub input: [i64; 3],
    /// Number of outputs: the classes, or 1 for the toy's single logit.
    pub outputs: i64,
}

/// Maps inputs to logits.
trait Forward: Send {
    /// `[batch, channels, height, width]` to `[batch, outputs]`.
    fn forward(&self, input: &Tensor, mode: Mode) -> Tensor;
}

/// A tensor with its name in the authors' `state_dict`.
#[derive(Debug)]
pub struct Named {
    pub name: String,
    pub tensor: Tensor,
}

/// A network with its trainable parameters, in PyTorch's order, and its running statistics.
pub struct Network {
    pub parameters: Vec<Named>,
    /// Running means and variances of BatchNorm.
    pub buffers: Vec<Named>,
    /// Training batches that BatchNorm has seen (`num_batches_tracked`).
    pub batches_tracked: i64,
    layers: Box<dyn Forward>,
}

/// Where random initial weights come from.
#[derive(Clone, Copy, Debug)]
pub struct InitialWeights {
    pub seed: u64,
    /// Each parameter is multiplied by this; 1 is the architecture's default.
    pub scale: f64,
}

impl Network {
    /// Builds a network with random initial weights.
    pub fn new(
        spec: &NetworkSpec,
        signature: Signature,
        initial: InitialWeights,
        device: Device,
    ) -> Network {
        let mut builder = Builder::new(spec, initial, device);
        let layers: Box<dyn Forward> = match spec.arch {
            Arch::Mlp => Box::new(mlp::build(&mut builder, spec, signature)),
            Arch::Resnet18 => Box::new(resnet::build(
                &mut builder,
                resnet::Block::Basic,
                [2, 2, 2, 2],
                spec,
                signature,
            )),
            Arch::Resnet50 => Box::new(resnet::build(
                &mut builder,
                resnet::Block::Bottleneck,
                [3, 4, 6, 3],
                spec,
                signature,
            )),
            Arch::Vgg16 => Box::new(vgg::build(&mut builder, spec, signature)),
            Arch::Densenet40 => Box::new(densenet::build(&mut builder, spec, signature)),
        };
        let (parameters, buffers) = builder.finish();
        Network { parameters, buffers, batches_tracked: 0, layers }
    }

    /// Logits `[batch, outputs]` of inputs `[batch, channels, height, width]`.
    pub fn forward(&self, input: &Tensor, mode: Mode) -> Tensor {
        self.layers.forward(input, mode)
    }

    /// Number of trainable values.
    pub fn parameter_count(&self) -> i64 {
        self.parameters.iter().map(|p| p.tensor.numel() as i64).sum()
    }

    /// The trainable tensors, in order, as handles to the same memory.
    pub fn trainable(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|p| p.tensor.shallow_clone()).collect()
    }

    /// Detached copies of the trainable tensors.
    pub fn snapshot(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|p| p.tensor.detach().copy()).collect()
    }
}

/// Euclidean norm of the difference of two lists of tensors, summed in `f64`.
pub fn distance(a: &[Tensor], b: &[Tensor]) -> f64 {
    let square = |(a, b): (&Tensor, &Tensor)| {
        let difference = a.detach().to_kind(Kind::Double) - b.detach().to_kind(Kind::Double);
        difference.square().sum(Kind::Double).double_value(&[])
    };
    a.iter().zip(b).map(square).sum::<f64>().sqrt()
}

/// Euclidean norm of a list of tensors, summed in `f64`.
pub fn norm(tensors: &[Tensor]) -> f64 {
    let square =
        |t: &Tensor| t.detach().to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[]);
    tensors.iter().map(square).sum::<f64>().sqrt()
}
