//! The toy's multilayer perceptron: two hidden layers with ReLU.

use crate::models::builder::Builder;

pub fn build(b: &mut Builder, hidden: usize) {
    let first = b.linear("fc1", b.input(), hidden);
    let first = b.relu(first);
    let second = b.linear("fc2", first, hidden);
    let second = b.relu(second);
    let outputs = b.outputs();
    b.linear("fc3", second, outputs);
}
