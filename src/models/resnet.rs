//! ResNet for small images, as in the authors' code: a 3x3 stem without pooling, four
//! stages with strides 1, 2, 2, 2, projection shortcuts where the shape changes.

use super::layers::{Builder, Conv, ConvShape, Linear, Mode, Norm};
use super::{Forward, Signature};
use crate::spec::NetworkSpec;
use tch::Tensor;

/// The two kinds of residual block.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Block {
    /// 3x3, 3x3.
    Basic,
    /// 1x1, 3x3, 1x1 with four times as many output channels.
    Bottleneck,
}

impl Block {
    fn expansion(self) -> i64 {
        match self {
            Block::Basic => 1,
            Block::Bottleneck => 4,
        }
    }
}

struct Residual {
    body: Vec<(Conv, Norm)>,
    shortcut: Option<(Conv, Norm)>,
}

pub(super) struct ResNet {
    stem: (Conv, Norm),
    blocks: Vec<Residual>,
    head: Linear,
}

pub(super) fn build(
    builder: &mut Builder,
    block: Block,
    counts: [i64; 4],
    spec: &NetworkSpec,
    signature: Signature,
) -> ResNet {
    let width = i64::from(spec.width);
    let stem = (
        builder.conv("conv1", ConvShape::same(signature.input[0], width, 3, 1)),
        builder.norm("bn1", width),
    );
    let (mut channels, mut blocks) = (width, Vec::new());
    for (stage, count) in counts.into_iter().enumerate() {
        let planes = width << stage;
        for index in 0..count {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let name = format!("layer{}.{index}", stage + 1);
            blocks.push(residual(builder, &name, block, channels, planes, stride));
            channels = planes * block.expansion();
        }
    }
    ResNet { stem, blocks, head: builder.linear("linear", channels, signature.outputs) }
}

fn residual(
    builder: &mut Builder,
    name: &str,
    block: Block,
    inputs: i64,
    planes: i64,
    stride: i64,
) -> Residual {
    let outputs = planes * block.expansion();
    let shapes = match block {
        Block::Basic => {
            vec![ConvShape::same(inputs, planes, 3, stride), ConvShape::same(planes, planes, 3, 1)]
        }
        Block::Bottleneck => vec![
            ConvShape::same(inputs, planes, 1, 1),
            ConvShape::same(planes, planes, 3, stride),
            ConvShape::same(planes, outputs, 1, 1),
        ],
    };
    let body = (1..)
        .zip(shapes)
        .map(|(index, shape)| {
            let conv = builder.conv(&format!("{name}.conv{index}"), shape);
            (conv, builder.norm(&format!("{name}.bn{index}"), shape.outputs))
        })
        .collect();
    let shortcut = (stride != 1 || inputs != outputs).then(|| {
        let shape = ConvShape::same(inputs, outputs, 1, stride);
        let conv = builder.conv(&format!("{name}.shortcut.0"), shape);
        (conv, builder.norm(&format!("{name}.shortcut.1"), outputs))
    });
    Residual { body, shortcut }
}

fn conv_norm((conv, norm): &(Conv, Norm), input: &Tensor, mode: Mode) -> Tensor {
    norm.forward(&conv.forward(input, mode), mode)
}

impl Forward for ResNet {
    fn forward(&self, input: &Tensor, mode: Mode) -> Tensor {
        let mut x = conv_norm(&self.stem, input, mode).relu();
        for block in &self.blocks {
            let mut out = conv_norm(&block.body[0], &x, mode);
            for layer in &block.body[1..] {
                out = conv_norm(layer, &out.relu_(), mode);
            }
            let shortcut = match &block.shortcut {
                Some(layer) => conv_norm(layer, &x, mode),
                None => x,
            };
            x = (out + shortcut).relu_();
        }
        self.head.forward(&x.adaptive_avg_pool2d([1, 1]).flatten(1, -1), mode)
    }
}
