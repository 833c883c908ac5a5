//! Floating-point operations of a network, from its graph.
//!
//! Convolutions and linear layers alone, two operations a multiply-add, as PyTorch's
//! `FlopCounterMode` counts: BatchNorm, ReLU and pooling are a few percent more work and are
//! what keeps a network from the peak. `tests/benchmarks.rs` holds the counts against PyTorch's.

use bad_global_minima::models::graph::{Graph, Products};

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

/// Counts the operations of a network.
pub fn count(graph: &Graph) -> Count {
    let layers: Vec<Products> = graph.layer_products().collect();
    let padded = |layer: &Products| layer.all - layer.inside;
    Count {
        forward: layers.iter().map(|layer| layer.all).sum(),
        first: layers.first().map_or(0, |layer| layer.all),
        padded: [layers.iter().map(padded).sum(), layers.first().map_or(0, padded)],
        parameters: graph.parameter_count() as u64,
    }
}
