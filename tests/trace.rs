//! What `bgm trace` writes: each state in it is what the next step starts from.

mod common;

use bad_global_minima::backend::{Batch, Device, Examples, OptimizerState};
use bad_global_minima::models::graph::{Shape, Signature};
use bad_global_minima::models::tensors::Values;
use bad_global_minima::models::weights::{self, NamedTensors};
use bad_global_minima::spec::{Optimizer, Precision, RunSpec};
use common::{Workplace, cpu, network, small_run, text};
use std::collections::BTreeSet;

const STEPS: usize = 7;
const EVERY: usize = 3;

fn traced(spec: &RunSpec, options: &[&str]) -> NamedTensors {
    let place = Workplace::new();
    let (spec, out) = (place.spec_file("spec.json", spec), place.path("trace"));
    let steps = STEPS.to_string();
    let mut arguments = vec!["trace", spec.to_str().unwrap(), "--steps", &steps, "--out"];
    arguments.push(out.to_str().unwrap());
    arguments.extend(options);
    let output = place.bgm(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    weights::from_bytes(&std::fs::read(out).unwrap()).unwrap()
}

fn under(trace: &NamedTensors, place: &str) -> NamedTensors {
    let of = |(name, tensor): (&String, &_)| {
        Some((name.strip_prefix(place)?.to_owned(), Clone::clone(tensor)))
    };
    trace.iter().filter_map(of).collect()
}

fn numbers(trace: &NamedTensors, name: &str) -> Vec<f32> {
    match &trace[name].values {
        Values::F32(values) => values.clone(),
        Values::I64(_) => panic!("{name} holds integers"),
    }
}

fn integers(trace: &NamedTensors, name: &str) -> Vec<i64> {
    match &trace[name].values {
        Values::I64(values) => values.clone(),
        Values::F32(_) => panic!("{name} holds numbers"),
    }
}

/// The state after the last step, gone on to from the one before step `from`.
fn gone_on(spec: &RunSpec, trace: &NamedTensors, from: usize) -> NamedTensors {
    let signature = Signature { input: Shape::new(1, 14, 14), outputs: 10 };
    let (graph, _) = network(&spec.network, signature, 0);
    let before = under(trace, &format!("before/{from}/"));
    let state = weights::state(&graph, &under(&before, "weights/")).unwrap();
    let mut backend = cpu().open(&graph, &state, Precision::Strict).unwrap();
    backend.set_optimizer(&spec.train.optimizer);
    let moments = |kind: &str| {
        let names = graph.parameters.iter().map(|p| format!("optimizer/{kind}/{}", p.name));
        let given = names.filter(|name| before.contains_key(name));
        given.map(|name| numbers(&before, &name)).collect()
    };
    backend.set_optimizer_state(&OptimizerState {
        first: moments("first"),
        second: moments("second"),
        steps: integers(&before, "optimizer/steps")[0],
    });
    for (step, rate) in numbers(trace, "learning_rates").into_iter().enumerate().skip(from) {
        // One channel: PyTorch's order and channels-last are the same.
        let inputs = numbers(trace, &format!("batch/{step}/inputs"));
        let labels = integers(trace, &format!("batch/{step}/labels"));
        let examples = Examples { inputs: &inputs, labels: &labels };
        backend.train(&Batch::Host(examples), f64::from(rate)).unwrap();
    }
    weights::named(backend.graph(), &backend.state())
}

#[test]
fn a_state_in_a_trace_is_what_the_next_step_starts_from() {
    let rules = [
        Optimizer::Sgd { momentum: 0.9, weight_decay: 1e-3 },
        Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 },
        Optimizer::Adam { weight_decay: 1e-3 },
    ];
    for optimizer in rules {
        let mut spec = small_run();
        spec.train.optimizer = optimizer;
        // A power of two, which single precision holds exactly.
        spec.train.learning_rate = 0.0625;
        let trace = traced(&spec, &["--states-every", &EVERY.to_string()]);
        for from in [3, 6] {
            assert_eq!(gone_on(&spec, &trace, from), under(&trace, "final/"), "{:?}", spec.train);
        }
        let states: BTreeSet<&str> = trace
            .keys()
            .filter_map(|name| name.strip_prefix("before/")?.split('/').next())
            .collect();
        assert_eq!(states, BTreeSet::from(["3", "6"]));
        // Without the option, these states alone are missing.
        let plain = traced(&spec, &[]);
        assert!(plain.keys().all(|name| trace[name] == plain[name]));
        assert!(!plain.keys().any(|name| name.starts_with("before/")));
    }
}
