//! DenseNet-BC of depth 40: bottlenecks, three blocks of six layers, compression 1/2,
//! BN-ReLU-convolution order.

use crate::models::builder::{Builder, ConvShape};
use crate::models::graph::ValueId;

/// Layers of each dense block: (40 - 4) / 3, halved since a bottleneck has two convolutions.
const LAYERS: usize = 6;

pub fn build(b: &mut Builder, growth: usize) {
    let mut x = b.conv("conv1", b.input(), conv(2 * growth, 3));
    for block in 1..=3 {
        for layer in 0..LAYERS {
            let name = format!("block{block}.layer.{layer}");
            let reduced = norm_conv(b, &name, 1, x, conv(4 * growth, 1));
            let grown = norm_conv(b, &name, 2, reduced, conv(growth, 3));
            x = b.concat(x, grown);
        }
        if block < 3 {
            let outputs = b.shape(x).channels / 2;
            let reduced = norm_conv(b, &format!("trans{block}"), 1, x, conv(outputs, 1));
            x = b.mean_pool(reduced);
        }
    }
    let x = b.norm("bn1", x);
    let x = b.relu(x);
    b.head("fc", x);
}

fn conv(outputs: usize, kernel: usize) -> ConvShape {
    ConvShape { he_out: true, ..ConvShape::same(outputs, kernel, 1) }
}

fn norm_conv(b: &mut Builder, name: &str, index: u32, x: ValueId, shape: ConvShape) -> ValueId {
    let x = b.norm(&format!("{name}.bn{index}"), x);
    let x = b.relu(x);
    b.conv(&format!("{name}.conv{index}"), x, shape)
}
