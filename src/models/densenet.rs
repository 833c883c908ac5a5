//! DenseNet-BC of depth 40: bottlenecks, three blocks of six layers, compression 1/2,
//! BN-ReLU-convolution order.

use super::layers::{Builder, Conv, ConvShape, Linear, Mode, Norm};
use super::{Forward, Signature};
use crate::spec::NetworkSpec;
use tch::Tensor;

/// Layers of each dense block: (40 - 4) / 3, halved since a bottleneck has two convolutions.
const LAYERS: i64 = 6;

struct Bottleneck {
    reduce: (Norm, Conv),
    grow: (Norm, Conv),
}

struct DenseBlock {
    layers: Vec<Bottleneck>,
    /// 1x1 convolution before the 2x2 average pooling; none after the last block.
    transition: Option<(Norm, Conv)>,
}

pub(super) struct DenseNet {
    stem: Conv,
    blocks: Vec<DenseBlock>,
    norm: Norm,
    head: Linear,
}

fn conv(inputs: i64, outputs: i64, kernel: i64) -> ConvShape {
    ConvShape { he_out: true, ..ConvShape::same(inputs, outputs, kernel, 1) }
}

pub(super) fn build(builder: &mut Builder, spec: &NetworkSpec, signature: Signature) -> DenseNet {
    let growth = i64::from(spec.width);
    let mut channels = 2 * growth;
    let stem = builder.conv("conv1", conv(signature.input[0], channels, 3));
    let mut blocks = Vec::new();
    for block in 1..=3 {
        let mut layers = Vec::new();
        for layer in 0..LAYERS {
            let name = format!("block{block}.layer.{layer}");
            layers.push(Bottleneck {
                reduce: (
                    builder.norm(&format!("{name}.bn1"), channels),
                    builder.conv(&format!("{name}.conv1"), conv(channels, 4 * growth, 1)),
                ),
                grow: (
                    builder.norm(&format!("{name}.bn2"), 4 * growth),
                    builder.conv(&format!("{name}.conv2"), conv(4 * growth, growth, 3)),
                ),
            });
            channels += growth;
        }
        let transition = (block < 3).then(|| {
            let norm = builder.norm(&format!("trans{block}.bn1"), channels);
            let shape = conv(channels, channels / 2, 1);
            channels /= 2;
            (norm, builder.conv(&format!("trans{block}.conv1"), shape))
        });
        blocks.push(DenseBlock { layers, transition });
    }
    let norm = builder.norm("bn1", channels);
    DenseNet { stem, blocks, norm, head: builder.linear("fc", channels, signature.outputs) }
}

fn norm_conv((norm, conv): &(Norm, Conv), input: &Tensor, mode: Mode) -> Tensor {
    conv.forward(&norm.forward(input, mode).relu(), mode)
}

impl Forward for DenseNet {
    fn forward(&self, input: &Tensor, mode: Mode) -> Tensor {
        let mut x = self.stem.forward(input, mode);
        for block in &self.blocks {
            for layer in &block.layers {
                let grown = norm_conv(&layer.grow, &norm_conv(&layer.reduce, &x, mode), mode);
                x = Tensor::cat(&[x, grown], 1);
            }
            if let Some(transition) = &block.transition {
                let reduced = norm_conv(transition, &x, mode);
                x = reduced.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>);
            }
        }
        let x = self.norm.forward(&x, mode).relu();
        self.head.forward(&x.adaptive_avg_pool2d([1, 1]).flatten(1, -1), mode)
    }
}
