//! VGG16 with BatchNorm for small images, as in the authors' code.

use crate::models::builder::{Builder, ConvShape};

/// Output channels of each convolution in units of the width; 0 is a 2x2 max pooling.
const PLAN: [usize; 18] = [1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0];

/// The pooling that 32x32 images end at 1x1 with is left out once a side would vanish, so
/// that the network takes smaller images too; the indices of the names stay.
pub fn build(b: &mut Builder, width: usize) {
    let (mut x, mut index) = (b.input(), 0);
    for entry in PLAN {
        if entry == 0 {
            let shape = b.shape(x);
            if shape.height.min(shape.width) >= 2 {
                x = b.max_pool(x);
            }
            index += 1;
            continue;
        }
        let shape = ConvShape { bias: true, ..ConvShape::same(entry * width, 3, 1) };
        x = b.conv(&format!("features.{index}"), x, shape);
        x = b.norm(&format!("features.{}", index + 1), x);
        x = b.relu(x);
        index += 3; // convolution, BatchNorm, ReLU
    }
    // 1x1 already for the sizes in use; a mean otherwise.
    b.head("classifier", x);
}
