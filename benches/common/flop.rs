//! Floating-point operations of a network, counted layer by layer from its architecture.
//!
//! Convolutions and linear layers alone, two operations a multiply-add, as PyTorch's
//! `FlopCounterMode` counts: BatchNorm, ReLU and pooling are a few percent more work and are
//! what keeps a network from the peak. `tests/benchmarks.rs` holds the walk against the
//! networks' numbers of parameters and against PyTorch's own counts.

use bad_global_minima::models::Signature;
use bad_global_minima::spec::{Arch, NetworkSpec};

/// What one image takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Multiply-adds of a forward pass.
    pub forward: u64,
    /// Those of the first layer, whose input needs no gradient.
    pub first: u64,
    /// Those of the forward pass and of the first layer whose input is padding: zeros that a
    /// kernel may leave out.
    pub padded: [u64; 2],
    /// Trainable values.
    pub parameters: u64,
}

impl Count {
    /// Floating-point operations of a training step: forward, gradient of the weights,
    /// gradient of the inputs.
    pub fn step(self) -> u64 {
        2 * (3 * self.forward - self.first)
    }

    /// The same without what multiplies padding.
    pub fn step_inside(self) -> u64 {
        let [padded, first] = self.padded;
        self.step() - 2 * (3 * padded - first)
    }
}

/// Walks through a network.
struct Walk {
    count: Count,
    batch_norm: bool,
    /// Height and width of what the next layer sees.
    sides: [u64; 2],
}

impl Walk {
    fn add(&mut self, multiply_adds: u64, parameters: u64) {
        if self.count.forward == 0 {
            self.count.first = multiply_adds;
        }
        self.count.forward += multiply_adds;
        self.count.parameters += parameters;
    }

    fn halve(sides: [u64; 2]) -> [u64; 2] {
        sides.map(|side| side.div_ceil(2))
    }

    /// A convolution, padded by half its kernel.
    fn conv(&mut self, (inputs, outputs, kernel): (u64, u64, u64), sides: Sides, bias: bool) {
        let weights = inputs * outputs * kernel * kernel;
        let bias = if bias || !self.batch_norm { outputs } else { 0 };
        let all = weights * sides.after.iter().product::<u64>();
        let padded = all - inputs * outputs * inside(kernel, sides);
        if self.count.forward == 0 {
            self.count.padded[1] = padded;
        }
        self.count.padded[0] += padded;
        self.add(all, weights + bias);
    }

    fn norm(&mut self, channels: u64) {
        if self.batch_norm {
            self.count.parameters += 2 * channels;
        }
    }

    fn conv_norm(&mut self, shape: (u64, u64, u64), sides: Sides) {
        self.conv(shape, sides, false);
        self.norm(shape.1);
    }

    fn linear(&mut self, inputs: u64, outputs: u64) {
        self.add(inputs * outputs, inputs * outputs + outputs);
    }
}

/// Height and width before and after a convolution.
#[derive(Clone, Copy)]
pub struct Sides {
    pub before: [u64; 2],
    pub after: [u64; 2],
}

impl Sides {
    fn same(sides: [u64; 2]) -> Sides {
        Sides { before: sides, after: sides }
    }
}

/// Pairs of an output and an input pixel that a convolution padded by half its kernel connects.
pub fn inside(kernel: u64, Sides { before, after }: Sides) -> u64 {
    let along = |(before, after): (u64, u64)| {
        let stride = before.div_ceil(after);
        let places = (0..after).flat_map(|at| (0..kernel).map(move |tap| at * stride + tap));
        places.filter(|at| (kernel / 2..before + kernel / 2).contains(at)).count() as u64
    };
    before.into_iter().zip(after).map(along).product()
}

/// Counts the operations of a network.
pub fn count(network: &NetworkSpec, signature: Signature) -> Count {
    let [channels, height, width] = signature.input.map(|side| side as u64);
    let (base, outputs) = (u64::from(network.width), signature.outputs as u64);
    let (batch_norm, sides) = (network.batch_norm, [height, width]);
    let mut walk = Walk { count: Count::default(), batch_norm, sides };
    let features = match network.arch {
        Arch::Mlp => {
            walk.linear(channels * height * width, base);
            walk.linear(base, base);
            base
        }
        Arch::Resnet18 => resnet(&mut walk, [2, 2, 2, 2], false, channels, base),
        Arch::Resnet50 => resnet(&mut walk, [3, 4, 6, 3], true, channels, base),
        Arch::Vgg16 => vgg(&mut walk, channels, base),
        Arch::Densenet40 => densenet(&mut walk, channels, base),
    };
    walk.linear(features, outputs);
    walk.count
}

fn resnet(walk: &mut Walk, blocks: [u64; 4], bottleneck: bool, channels: u64, width: u64) -> u64 {
    walk.conv_norm((channels, width, 3), Sides::same(walk.sides));
    let mut inputs = width;
    for (stage, count) in blocks.into_iter().enumerate() {
        let planes = width << stage;
        let outputs = if bottleneck { 4 * planes } else { planes };
        for block in 0..count {
            let (before, shrinks) = (walk.sides, stage > 0 && block == 0);
            let after = if shrinks { Walk::halve(before) } else { before };
            let (shrinking, later) = (Sides { before, after }, Sides::same(after));
            if bottleneck {
                walk.conv_norm((inputs, planes, 1), Sides::same(before));
                walk.conv_norm((planes, planes, 3), shrinking);
                walk.conv_norm((planes, outputs, 1), later);
            } else {
                walk.conv_norm((inputs, planes, 3), shrinking);
                walk.conv_norm((planes, planes, 3), later);
            }
            if shrinks || inputs != outputs {
                walk.conv_norm((inputs, outputs, 1), shrinking);
            }
            (inputs, walk.sides) = (outputs, after);
        }
    }
    inputs
}

fn vgg(walk: &mut Walk, mut inputs: u64, width: u64) -> u64 {
    // Convolutions between poolings, in units of the width.
    for (units, count) in [(1, 2), (2, 2), (4, 3), (8, 3), (8, 3)] {
        for _ in 0..count {
            walk.conv((inputs, units * width, 3), Sides::same(walk.sides), true);
            walk.norm(units * width);
            inputs = units * width;
        }
        // A pooling that would leave nothing is left out.
        if walk.sides[0].min(walk.sides[1]) >= 2 {
            walk.sides = walk.sides.map(|side| side / 2);
        }
    }
    inputs
}

fn densenet(walk: &mut Walk, channels: u64, growth: u64) -> u64 {
    let mut inputs = 2 * growth;
    walk.conv((channels, inputs, 3), Sides::same(walk.sides), false);
    for block in 0..3 {
        for _ in 0..6 {
            walk.norm(inputs);
            walk.conv((inputs, 4 * growth, 1), Sides::same(walk.sides), false);
            walk.norm(4 * growth);
            walk.conv((4 * growth, growth, 3), Sides::same(walk.sides), false);
            inputs += growth;
        }
        if block < 2 {
            walk.norm(inputs);
            walk.conv((inputs, inputs / 2, 1), Sides::same(walk.sides), false);
            inputs /= 2;
            walk.sides = walk.sides.map(|side| side / 2);
        }
    }
    walk.norm(inputs);
    inputs
}
