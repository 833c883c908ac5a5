//! Measurements against cases worked out by hand or by independent brute force on tiny
//! networks.

mod common;

use bad_global_minima::backend::{Backend, Device, Examples, With};
use bad_global_minima::data::Catalog;
use bad_global_minima::measure::path::{Power, path_norm_log10};
use bad_global_minima::measure::{AttackMethod, Subject};
use bad_global_minima::measure::{attack, coherence, norms, sharpness};
use bad_global_minima::models::graph::{Graph, Shape, Signature};
use bad_global_minima::models::state::State;
use bad_global_minima::spec::*;
use bad_global_minima::train::source::{Batch, Source, Split};
use bad_global_minima::train::start;
use common::{cpu, repository, small_run};
use std::collections::BTreeMap;

fn network(arch: Arch, width: u32, signature: Signature) -> (Graph, State) {
    common::network(&NetworkSpec { arch, width, batch_norm: arch != Arch::Mlp }, signature, 1)
}

fn signature(channels: usize, side: usize, outputs: usize) -> Signature {
    Signature { input: Shape::new(channels, side, side), outputs }
}

fn open(graph: &Graph, state: &State) -> Box<dyn Backend> {
    cpu().open(graph, state, Precision::Strict).unwrap()
}

fn close(found: f64, expected: f64) {
    let error = (found - expected).abs() / expected.abs().max(1e-12);
    assert!(error < 1e-4, "{found}, expected {expected}");
}

fn index(graph: &Graph, name: &str) -> usize {
    graph.parameters.iter().position(|p| p.name == name).unwrap()
}

fn get(graph: &Graph, state: &State, name: &str) -> Vec<f64> {
    state.parameters[index(graph, name)].iter().map(|&v| f64::from(v)).collect()
}

#[test]
fn path_norms_of_an_mlp_are_the_sums_over_all_of_its_paths() {
    let (graph, state) = network(Arch::Mlp, 3, signature(2, 1, 2));
    let get = |name: &str| get(&graph, &state, name);
    let (w1, b1) = (get("fc1.weight"), get("fc1.bias"));
    let (w2, b2) = (get("fc2.weight"), get("fc2.bias"));
    let (w3, b3) = (get("fc3.weight"), get("fc3.bias"));
    for (p, power) in [(1.0, Power::One), (2.0, Power::Two)] {
        let edge = |w: f64| w.abs().powf(p);
        // Every path from an input or a bias to an output, one by one.
        let mut total = 0.0;
        for output in 0..2 {
            total += edge(b3[output]);
            for second in 0..3 {
                let last = edge(w3[output * 3 + second]);
                total += last * edge(b2[second]);
                for first in 0..3 {
                    let middle = edge(w2[second * 3 + first]) * last;
                    total += middle * edge(b1[first]);
                    for input in 0..2 {
                        total += edge(w1[first * 2 + input]) * middle;
                    }
                }
            }
        }
        let found = path_norm_log10(&graph, &state, power);
        close(10f64.powf(found), total.powf(1.0 / p));
    }
}

#[test]
fn path_norm_counts_batch_norm_as_its_affine_map() {
    // Compared with the same network whose BatchNorm is folded by hand.
    let signature = signature(1, 4, 2);
    let (graph, mut state) = network(Arch::Vgg16, 1, signature);
    // Give the running statistics something to do.
    for running in &mut state.running {
        running.variance.fill(4.0);
        running.mean.fill(0.5);
    }
    let found = path_norm_log10(&graph, &state, Power::Two);
    // Fold: w' = w * g / s, b' = (b - m) * g / s + beta, and no BatchNorm.
    let spec = NetworkSpec { arch: Arch::Vgg16, width: 1, batch_norm: false };
    let (plain, mut folded) = common::network(&spec, signature, 1);
    let s = (4.0f64 + 1e-5).sqrt();
    for (parameter, values) in plain.parameters.iter().zip(&mut folded.parameters) {
        let scale = if parameter.name.starts_with("classifier") { 1.0 } else { s };
        let from = get(&graph, &state, &parameter.name);
        *values = from.iter().map(|value| (value / scale) as f32).collect();
    }
    // The convolution's bias and the mean are separate edges of the unfolded network: the
    // fold above leaves the mean out, so compare with the network whose mean is 0.
    for running in &mut state.running {
        running.mean.fill(0.0);
    }
    let without_mean = path_norm_log10(&graph, &state, Power::Two);
    let expected = path_norm_log10(&plain, &folded, Power::Two);
    close(10f64.powf(without_mean), 10f64.powf(expected));
    assert!(found > without_mean, "the mean is an edge of its own");
}

#[test]
fn spectral_norms_are_multiplied_over_the_layers() {
    // By power iteration on W^T W, layer by layer.
    let (graph, state) = network(Arch::Resnet18, 2, signature(1, 8, 3));
    let mut product = 0.0;
    for (parameter, values) in graph.parameters.iter().zip(&state.parameters) {
        if parameter.shape.len() < 2 {
            continue;
        }
        let columns = values.len() / parameter.shape[0];
        let rows: Vec<Vec<f64>> = values
            .chunks(columns)
            .map(|row| row.iter().map(|&value| f64::from(value)).collect())
            .collect();
        let times = |v: &[f64]| -> Vec<f64> {
            rows.iter().map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum()).collect()
        };
        let length = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        let mut v = vec![1.0; columns];
        for _ in 0..3000 {
            let up = times(&v);
            v = (0..columns)
                .map(|j| rows.iter().zip(&up).map(|(row, u)| row[j] * u).sum())
                .collect();
            let size = length(&v);
            v.iter_mut().for_each(|part| *part /= size);
        }
        product += length(&times(&v)).log10();
    }
    // BatchNorm at its start: weight 1, variance 1.
    let norms_at_start = -0.5 * (1.0f64 + 1e-5).log10() * graph.norms.len() as f64;
    close(norms::spectral_log10(&graph, &state), product + norms_at_start);
}

/// Points of three coordinates with classes of three.
fn batch(examples: usize) -> Batch {
    let inputs = (0..3 * examples).map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0).collect();
    Batch { inputs, labels: (0..examples as i64).map(|i| (i * 3 + 1) % 3).collect() }
}

/// A three-layer perceptron written out in double precision, as far from libtorch as can be.
struct ByHand {
    /// Weights `[outputs][inputs]` and bias of each layer.
    layers: Vec<(Vec<Vec<f64>>, Vec<f64>)>,
}

impl ByHand {
    fn of(sizes: &[usize], flat: &[f64]) -> ByHand {
        let mut rest = flat.iter().copied();
        let mut take = |n: usize| rest.by_ref().take(n).collect::<Vec<f64>>();
        let layer = |pair: &[usize]| {
            let weights = (0..pair[1]).map(|_| take(pair[0])).collect();
            (weights, take(pair[1]))
        };
        ByHand { layers: sizes.windows(2).map(layer).collect() }
    }

    /// Gradient of the mean cross-entropy by the chain rule, in the order of `flat`.
    fn gradient(&self, inputs: &[Vec<f64>], labels: &[usize]) -> Vec<f64> {
        let mut sums: Vec<(Vec<Vec<f64>>, Vec<f64>)> = self
            .layers
            .iter()
            .map(|(w, b)| (vec![vec![0.0; w[0].len()]; w.len()], vec![0.0; b.len()]))
            .collect();
        for (x, &label) in inputs.iter().zip(labels) {
            let mut activations = vec![x.clone()];
            for (depth, (weights, bias)) in self.layers.iter().enumerate() {
                let below = activations.last().unwrap();
                let row = |(row, b): (&Vec<f64>, &f64)| {
                    b + row.iter().zip(below).map(|(w, a)| w * a).sum::<f64>()
                };
                let raw: Vec<f64> = weights.iter().zip(bias).map(row).collect();
                let last = depth + 1 == self.layers.len();
                activations.push(if last { raw } else { raw.iter().map(|v| v.max(0.0)).collect() });
            }
            let logits = activations.pop().unwrap();
            let total: f64 = logits.iter().map(|v| v.exp()).sum();
            let mut error: Vec<f64> = logits.iter().map(|v| v.exp() / total).collect();
            error[label] -= 1.0;
            for depth in (0..self.layers.len()).rev() {
                let below = &activations[depth];
                let (weights, _) = &self.layers[depth];
                for (out, e) in error.iter().enumerate() {
                    sums[depth].1[out] += e;
                    for (sum, a) in sums[depth].0[out].iter_mut().zip(below) {
                        *sum += e * a;
                    }
                }
                error = (0..below.len())
                    .map(|i| {
                        let back: f64 = weights.iter().zip(&error).map(|(row, e)| row[i] * e).sum();
                        if depth == 0 || below[i] > 0.0 { back } else { 0.0 }
                    })
                    .collect();
            }
        }
        let scale = 1.0 / inputs.len() as f64;
        let flat = sums.into_iter().flat_map(|(w, b)| w.into_iter().flatten().chain(b));
        flat.map(|v| v * scale).collect()
    }
}

#[test]
fn hessian_products_are_finite_differences_of_a_gradient_made_by_hand() {
    let (graph, state) = network(Arch::Mlp, 4, signature(3, 1, 3));
    let batch = batch(6);
    let at: Vec<f64> = state.parameters.iter().flatten().map(|&v| f64::from(v)).collect();
    let mut along: Vec<f64> = at.iter().map(|p| (p * 3.0).cos()).collect();
    let length = along.iter().map(|d| d * d).sum::<f64>().sqrt();
    along.iter_mut().for_each(|d| *d /= length);
    let mut backend = open(&graph, &state);
    let batches = std::slice::from_ref(&batch);
    let product = sharpness::hessian_times(&mut *backend, batches, &along, &|| false).unwrap();
    let xs: Vec<Vec<f64>> =
        batch.inputs.chunks(3).map(|x| x.iter().map(|&value| f64::from(value)).collect()).collect();
    let ys: Vec<usize> = batch.labels.iter().map(|&y| y as usize).collect();
    // Small enough that no unit changes sides, large enough for double precision.
    let step = 1e-6;
    let gradient = |by: f64| {
        let moved: Vec<f64> = at.iter().zip(&along).map(|(p, d)| p + by * d).collect();
        ByHand::of(&[3, 4, 4, 3], &moved).gradient(&xs, &ys)
    };
    let (above, below) = (gradient(step), gradient(-step));
    let (mut error, mut size) = (0.0, 0.0);
    for ((found, a), b) in product.into_iter().zip(above).zip(below) {
        let expected = (a - b) / (2.0 * step);
        error += (found - expected).powi(2);
        size += expected.powi(2);
    }
    assert!(size > 1e-3, "nothing to compare: {size}");
    assert!((error / size).sqrt() < 1e-6, "{} of {}", error.sqrt(), size.sqrt());
}

/// The toy's network has a single logit, and its training loss is a sum over the batch.
#[test]
fn hessian_products_of_the_mean_loss_do_not_depend_on_the_batches() {
    for (outputs, examples) in [(1, 7), (3, 6)] {
        let (graph, state) = network(Arch::Mlp, 4, signature(3, 1, outputs));
        let mut whole = batch(examples);
        whole.labels.iter_mut().for_each(|label| *label %= outputs.max(2) as i64);
        let part = |range: std::ops::Range<usize>| Batch {
            inputs: whole.inputs[3 * range.start..3 * range.end].to_vec(),
            labels: whole.labels[range].to_vec(),
        };
        let along: Vec<f64> = (0..graph.parameter_count()).map(|i| (i as f64).sin()).collect();
        let mut backend = open(&graph, &state);
        let mut product = |batches: &[Batch]| {
            sharpness::hessian_times(&mut *backend, batches, &along, &|| false).unwrap()
        };
        let expected = product(std::slice::from_ref(&whole));
        let split = product(&[part(0..2), part(2..examples)]);
        // Of a single example, mean and sum are the same.
        let mut mean = vec![0.0; along.len()];
        for i in 0..examples {
            let single = product(&[part(i..i + 1)]);
            mean.iter_mut().zip(single).for_each(|(mean, v)| *mean += v / examples as f64);
        }
        let size = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
        assert!(size > 1e-3, "nothing to compare: {size}");
        for found in [split, mean] {
            let apart = expected.iter().zip(&found).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
            assert!(apart.sqrt() < 1e-9 * size, "{outputs}: {} of {size}", apart.sqrt());
        }
    }
}

fn source_of(spec: &RunSpec) -> (Source, Graph, State) {
    let source = Source::open(spec, &Catalog::new(repository().join("data"))).unwrap();
    let graph = Graph::new(&spec.network, source.signature());
    let state = start(spec, &graph, source.seed(), None).unwrap();
    (source, graph, state)
}

/// A subject without anything before it or along the way.
fn subject<'a>(
    (spec, source): (&'a RunSpec, &'a Source),
    (graph, state): (&'a Graph, &'a State),
    backend: &'a mut dyn Backend,
    snapshots: &'a BTreeMap<u32, bad_global_minima::models::weights::NamedTensors>,
) -> Subject<'a> {
    let stop = &|| false;
    Subject { spec, source, graph, state, backend, snapshots, counterpart: None, stop }
}

#[test]
fn the_largest_eigenvalue_of_a_small_hessian() {
    let mut spec = small_run();
    spec.network = NetworkSpec { arch: Arch::Mlp, width: 1, batch_norm: false };
    if let DataSpec::Images(images) = &mut spec.data {
        (images.train, images.pool) = (20, 14);
    }
    let (source, graph, state) = source_of(&spec);
    let mut backend = open(&graph, &state);
    let none = BTreeMap::new();
    let mut subject = subject((&spec, &source), (&graph, &state), &mut *backend, &none);
    let found = sharpness::measure(&mut subject, 200, 20).unwrap().values["hessian_max"];
    // The whole Hessian, a column for each parameter, and its largest eigenvalue by powers of
    // the symmetric matrix itself.
    let data = [source.batch(Split::TrainPlain, 0..20)];
    let count = graph.parameter_count();
    let column = |index: usize| {
        let mut unit = vec![0.0; count];
        unit[index] = 1.0;
        sharpness::hessian_times(&mut *open(&graph, &state), &data, &unit, &|| false).unwrap()
    };
    let columns: Vec<Vec<f64>> = (0..count).map(column).collect();
    let entry = |i: usize, j: usize| (columns[i][j] + columns[j][i]) / 2.0;
    let mut v: Vec<f64> = (0..count).map(|i| 1.0 + i as f64 / 7.0).collect();
    let mut largest = 0.0;
    for _ in 0..5000 {
        let next: Vec<f64> =
            (0..count).map(|i| (0..count).map(|j| entry(i, j) * v[j]).sum()).collect();
        let square: f64 = v.iter().map(|v| v * v).sum();
        largest = next.iter().zip(&v).map(|(a, b)| a * b).sum::<f64>() / square;
        let length = next.iter().map(|v| v * v).sum::<f64>().sqrt();
        v = next.into_iter().map(|part| part / length).collect();
    }
    let error = (found - largest).abs() / largest.abs();
    assert!(error < 1e-3, "{found}, expected {largest}");
}

#[test]
fn coherence_of_equal_and_of_single_examples() {
    let (graph, state) = network(Arch::Mlp, 4, signature(3, 1, 3));
    let mut backend = open(&graph, &state);
    let coherence = |backend: &mut dyn Backend, batch: Batch| {
        coherence::coherence(backend, &[batch], &|| false).unwrap()
    };
    close(coherence(&mut *backend, batch(1)), 1.0);
    // Five times the same example: the gradients agree entirely.
    let Batch { inputs, labels } = batch(1);
    let five = Batch { inputs: inputs.repeat(5), labels: labels.repeat(5) };
    close(coherence(&mut *backend, five), 5.0);
    // By the definition, from gradients that were made by hand.
    let at: Vec<f64> = state.parameters.iter().flatten().map(|&v| f64::from(v)).collect();
    let Batch { inputs, labels } = batch(4);
    let by_hand = ByHand::of(&[3, 4, 4, 3], &at);
    let gradients: Vec<Vec<f64>> = inputs
        .chunks(3)
        .zip(&labels)
        .map(|(x, &label)| {
            let x = x.iter().map(|&value| f64::from(value)).collect();
            by_hand.gradient(&[x], &[label as usize])
        })
        .collect();
    let length = |g: &[f64]| g.iter().map(|v| v * v).sum::<f64>();
    let mean: Vec<f64> = (0..gradients[0].len())
        .map(|k| gradients.iter().map(|g| g[k]).sum::<f64>() / 4.0)
        .collect();
    let expected = 4.0 * length(&mean) / (gradients.iter().map(|g| length(g)).sum::<f64>() / 4.0);
    close(coherence(&mut *backend, batch(4)), expected);
    // One gradient of all of them is the mean of theirs.
    let together =
        backend.gradient(Examples { inputs: &inputs, labels: &labels }, With::Evaluation);
    for (found, expected) in together.unwrap().iter().flatten().zip(&mean) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found}, expected {expected}");
    }
}

#[test]
fn fgsm_on_a_linear_model_in_closed_form() {
    // An MLP whose hidden layers pass their input on (ReLU of a large bias, taken off again)
    // is a linear model: one step of epsilon changes the logit difference by epsilon times
    // the l1 norm of the weight difference, so it is known which answers flip.
    let mut spec = small_run();
    spec.network = NetworkSpec { arch: Arch::Mlp, width: 4, batch_norm: false };
    if let DataSpec::Images(images) = &mut spec.data {
        (images.test, images.pool) = (200, 14); // 2 x 2 pixels
    }
    let (source, graph, mut state) = source_of(&spec);
    let mut put = |name: &str, values: Vec<f32>| {
        let place = &mut state.parameters[index(&graph, name)];
        assert_eq!(place.len(), values.len(), "{name}");
        *place = values;
    };
    let eye: Vec<f32> = (0..16).map(|i| if i % 5 == 0 { 1.0 } else { 0.0 }).collect();
    put("fc1.weight", eye.clone());
    put("fc2.weight", eye);
    put("fc1.bias", vec![50.0; 4]);
    put("fc2.bias", vec![50.0; 4]);
    // Only classes 0 and 1 can win.
    let difference = [0.7f32, -0.4, 0.9, -0.2];
    let mut last = vec![0.0; 40];
    last[..4].copy_from_slice(&difference);
    put("fc3.weight", last);
    let mut bias = vec![-1e4f32; 10];
    let carried: f32 = difference.iter().map(|w| 100.0 * w).sum();
    (bias[0], bias[1]) = (-carried + 0.1, 0.0);
    put("fc3.bias", bias);

    let std = source.normalization().unwrap().std()[0];
    let (low, high) = source.normalization().unwrap().input_range();
    let epsilon = 0.05;
    let data = source.batch(Split::Test, 0..200);
    let (mut attacked, mut clean) = (0, 0);
    for (x, &label) in data.inputs.chunks(4).zip(&data.labels) {
        let logit = |x: &[f32]| x.iter().zip(difference).map(|(x, w)| x * w).sum::<f32>() + 0.1;
        let answer = |l: f32| if l > 0.0 { 0 } else { 1 };
        clean += usize::from(answer(logit(x)) == label);
        // The loss of label 0 falls with the logit, of label 1 it rises; other labels gain
        // from either alike and are wrong anyway.
        let sign = if label == 0 { -1.0 } else { 1.0 };
        let moved: Vec<f32> = x
            .iter()
            .zip(difference)
            .map(|(x, w)| (x + sign * w.signum() * epsilon / std).clamp(low[0], high[0]))
            .collect();
        attacked += usize::from(answer(logit(&moved)) == label);
    }
    let mut backend = open(&graph, &state);
    let none = BTreeMap::new();
    let mut subject = subject((&spec, &source), (&graph, &state), &mut *backend, &none);
    let method = AttackMethod::Fgsm;
    let measured = attack::measure(&mut subject, method, &[f64::from(epsilon)], 200).unwrap();
    let found = measured.values[&format!("accuracy@{}", f64::from(epsilon))];
    close(found, 100.0 * attacked as f64 / 200.0);
    assert!(attacked < clean, "the attack must do harm for this to test anything");
    // No attack, no harm.
    let idle = attack::measure(&mut subject, method, &[0.0], 200).unwrap();
    close(idle.values["accuracy@0"], 100.0 * clean as f64 / 200.0);
    close(idle.values["kept@0"], 100.0);
}
