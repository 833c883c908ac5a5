//! Training images that are drawn by the seed of a run.

mod common;

use bad_global_minima::data::import::{ImportOptions, import};
use bad_global_minima::data::{Catalog, ImageSet};
use bad_global_minima::data::{draw, subset};
use bad_global_minima::experiments::KeyMaker;
use bad_global_minima::image_shape::ImageShape;
use bad_global_minima::spec::{DataSpec, Draw, EvaluateOn, ImageDataSpec};
use bad_global_minima::train::source::Source;
use common::pictures::flat;
use common::{repository, small_chain, small_run};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use tempfile::TempDir;

fn catalog() -> Catalog {
    Catalog::new(repository().join("data"))
}

fn pool(train: u32, test: u32, evaluate_on: EvaluateOn, draw: Draw) -> ImageDataSpec {
    let dataset = "fashion-mnist-pool".to_owned();
    ImageDataSpec { dataset, train, draw, test, test_along: None, evaluate_on, pool: 1 }
}

fn images(set: &ImageSet) -> Vec<&[u8]> {
    (0..set.len()).map(|i| set.image(i)).collect()
}

/// Number of images of each of ten classes.
fn counts(labels: &[u8]) -> [usize; 10] {
    let mut counts = [0; 10];
    labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
    counts
}

/// Labels of classes of these sizes, mixed up.
fn mixed(sizes: &[usize], order: &[prop::sample::Index]) -> Vec<u8> {
    let mut labels: Vec<u8> =
        (0..).zip(sizes).flat_map(|(class, &size)| vec![class; size]).collect();
    for (place, index) in order.iter().enumerate() {
        let place = place % labels.len();
        let other = index.index(labels.len());
        labels.swap(place, other);
    }
    labels
}

proptest! {
    /// Every image once; classes in proportion in every prefix; another seed, another order.
    #[test]
    fn an_order_is_a_balanced_permutation(
        sizes in proptest::collection::vec(1usize..40, 1..8),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
        seed in any::<u64>(),
    ) {
        let labels = mixed(&sizes, &order);
        let drawn = draw::order(&labels, seed);
        prop_assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), labels.len());
        prop_assert!(drawn.iter().all(|&index| (index as usize) < labels.len()));
        prop_assert_eq!(&draw::order(&labels, seed), &drawn);
        let mut seen: BTreeMap<u8, usize> = BTreeMap::new();
        for (n, &index) in (1..).zip(&drawn) {
            *seen.entry(labels[index as usize]).or_default() += 1;
            for (class, &size) in sizes.iter().enumerate() {
                let fair = (size * n) as f64 / labels.len() as f64;
                let found = *seen.get(&(class as u8)).unwrap_or(&0) as f64;
                prop_assert!((found - fair).abs() <= 0.5 * sizes.len() as f64, "{} {}", n, class);
            }
        }
        if sizes.iter().any(|&size| size > 20) {
            prop_assert_ne!(draw::order(&labels, seed ^ 1), drawn);
        }
    }

    /// With classes of one size, as the pool has them, every multiple of their number is
    /// exactly balanced.
    #[test]
    fn equal_classes_are_balanced_exactly(size in 1usize..30, classes in 2usize..9, seed in any::<u64>()) {
        let labels = mixed(&vec![size; classes], &[]);
        let drawn = draw::order(&labels, seed);
        for rows in 1..=size {
            for class in 0..classes {
                let first = &drawn[..rows * classes];
                let of = first.iter().filter(|&&i| usize::from(labels[i as usize]) == class);
                prop_assert_eq!(of.count(), rows);
            }
        }
    }
}

#[test]
fn a_run_trains_on_its_own_balanced_sample_of_the_pool() {
    let catalog = catalog();
    let load = |train, seed| {
        catalog.load_images(&pool(train, 500, EvaluateOn::Test, Draw::Seed), seed).unwrap()
    };
    let (a, b) = (load(500, 0), load(500, 1));
    assert_eq!(a.train.shape, ImageShape { channels: 1, height: 28, width: 28 });
    assert_eq!(counts(&a.train.labels), [50; 10]);
    assert_eq!(counts(&a.train.labels[..100]), [10; 10]);
    // Seeds differ, and overlap as samples of 16,000 do: 500 of 16,000 by 500 is 16.
    let (of_a, of_b): (BTreeSet<_>, BTreeSet<_>) =
        (images(&a.train).into_iter().collect(), images(&b.train).into_iter().collect());
    assert_eq!(of_a.len(), 500, "no image twice");
    let common = of_a.intersection(&of_b).count();
    assert!((2..60).contains(&common), "{common}");
    // The same seed takes the same images, whatever the size that is asked for.
    for count in [1000, 2000] {
        let more = load(count, 0);
        assert_eq!(images(&more.train)[..500], images(&a.train)[..]);
        assert_eq!(more.train.labels[..500], a.train.labels[..]);
    }
    // What it is tested on does not depend on the seed.
    assert_eq!(a.test, b.test);
    assert_eq!(counts(&a.test.labels), [50; 10]);
    // The whole pool, in another order; and the first ones where that is asked for.
    let whole = load(0, 3);
    assert_eq!(counts(&whole.train.labels), [1600; 10]);
    let first = catalog.load_images(&pool(500, 0, EvaluateOn::Test, Draw::First), 7).unwrap();
    let again = catalog.load_images(&pool(500, 0, EvaluateOn::Test, Draw::First), 8).unwrap();
    assert_eq!((first.test.len(), first.train == again.train), (10_000, true));
    assert_ne!(images(&first.train), images(&a.train));
}

#[test]
fn validation_images_are_not_trained_on_whatever_the_seed() {
    // Unique images, so that an image of both would show.
    let (from, root) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for split in ["train", "test"] {
        for class in 0..3u8 {
            for i in 0..20 {
                let path = from.path().join(format!("{split}/{class}/{i}.png"));
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, flat(8, [i, class, 5 * i + class])).unwrap();
            }
        }
    }
    let mut quiet = |_| ControlFlow::Continue(());
    import(root.path(), "set", from.path(), &ImportOptions::DEFAULT, &mut quiet).unwrap();
    let catalog = Catalog::new(root.path());
    for draw in [Draw::First, Draw::Seed] {
        for seed in 0..20 {
            for (train, test) in [(30, 30), (30, 0), (6, 12), (59, 1)] {
                let on = EvaluateOn::Validation;
                let dataset = "set".to_owned();
                let spec = ImageDataSpec {
                    dataset,
                    train,
                    draw,
                    test,
                    test_along: None,
                    evaluate_on: on,
                    pool: 1,
                };
                let loaded = catalog.load_images(&spec, seed).unwrap();
                let (a, b) = (images(&loaded.train), images(&loaded.test));
                assert_eq!(a.len(), train as usize);
                assert_eq!(b.len(), if test == 0 { 60 - train } else { test } as usize);
                let all: BTreeSet<_> = a.iter().chain(&b).collect();
                assert_eq!(all.len(), a.len() + b.len(), "{draw:?}, seed {seed}, {train} + {test}");
            }
        }
    }
    let on = EvaluateOn::Validation;
    let dataset = "set".to_owned();
    let spec = ImageDataSpec {
        dataset,
        train: 60,
        draw: Draw::Seed,
        test: 0,
        test_along: None,
        evaluate_on: on,
        pool: 1,
    };
    let none = catalog.load_images(&spec, 0).unwrap_err().to_string();
    assert!(none.contains("data.images.test"), "{none}");
}

#[test]
fn the_draw_is_part_of_the_key_and_both_phases_take_the_same_images() {
    let catalog = catalog();
    let mut keys = KeyMaker::new(&catalog);
    let with = |draw| {
        let mut chain = small_chain();
        let spec = DataSpec::Images(pool(40, 50, EvaluateOn::Test, draw));
        chain.data = spec.clone();
        if let bad_global_minima::spec::Start::Run(parent) = &mut chain.start {
            parent.data = spec;
        }
        chain
    };
    let (first, seed) = (with(Draw::First), with(Draw::Seed));
    assert_ne!(keys.key(&first).unwrap(), keys.key(&seed).unwrap());
    let own = Source::open(&seed, &catalog).unwrap();
    let parent = Source::open(seed.parent().unwrap(), &catalog).unwrap();
    let split = bad_global_minima::train::source::Split::TrainPlain;
    assert_eq!(own.images(split), parent.images(split));
    let other = Source::open(&seed.with_seed(99), &catalog).unwrap();
    assert_ne!(own.images(split), other.images(split));
    // A spec that says nothing takes the first ones, as all did before there was a choice.
    let text = serde_json::to_string(&small_run()).unwrap();
    let silent = text.replace(r#""draw":"first","#, "");
    assert_ne!(text, silent);
    let parsed: bad_global_minima::spec::RunSpec = serde_json::from_str(&silent).unwrap();
    assert_eq!(parsed, small_run());
}

/// Where Debian's package is installed.
#[test]
fn the_pool_is_made_by_the_command_in_its_manifest() {
    let catalog = catalog();
    let whole = catalog.info("fashion-mnist").unwrap();
    if catalog.folder(&whole).is_none() {
        eprintln!("skipped: dataset-fashion-mnist is not installed");
        return;
    }
    let (train, test) = catalog.read(&whole).unwrap();
    let pool = catalog.read(&catalog.info("fashion-mnist-pool").unwrap()).unwrap();
    assert_eq!(subset::balanced(&train, 10, 16_000, (0, 0)).unwrap(), pool.0);
    assert_eq!(subset::balanced(&test, 10, 10_000, (0, 1)).unwrap(), pool.1);
    let manifest =
        std::fs::read_to_string(repository().join("data/fashion-mnist-pool/manifest.toml"));
    let command = "bgm data subset --from fashion-mnist --train 16000 --test 10000 --seed 0";
    assert!(manifest.unwrap().contains(command));
}
