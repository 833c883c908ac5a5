//! The toy's multilayer perceptron: two hidden layers with ReLU.

use super::layers::{Builder, Linear, Mode};
use super::{Forward, Signature};
use crate::spec::NetworkSpec;
use tch::Tensor;

pub(super) struct Mlp([Linear; 3]);

pub(super) fn build(builder: &mut Builder, spec: &NetworkSpec, signature: Signature) -> Mlp {
    let (inputs, hidden) = (signature.input.iter().product(), i64::from(spec.width));
    Mlp([
        builder.linear("fc1", inputs, hidden),
        builder.linear("fc2", hidden, hidden),
        builder.linear("fc3", hidden, signature.outputs),
    ])
}

impl Forward for Mlp {
    fn forward(&self, input: &Tensor, mode: Mode) -> Tensor {
        let [first, second, last] = &self.0;
        // reshape, not flatten of a view: inputs lie in channels-last memory.
        let flat = input.reshape([input.size()[0], -1]);
        let hidden = first.forward(&flat, mode).relu();
        let hidden = second.forward(&hidden, mode).relu();
        last.forward(&hidden, mode)
    }
}
