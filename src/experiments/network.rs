//! The network of a run before its data is read.

use crate::data::catalog::{DATASETS, Format};
use crate::models::graph::{Graph, Shape, Signature};
use crate::spec::{DataSpec, RunSpec};

/// The graph of a run's network.
pub fn graph(spec: &RunSpec) -> Graph {
    Graph::new(&spec.network, signature(&spec.data))
}

/// What a network for `data` takes and gives.
fn signature(data: &DataSpec) -> Signature {
    let DataSpec::Images(images) = data else {
        return Signature { input: Shape::new(2, 1, 1), outputs: 1 };
    };
    let info = DATASETS.iter().find(|info| info.name == images.dataset);
    let (channels, side) = match info.map(|info| info.format) {
        Some(Format::Idx) => (1, 28),
        Some(Format::RestrictedImagenet) => (3, 224),
        _ => (3, 32),
    };
    let side = (side / images.pool.max(1) as usize).max(1);
    let outputs = info.map_or(10, |info| info.classes as usize);
    Signature { input: Shape::new(channels, side, side), outputs }
}
