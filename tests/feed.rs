//! Batches gathered on a device from images that lie there are those put together in Rust,
//! bit for bit. Run here on the CPU device; the code is the GPU's.
#![cfg(feature = "torch")]

mod common;

use bad_global_minima::augment::AugmentSpec;
use bad_global_minima::backend::Batch;
use bad_global_minima::data::Catalog;
use bad_global_minima::models::graph::Graph;
use bad_global_minima::spec::RunSpec;
use bad_global_minima::torch::{self, TorchBackend, TorchDevice};
use bad_global_minima::train::feed::Feed;
use bad_global_minima::train::source::{Source, Split};
use bad_global_minima::train::start;
use common::{corruption, repository, small_run};
use tch::{Device, Kind, Tensor};

fn assert_same_bits(spec: &RunSpec) {
    torch::initialize().unwrap();
    let source = Source::open(spec, &Catalog::new(repository().join("data"))).unwrap();
    let graph = Graph::new(&spec.network, source.signature());
    let state = start(spec, &graph, source.seed(), None).unwrap();
    let open = |resident| {
        let device = TorchDevice { resident, ..TorchDevice::new(Device::Cpu, false, |_| {}) };
        (TorchBackend::new(&graph, &state, device), Feed::new(&source))
    };
    let (mut from_host, mut host) = open(false);
    let (mut resident, mut kept) = open(true);
    for split in
        [Split::Train { epoch: 1 }, Split::Train { epoch: 2 }, Split::TrainPlain, Split::Test]
    {
        let order: Vec<u32> = (0..source.len(split) as u32).rev().collect();
        let mut a = host.pass(&mut from_host, split, order.clone()).unwrap();
        let mut b = kept.pass(&mut resident, split, order).unwrap();
        for range in a.ranges(16) {
            let (from, gathered) = (a.batch(range.clone()), b.batch(range.clone()));
            assert!(matches!(from, Batch::Host(_)) && matches!(gathered, Batch::Resident(_)));
            let (x, y) = from_host.batch(&from).unwrap();
            let (gathered, labels) = resident.batch(&gathered).unwrap();
            assert_eq!(x.size(), gathered.size());
            assert_eq!(x.stride(), gathered.stride(), "another memory order, other kernels");
            assert_eq!(bits(&x), bits(&gathered), "{split:?} {range:?}");
            assert_eq!(bits(&y.to_kind(Kind::Float)), bits(&labels.to_kind(Kind::Float)));
        }
    }
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let flat = Vec::<f32>::try_from(tensor.contiguous().view([-1])).unwrap();
    flat.into_iter().map(f32::to_bits).collect()
}

#[test]
fn resident_batches_have_the_same_bits() {
    let mut augmented = small_run();
    augmented.train.augmentation = Some(AugmentSpec { crop_padding: 2, flip: 0.5 });
    let mut corrupted = small_run();
    corrupted.train.corruption = Some(corruption());
    let mut both = augmented.clone();
    both.train.corruption = Some(corruption());
    for spec in [small_run(), augmented, corrupted, both] {
        assert_same_bits(&spec);
    }
}
