//! Determinism level D0: what is made in integer or plain f32 arithmetic is identical on
//! every machine. And the guard of `TRAINING_SEMANTICS`: whoever changes what a run means
//! must say so.

mod common;

use bad_global_minima::data::Catalog;
use bad_global_minima::experiments::KeyMaker;
use bad_global_minima::models::{InitialWeights, Network};
use bad_global_minima::spec::*;
use bad_global_minima::torch;
use bad_global_minima::train::schedule::planned_rate;
use bad_global_minima::train::source::{Source, Split};
use bad_global_minima::train::{self, Inputs, Unobserved};
use common::{corruption, repository, small_chain, small_run};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use tch::Device;

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
        let signature = bad_global_minima::models::Signature { input: [1, 14, 14], outputs: 10 };
        let initial = InitialWeights { seed: 3, scale: 1.0 };
        let network = Network::new(&spec, signature, initial, Device::Cpu);
        let values = network.parameters.iter().flat_map(|p| {
            let flat = p.tensor.detach().contiguous().view([-1]);
            Vec::<f32>::try_from(flat).unwrap().into_iter().flat_map(f32::to_le_bytes)
        });
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

/// Losses of the first epochs on this kind of machine, rounded to what every machine gives.
/// When this fails although you meant no change, the training changed; when you meant it,
/// raise `TRAINING_SEMANTICS` and accept both snapshots (the number stands in each, so one
/// cannot be accepted without the other).
#[test]
fn golden_losses_go_with_the_training_semantics() {
    torch::initialize().unwrap();
    let catalog = catalog();
    let mut text = format!("semantics {TRAINING_SEMANTICS}\n");
    let parent_spec = small_chain().parent().unwrap().clone();
    let inputs = |parent| Inputs {
        catalog: &catalog,
        device: Device::Cpu,
        graphs: false,
        parent,
        resume: None,
        key: "",
    };
    let parent = train::train(&parent_spec, &inputs(None), &mut Unobserved).unwrap();
    let weights = bad_global_minima::models::weights::state(&parent.network);
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
    if common::on_reference_platform() {
        insta::assert_snapshot!(text);
        return;
    }
    // Elsewhere trainings drift apart within a few steps; the losses at the start do not.
    let name = "tests/snapshots/golden__golden_losses_go_with_the_training_semantics.snap";
    let blessed = std::fs::read_to_string(repository().join(name)).unwrap();
    let starts = text.lines().filter(|l| l.starts_with("semantics") || l.contains("epoch 0"));
    for line in starts.filter(|l| !l.starts_with("child")) {
        assert!(blessed.contains(line), "{line} is not in {name}");
    }
}
