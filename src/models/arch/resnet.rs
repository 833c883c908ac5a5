//! ResNet for small images, as in the authors' code: a 3x3 stem without pooling, four
//! stages with strides 1, 2, 2, 2, projection shortcuts where the shape changes.

use crate::models::builder::{Builder, ConvShape};
use crate::models::graph::ValueId;

/// The two kinds of residual block.
#[derive(Clone, Copy, PartialEq)]
pub enum Block {
    /// 3x3, 3x3.
    Basic,
    /// 1x1, 3x3, 1x1 with four times as many output channels.
    Bottleneck,
}

/// `counts`: blocks of each stage; `width`: channels of the first stage.
pub fn build(b: &mut Builder, block: Block, counts: [usize; 4], width: usize) {
    let stem = b.conv("conv1", b.input(), ConvShape::same(width, 3, 1));
    let stem = b.norm("bn1", stem);
    let mut x = b.relu(stem);
    for (stage, count) in counts.into_iter().enumerate() {
        for index in 0..count {
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let name = format!("layer{}.{index}", stage + 1);
            x = residual(b, &name, block, x, width << stage, stride);
        }
    }
    b.head("linear", x);
}

fn residual(
    b: &mut Builder,
    name: &str,
    block: Block,
    x: ValueId,
    planes: usize,
    stride: usize,
) -> ValueId {
    let shapes = match block {
        Block::Basic => {
            vec![ConvShape::same(planes, 3, stride), ConvShape::same(planes, 3, 1)]
        }
        Block::Bottleneck => vec![
            ConvShape::same(planes, 1, 1),
            ConvShape::same(planes, 3, stride),
            ConvShape::same(4 * planes, 1, 1),
        ],
    };
    let (mut y, last) = (x, shapes.len());
    for (index, shape) in (1..).zip(shapes) {
        y = b.conv(&format!("{name}.conv{index}"), y, shape);
        y = b.norm(&format!("{name}.bn{index}"), y);
        if index < last {
            y = b.relu(y);
        }
    }
    let outputs = b.shape(y).channels;
    let shortcut = if stride != 1 || b.shape(x).channels != outputs {
        let shape = ConvShape::same(outputs, 1, stride);
        let shortcut = b.conv(&format!("{name}.shortcut.0"), x, shape);
        b.norm(&format!("{name}.shortcut.1"), shortcut)
    } else {
        x
    };
    let sum = b.add(y, shortcut);
    b.relu(sum)
}
