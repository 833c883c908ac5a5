//! Batches gathered on a device from images that lie there are those put together in Rust,
//! bit for bit. Run here on the CPU device; the code is the GPU's.

mod common;

use bad_global_minima::augment::AugmentSpec;
use bad_global_minima::data::Catalog;
use bad_global_minima::spec::RunSpec;
use bad_global_minima::train::feed::Feed;
use bad_global_minima::train::source::{Source, Split};
use common::{corruption, repository, small_run};
use tch::{Device, Kind, Tensor};

fn assert_same_bits(spec: &RunSpec) {
    let source = Source::open(spec, &Catalog::new(repository().join("data"))).unwrap();
    let host = Feed::with_resident(&source, Device::Cpu, false);
    let resident = Feed::with_resident(&source, Device::Cpu, true);
    for split in
        [Split::Train { epoch: 1 }, Split::Train { epoch: 2 }, Split::TrainPlain, Split::Test]
    {
        let order: Vec<u32> = (0..source.len(split) as u32).rev().collect();
        let (a, b) = (host.pass(split, order.clone()), resident.pass(split, order));
        for range in a.ranges(16) {
            let ((x, y), (gathered, labels)) = (a.batch(range.clone()), b.batch(range.clone()));
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
