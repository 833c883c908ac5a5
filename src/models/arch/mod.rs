//! The paper's architectures, with the parameter names of the authors' PyTorch classes.

mod densenet;
mod mlp;
mod resnet;
mod vgg;

use super::builder::Builder;
use super::graph::{Graph, Signature};
use crate::spec::{Arch, NetworkSpec};

impl Graph {
    /// The network of `spec` for inputs and outputs of this shape.
    pub fn new(spec: &NetworkSpec, signature: Signature) -> Graph {
        let mut builder = Builder::new(spec.batch_norm, signature);
        let width = spec.width as usize;
        match spec.arch {
            Arch::Mlp => mlp::build(&mut builder, width),
            Arch::Resnet18 => {
                resnet::build(&mut builder, resnet::Block::Basic, [2, 2, 2, 2], width);
            }
            Arch::Resnet50 => {
                let block = resnet::Block::Bottleneck;
                resnet::build(&mut builder, block, [3, 4, 6, 3], width);
            }
            Arch::Vgg16 => vgg::build(&mut builder, width),
            Arch::Densenet40 => densenet::build(&mut builder, width),
        }
        builder.finish()
    }
}
