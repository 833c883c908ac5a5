//! Layers and their initial weights.

use super::{InitialWeights, Named};
use crate::planted;
use crate::rng::{Purpose, Stream, name_index};
use crate::spec::NetworkSpec;
use tch::{Device, Kind, Tensor};

/// How a network is evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// BatchNorm uses the batch and updates its running statistics.
    Train,
    /// BatchNorm uses its running statistics.
    Eval,
    /// As [`Mode::Train`], and the running statistics become those of this batch.
    Calibrate,
    /// Every weight `w` is replaced by `|w|^p`, BatchNorm by the affine map it is in
    /// evaluation mode: the sum of the outputs for an input of ones is then the p-th power
    /// of the path norm (Neyshabur et al. 2015).
    Path { p: f64 },
}

/// PyTorch: `nn.BatchNorm2d(...).eps` and `.momentum`.
pub(crate) const BATCH_NORM_EPS: f64 = 1e-5;
const BATCH_NORM_MOMENTUM: f64 = 0.1;

/// How a weight starts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Init {
    /// Uniform in `±1/sqrt(fan_in)`: PyTorch's default for convolutions and linear layers
    /// (`kaiming_uniform_(a=sqrt(5))` gives the bound sqrt(6 / ((1 + 5) fan_in))).
    FanIn(i64),
    /// Normal with standard deviation `sqrt(2 / (k * k * out))` (the authors' DenseNet).
    HeOut {
        kernel: i64,
        out: i64,
    },
    Constant(f32),
}

/// Collects parameters and buffers under their names while a network is put together.
pub(super) struct Builder {
    initial: InitialWeights,
    device: Device,
    batch_norm: bool,
    parameters: Vec<Named>,
    buffers: Vec<Named>,
}

impl Builder {
    pub fn new(spec: &NetworkSpec, initial: InitialWeights, device: Device) -> Self {
        let (parameters, buffers) = (Vec::new(), Vec::new());
        Builder { initial, device, batch_norm: spec.batch_norm, parameters, buffers }
    }

    pub fn finish(self) -> (Vec<Named>, Vec<Named>) {
        (self.parameters, self.buffers)
    }

    /// A trainable tensor whose values depend on the seed and its name alone.
    fn parameter(&mut self, name: String, size: &[i64], init: Init) -> Tensor {
        let count = size.iter().product::<i64>() as usize;
        let mut stream =
            Stream::open(self.initial.seed, Purpose::InitialWeights, &[name_index(&name)]);
        let scale = self.initial.scale as f32;
        let values: Vec<f32> = match init {
            Init::Constant(value) => vec![value * scale; count],
            Init::FanIn(fan_in) => {
                let bound = (1.0 / (fan_in as f64).sqrt()) as f32;
                (0..count).map(|_| (2.0 * stream.unit_f32() - 1.0) * bound * scale).collect()
            }
            Init::HeOut { kernel, out } => {
                let std = (2.0 / (kernel * kernel * out) as f64).sqrt();
                (0..count).map(|_| (stream.normal() * std) as f32 * scale).collect()
            }
        };
        let tensor = Tensor::from_slice(&values).view(size).to_device(self.device);
        // Convolutions work on channels-last memory throughout.
        let tensor = if size.len() == 4 { channels_last(&tensor) } else { tensor };
        let tensor = tensor.set_requires_grad(true);
        self.parameters.push(Named { name, tensor: tensor.shallow_clone() });
        tensor
    }

    fn buffer(&mut self, name: String, size: i64, value: f64) -> Tensor {
        let tensor = Tensor::full([size], value, (Kind::Float, self.device));
        self.buffers.push(Named { name, tensor: tensor.shallow_clone() });
        tensor
    }

    pub fn linear(&mut self, name: &str, inputs: i64, outputs: i64) -> Linear {
        let init = Init::FanIn(inputs);
        Linear {
            weight: self.parameter(format!("{name}.weight"), &[outputs, inputs], init),
            bias: self.parameter(format!("{name}.bias"), &[outputs], init),
        }
    }

    /// A convolution; it carries a bias if `shape.bias` or where no BatchNorm follows.
    pub fn conv(&mut self, name: &str, shape: ConvShape) -> Conv {
        let ConvShape { inputs, outputs, kernel, .. } = shape;
        let fan_in = Init::FanIn(inputs * kernel * kernel);
        let init = if shape.he_out { Init::HeOut { kernel, out: outputs } } else { fan_in };
        let weight =
            self.parameter(format!("{name}.weight"), &[outputs, inputs, kernel, kernel], init);
        let bias = (shape.bias || !self.batch_norm)
            .then(|| self.parameter(format!("{name}.bias"), &[outputs], fan_in));
        Conv { weight, bias, stride: shape.stride, padding: shape.padding }
    }

    /// BatchNorm over `channels`, or nothing in a network without.
    pub fn norm(&mut self, name: &str, channels: i64) -> Norm {
        Norm(self.batch_norm.then(|| BatchNorm {
            weight: self.parameter(format!("{name}.weight"), &[channels], Init::Constant(1.0)),
            bias: self.parameter(format!("{name}.bias"), &[channels], Init::Constant(0.0)),
            mean: self.buffer(format!("{name}.running_mean"), channels, 0.0),
            variance: self.buffer(format!("{name}.running_var"), channels, 1.0),
        }))
    }
}

/// The same values in channels-last memory order.
pub(super) fn channels_last(tensor: &Tensor) -> Tensor {
    tensor.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// `|tensor|^p` in double precision: products over many layers leave the range of `f32`.
fn power(tensor: &Tensor, p: f64) -> Tensor {
    tensor.detach().to_kind(Kind::Double).abs().pow_tensor_scalar(p)
}

/// `tensor`, or `|tensor|^p` when path norms are computed.
fn effective(tensor: &Tensor, mode: Mode) -> Tensor {
    match mode {
        Mode::Path { p } => power(tensor, p),
        Mode::Train | Mode::Eval | Mode::Calibrate => tensor.shallow_clone(),
    }
}

/// `y = x W^T + b`.
pub(super) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub fn forward(&self, input: &Tensor, mode: Mode) -> Tensor {
        input.linear(&effective(&self.weight, mode), Some(&effective(&self.bias, mode)))
    }
}

/// Shape of a square convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvShape {
    pub inputs: i64,
    pub outputs: i64,
    pub kernel: i64,
    pub stride: i64,
    pub padding: i64,
    /// Carry a bias even if BatchNorm follows.
    pub bias: bool,
    /// Start from [`Init::HeOut`] instead of [`Init::FanIn`].
    pub he_out: bool,
}

impl ConvShape {
    /// A convolution that keeps height and width at stride 1, without bias.
    pub fn same(inputs: i64, outputs: i64, kernel: i64, stride: i64) -> Self {
        let padding = kernel / 2;
        ConvShape { inputs, outputs, kernel, stride, padding, bias: false, he_out: false }
    }
}

/// A two-dimensional convolution.
pub(super) struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: i64,
}

impl Conv {
    /// `[batch, inputs, height, width]` to `[batch, outputs, height / stride, width / stride]`.
    pub fn forward(&self, input: &Tensor, mode: Mode) -> Tensor {
        let (weight, bias) = (effective(&self.weight, mode), self.bias.as_ref());
        let bias = bias.map(|bias| effective(bias, mode));
        if self.weight.size()[2..] == [1, 1] {
            return pointwise(input, &weight, bias.as_ref(), self.stride);
        }
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        input.conv2d(&weight, bias.as_ref(), stride, padding, [1, 1], 1)
    }
}

/// A 1x1 convolution without padding: one matrix product over all pixels.
///
/// Not `conv2d`: oneDNN's kernels for the gradient of the weights (libtorch 2.11.0) write past
/// the end of their memory for channels-last tensors and a stride above 1, and the process dies
/// later in the allocator. Without AVX-512 (`jit_avx2_1x1_convolution_bwd_weights`) at 2 to 7
/// input channels; with it and two threads at 8 and 12, not at 16. It is as fast. The test below
/// holds it against `conv2d`.
fn pointwise(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>, stride: i64) -> Tensor {
    let strided;
    let pixels = if stride == 1 {
        input
    } else {
        strided = input.slice(2, None, None, stride).slice(3, None, None, stride);
        &strided
    };
    let pixels = pixels.permute([0, 2, 3, 1]);
    pixels.linear(&weight.flatten(1, -1), bias).permute([0, 3, 1, 2])
}

struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
}

/// BatchNorm, or the identity in a network without.
pub(super) struct Norm(Option<BatchNorm>);

impl Norm {
    pub fn forward(&self, input: &Tensor, mode: Mode) -> Tensor {
        let Some(norm) = &self.0 else { return input.shallow_clone() };
        if let Mode::Path { p } = mode {
            let double = |t: &Tensor| t.detach().to_kind(Kind::Double);
            let slope = double(&norm.weight) / (double(&norm.variance) + BATCH_NORM_EPS).sqrt();
            let offset = double(&norm.bias) - double(&norm.mean) * &slope;
            let column = |t: &Tensor| power(t, p).view([1, -1, 1, 1]);
            return input * column(&slope) + column(&offset);
        }
        let batch_statistics = mode != Mode::Eval || planted::batch_norm_always_training();
        input.batch_norm(
            Some(&norm.weight),
            Some(&norm.bias),
            Some(&norm.mean),
            Some(&norm.variance),
            batch_statistics,
            if mode == Mode::Calibrate { 1.0 } else { BATCH_NORM_MOMENTUM },
            BATCH_NORM_EPS,
            true,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values without a pattern that a wrong stride could hide in.
    fn values(size: &[i64], salt: f64) -> Tensor {
        let count = size.iter().product::<i64>();
        let ramp = Tensor::arange(count, (Kind::Double, Device::Cpu));
        ((ramp * 0.7 + salt).sin()).view(size).set_requires_grad(true)
    }

    #[test]
    fn pointwise_convolutions_are_conv2d_forward_and_backward() {
        for (inputs, outputs, side, stride) in [(3, 5, 7, 1), (4, 8, 7, 2), (12, 1, 4, 2)] {
            let x = values(&[2, inputs, side, side], 0.1);
            let weight = values(&[outputs, inputs, 1, 1], 0.2);
            let bias = values(&[outputs], 0.3);
            let ours = pointwise(&x, &weight, Some(&bias), stride);
            let theirs = x.conv2d(&weight, Some(&bias), [stride; 2], [0, 0], [1, 1], 1);
            assert_eq!(ours.size(), theirs.size());
            let upstream = values(&ours.size(), 0.4).detach();
            let gradients = |y: &Tensor| {
                let loss = (y * &upstream).sum(Kind::Double);
                Tensor::run_backward(&[loss], &[&x, &weight, &bias], true, false)
            };
            let pairs = gradients(&ours).into_iter().zip(gradients(&theirs));
            for (a, b) in pairs.chain([(ours.shallow_clone(), theirs.shallow_clone())]) {
                let worst = (a - b).abs().max().double_value(&[]);
                assert!(worst < 1e-12, "{inputs} to {outputs} at stride {stride}: {worst:e}");
            }
        }
    }
}
