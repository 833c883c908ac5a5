//! VGG16 with BatchNorm for small images, as in the authors' code.

use super::layers::{Builder, Conv, ConvShape, Linear, Mode, Norm};
use super::{Forward, Signature};
use crate::spec::NetworkSpec;
use tch::Tensor;

/// Output channels of each convolution in units of the width; 0 is a 2x2 max pooling.
const PLAN: [i64; 18] = [1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0];

enum Stage {
    Conv(Conv, Norm),
    Pool,
}

pub(super) struct Vgg {
    stages: Vec<Stage>,
    head: Linear,
}

/// The pooling that 32x32 images end at 1x1 with is left out once a side would vanish, so
/// that the network takes smaller images too; the indices of the names stay.
pub(super) fn build(builder: &mut Builder, spec: &NetworkSpec, signature: Signature) -> Vgg {
    let [mut channels, height, width] = signature.input;
    let mut side = height.min(width);
    let (mut stages, mut index) = (Vec::new(), 0);
    for entry in PLAN {
        if entry == 0 {
            if side >= 2 {
                stages.push(Stage::Pool);
                side /= 2;
            }
            index += 1;
            continue;
        }
        let outputs = entry * i64::from(spec.width);
        let shape = ConvShape { bias: true, ..ConvShape::same(channels, outputs, 3, 1) };
        let conv = builder.conv(&format!("features.{index}"), shape);
        let norm = builder.norm(&format!("features.{}", index + 1), outputs);
        stages.push(Stage::Conv(conv, norm));
        channels = outputs;
        index += 3; // convolution, BatchNorm, ReLU
    }
    Vgg { stages, head: builder.linear("classifier", channels, signature.outputs) }
}

impl Forward for Vgg {
    fn forward(&self, input: &Tensor, mode: Mode) -> Tensor {
        let mut x = input.shallow_clone();
        for stage in &self.stages {
            x = match stage {
                Stage::Conv(conv, norm) => norm.forward(&conv.forward(&x, mode), mode).relu(),
                Stage::Pool => x.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false),
            };
        }
        // 1x1 already for the sizes in use; an average otherwise.
        self.head.forward(&x.adaptive_avg_pool2d([1, 1]).flatten(1, -1), mode)
    }
}
