//! Layers with weights, as libtorch computes them.

use crate::models::graph::Conv;
use tch::Tensor;

/// PyTorch: `nn.BatchNorm2d(...).eps` and `.momentum`.
const BATCH_NORM_EPS: f64 = 1e-5;
const BATCH_NORM_MOMENTUM: f64 = 0.1;

/// How BatchNorm gets its statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// From the batch; the running ones are updated.
    Train,
    /// The running ones.
    Evaluation,
    /// From the batch; the running ones become its mean and its unbiased variance.
    Calibrate,
    /// From the batch; the running ones are left alone.
    Batch,
}

/// The same values in channels-last memory order.
pub(super) fn channels_last(tensor: &Tensor) -> Tensor {
    tensor.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// A convolution, or a linear layer if the weight is `[outputs, inputs]`.
pub(super) fn convolution(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    conv: &Conv,
) -> Tensor {
    if weight.dim() == 2 {
        return input.flatten(1, -1).linear(weight, bias);
    }
    let (stride, padding) = (conv.stride as i64, conv.padding as i64);
    if conv.kernel == [1, 1] && conv.padding == 0 {
        return pointwise(input, weight, bias, stride);
    }
    input.conv2d(weight, bias, [stride; 2], [padding; 2], [1, 1], 1)
}

/// A 1x1 convolution without padding: one matrix product over all pixels.
///
/// `conv2d` is avoided because oneDNN's kernels for the gradient of the weights (libtorch 2.11.0)
/// write past the end of their memory for channels-last tensors and a stride above 1, and the
/// process dies later in the allocator. Without AVX-512 (`jit_avx2_1x1_convolution_bwd_weights`)
/// at 2 to 7 input channels; with it and two threads at 8 and 12, not at 16. The matrix product is
/// as fast. The test below holds it against `conv2d`, in double precision, which oneDNN does not
/// compute.
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

/// BatchNorm with its weight and bias, and its running mean and variance.
pub(super) fn batch_norm(
    input: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    (mean, variance): (&Tensor, &Tensor),
    mode: Mode,
) -> Tensor {
    let running = mode != Mode::Batch;
    input.batch_norm(
        Some(weight),
        Some(bias),
        running.then_some(mean),
        running.then_some(variance),
        mode != Mode::Evaluation,
        if mode == Mode::Calibrate { 1.0 } else { BATCH_NORM_MOMENTUM },
        BATCH_NORM_EPS,
        /* cudnn_enabled */ true,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    /// Values without a pattern that a wrong stride could hide in.
    fn values(size: &[i64], salt: f64) -> Tensor {
        let count = size.iter().product::<i64>();
        let ramp = Tensor::arange(count, (Kind::Double, Device::Cpu));
        ((ramp * 0.7 + salt).sin()).view(size).set_requires_grad(true)
    }

    #[test]
    fn pointwise_convolutions_are_conv2d_forward_and_backward() {
        for (inputs, outputs, side, stride, biased) in
            [(3, 5, 7, 1, true), (4, 8, 7, 2, false), (12, 1, 4, 2, true)]
        {
            let x = values(&[2, inputs, side, side], 0.1);
            let weight = values(&[outputs, inputs, 1, 1], 0.2);
            let bias = values(&[outputs], 0.3);
            let given = biased.then_some(&bias);
            let ours = pointwise(&channels_last(&x), &weight, given, stride);
            let theirs = x.conv2d(&weight, given, [stride; 2], [0, 0], [1, 1], 1);
            assert_eq!(ours.size(), theirs.size());
            let upstream = values(&ours.size(), 0.4).detach();
            let gradients = |y: &Tensor| {
                let loss = (y * &upstream).sum(Kind::Double);
                let of = [Some(&x), Some(&weight), given];
                let of: Vec<&Tensor> = of.into_iter().flatten().collect();
                Tensor::run_backward(&[loss], &of, true, false)
            };
            let pairs = gradients(&ours).into_iter().zip(gradients(&theirs));
            for (a, b) in pairs.chain([(ours.shallow_clone(), theirs.shallow_clone())]) {
                let worst = (a - b).abs().max().double_value(&[]);
                assert!(worst < 1e-12, "{inputs} to {outputs} at stride {stride}: {worst:e}");
            }
        }
    }
}
