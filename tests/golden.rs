//! Determinism levels D0 and D1: what is drawn and what the engine computes are identical on
//! every machine. And the guard of `TRAINING_SEMANTICS`: whoever changes what a run means
//! must say so.

mod common;

use bad_global_minima::data::Catalog;
use bad_global_minima::experiments::KeyMaker;
use bad_global_minima::models::graph::{Shape, Signature};
use bad_global_minima::spec::*;
use bad_global_minima::train::schedule::planned_rate;
use bad_global_minima::train::source::{Source, Split};
use bad_global_minima::train::{self, Inputs, Unobserved};
use common::{corruption, repository, small_chain, small_run};
use sha2::{Digest, Sha256};
use std::fmt::Write;

fn hash(bytes: impl IntoIterator<Item = u8>) -> String {
    let bytes: Vec<u8> = bytes.into_iter().collect();
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn catalog() -> Catalog {
    Catalog::new(repository().join("data"))
}

fn batch_hash(source: &Source, split: Split) -> String {
    let batch = source.batch(split, 0..source.len(split));
    let inputs = batch.inputs.iter().flat_map(|v| v.to_le_bytes());
    hash(inputs.chain(batch.labels.iter().flat_map(|v| v.to_le_bytes())))
}

#[test]
fn batches_orders_and_initial_weights_are_pinned() {
    let mut text = String::new();
    let mut corrupted = small_run();
    corrupted.train.corruption = Some(corruption());
    for (name, spec) in [("plain", small_run()), ("corrupted", corrupted), ("chain", small_chain())]
    {
        let source = Source::open(&spec, &catalog()).unwrap();
        for (split, label) in [
            (Split::TrainPlain, "train"),
            (Split::Train { epoch: 1 }, "epoch 1"),
            (Split::Train { epoch: 2 }, "epoch 2"),
            (Split::Test, "test"),
        ] {
            writeln!(text, "{name} {label}: {}", batch_hash(&source, split)).unwrap();
        }
        // Epochs count from 1; the last one's rate has been through every drop.
        let rates =
            (1..=4).filter_map(|e| planned_rate(&spec.train.schedule, spec.train.learning_rate, e));
        let rates = rates.flat_map(f64::to_le_bytes);
        writeln!(text, "{name} rates: {}", hash(rates)).unwrap();
        let order = source.order(1).into_iter().flat_map(u32::to_le_bytes);
        writeln!(text, "{name} order: {}", hash(order)).unwrap();
    }
    for arch in [Arch::Mlp, Arch::Resnet18, Arch::Resnet50, Arch::Vgg16, Arch::Densenet40] {
        let spec = NetworkSpec { arch, width: 4, batch_norm: arch != Arch::Mlp };
        let signature = Signature { input: Shape::new(1, 14, 14), outputs: 10 };
        let (_, state) = common::network(&spec, signature, 3);
        let values = state.parameters.iter().flatten().flat_map(|value| value.to_le_bytes());
        writeln!(text, "{arch:?} weights: {}", hash(values)).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn keys_are_pinned() {
    let catalog = catalog();
    let mut keys = KeyMaker::new(&catalog);
    let run = keys.key(&small_run()).unwrap();
    let chain = keys.key(&small_chain()).unwrap();
    insta::assert_snapshot!(format!("semantics {TRAINING_SEMANTICS}\nrun {run}\nchain {chain}"));
}

/// Losses of the first epochs. When this fails although you meant no change, the training changed; when you meant it,
/// raise `TRAINING_SEMANTICS` and accept both snapshots (the number stands in each, so one
/// cannot be accepted without the other).
#[test]
fn golden_losses_go_with_the_training_semantics() {
    let catalog = catalog();
    let mut text = format!("semantics {TRAINING_SEMANTICS}\n");
    let parent_spec = small_chain().parent().unwrap().clone();
    let device = common::cpu();
    let inputs =
        |parent| Inputs { catalog: &catalog, device: &device, parent, resume: None, key: "" };
    let parent = train::train(&parent_spec, &inputs(None), &mut Unobserved).unwrap();
    let weights = parent.weights();
    let child = train::train(&small_chain(), &inputs(Some(&weights)), &mut Unobserved).unwrap();
    let mut adam = small_run();
    adam.train.optimizer = Optimizer::Adam { weight_decay: 1e-3 };
    adam.train.learning_rate = 1e-3;
    let adam = train::train(&adam, &inputs(None), &mut Unobserved).unwrap();
    for (name, metrics) in
        [("parent", parent.metrics), ("child", child.metrics), ("adam", adam.metrics)]
    {
        for e in &metrics.evaluations {
            writeln!(
                text,
                "{name} epoch {}: rate {:.4} train {:.3} test {:.3} distance {:.3}",
                e.epoch, e.learning_rate, e.train_loss, e.test_loss, e.distance
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!(text);
}
