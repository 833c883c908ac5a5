//! The network of a run before its data is read.

use crate::data::published::DATASETS;
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
    let (channels, height, width) =
        info.map_or((3, 32, 32), |info| (info.shape.channels, info.shape.height, info.shape.width));
    let [height, width] = [height, width].map(|side| (side / images.pool.max(1) as usize).max(1));
    let outputs = info.map_or(10, |info| info.classes as usize);
    Signature { input: Shape::new(channels, height, width), outputs }
}
