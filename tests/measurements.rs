//! Measurements against cases worked out by hand or by independent brute force on tiny
//! networks.

mod common;

use bad_global_minima::data::Catalog;
use bad_global_minima::measure::{AttackMethod, Subject};
use bad_global_minima::measure::{attack, coherence, norms, sharpness};
use bad_global_minima::models::weights::{NamedTensors, load_state, state};
use bad_global_minima::models::{InitialWeights, Mode, Network, Signature};
use bad_global_minima::spec::*;
use bad_global_minima::train::source::Source;
use bad_global_minima::train::{build, training_loss};
use common::{repository, small_run};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

fn network(arch: Arch, width: u32, signature: Signature) -> Network {
    let spec = NetworkSpec { arch, width, batch_norm: arch != Arch::Mlp };
    Network::new(&spec, signature, InitialWeights { seed: 1, scale: 1.0 }, Device::Cpu)
}

fn close(found: f64, expected: f64) {
    let error = (found - expected).abs() / expected.abs().max(1e-12);
    assert!(error < 1e-4, "{found}, expected {expected}");
}

fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(tensor.detach().to_kind(Kind::Double).contiguous().view([-1])).unwrap()
}

fn get(network: &Network, name: &str) -> Vec<f64> {
    values(&network.parameters.iter().find(|p| p.name == name).unwrap().tensor)
}

#[test]
fn path_norms_of_an_mlp_are_the_sums_over_all_of_its_paths() {
    let net = network(Arch::Mlp, 3, Signature { input: [2, 1, 1], outputs: 2 });
    let (w1, b1) = (get(&net, "fc1.weight"), get(&net, "fc1.bias"));
    let (w2, b2) = (get(&net, "fc2.weight"), get(&net, "fc2.bias"));
    let (w3, b3) = (get(&net, "fc3.weight"), get(&net, "fc3.bias"));
    for p in [1.0, 2.0] {
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
        let found = norms::path_norm_log10(&net, [2, 1, 1], Device::Cpu, p);
        close(10f64.powf(found), total.powf(1.0 / p));
    }
}

#[test]
fn path_norm_counts_batch_norm_as_its_affine_map() {
    // A chain: one convolution with BatchNorm in a ResNet of width 1 on one pixel would mix
    // in shortcuts; compare instead with the same network whose BatchNorm is folded by hand.
    let signature = Signature { input: [1, 4, 4], outputs: 2 };
    let mut net = network(Arch::Vgg16, 1, signature);
    // Give the running statistics something to do.
    let mut weights: NamedTensors = state(&net);
    for (name, tensor) in &mut weights {
        if name.ends_with("running_var") {
            *tensor = tensor.ones_like() * 4.0;
        }
        if name.ends_with("running_mean") {
            *tensor = tensor.ones_like() * 0.5;
        }
    }
    load_state(&mut net, &weights).unwrap();
    let found = norms::path_norm_log10(&net, signature.input, Device::Cpu, 2.0);
    // Fold: w' = w * g / s, b' = (b - m) * g / s + beta, and no BatchNorm.
    let spec = NetworkSpec { arch: Arch::Vgg16, width: 1, batch_norm: false };
    let initial = InitialWeights { seed: 1, scale: 1.0 };
    let mut folded = Network::new(&spec, signature, initial, Device::Cpu);
    let s = (4.0f64 + 1e-5).sqrt();
    let mut plain = NamedTensors::new();
    for (name, tensor) in &weights {
        let index: Option<u32> = name.split('.').nth(1).and_then(|i| i.parse().ok());
        let norm = index.map(|i| format!("features.{}", i + 1));
        let is_conv =
            norm.as_ref().is_some_and(|n| weights.contains_key(&format!("{n}.running_var")));
        if name.starts_with("classifier") {
            plain.insert(name.clone(), tensor.shallow_clone());
        } else if is_conv && name.ends_with(".weight") {
            plain.insert(name.clone(), tensor / s);
        } else if is_conv && name.ends_with(".bias") {
            plain.insert(name.clone(), (tensor - 0.0) / s);
        }
    }
    load_state(&mut folded, &plain).unwrap();
    // The convolution's bias and the mean are separate edges of the unfolded network: the
    // fold above leaves the mean out, so add its part by a network whose mean is 0.
    for (name, tensor) in &mut weights {
        if name.ends_with("running_mean") {
            *tensor = tensor.zeros_like();
        }
    }
    load_state(&mut net, &weights).unwrap();
    let without_mean = norms::path_norm_log10(&net, signature.input, Device::Cpu, 2.0);
    let expected = norms::path_norm_log10(&folded, signature.input, Device::Cpu, 2.0);
    close(10f64.powf(without_mean), 10f64.powf(expected));
    assert!(found > without_mean, "the mean is an edge of its own");
}

#[test]
fn the_spectral_norm_is_the_largest_singular_value() {
    // [[3, 0], [4, 5]] has singular values sqrt(45) and sqrt(5).
    let matrix = Tensor::from_slice(&[3.0f64, 0.0, 4.0, 5.0]).view([2, 2]);
    close(norms::largest_singular_value(&matrix), 45f64.sqrt());
    // By power iteration on W^T W, layer by layer.
    let net = network(Arch::Resnet18, 2, Signature { input: [1, 8, 8], outputs: 3 });
    let mut product = 0.0;
    for p in net.parameters.iter().filter(|p| p.tensor.dim() >= 2) {
        let w = p.tensor.detach().to_kind(Kind::Double).contiguous().flatten(1, -1);
        let mut v = Tensor::ones([w.size()[1], 1], (Kind::Double, Device::Cpu));
        for _ in 0..3000 {
            v = w.tr().matmul(&w.matmul(&v));
            v = &v / v.norm();
        }
        product += w.matmul(&v).norm().double_value(&[]).log10();
    }
    // BatchNorm at its start: weight 1, variance 1.
    let norms_at_start = -0.5 * (1.0f64 + 1e-5).log10() * net.buffers.len() as f64 / 2.0;
    close(norms::spectral_log10(&net), product + norms_at_start);
}

fn batch(net_inputs: [i64; 4], classes: i64) -> (Tensor, Tensor) {
    let count: i64 = net_inputs.iter().product();
    let x: Vec<f32> = (0..count).map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0).collect();
    let y: Vec<i64> = (0..net_inputs[0]).map(|i| (i * 3 + 1) % classes).collect();
    (Tensor::from_slice(&x).view(net_inputs), Tensor::from_slice(&y))
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
    let net = network(Arch::Mlp, 4, Signature { input: [3, 1, 1], outputs: 3 });
    let (inputs, labels) = batch([6, 3, 1, 1], 3);
    let parameters = net.trainable();
    let direction: Vec<Tensor> = parameters.iter().map(|p| (p.detach() * 3.0).cos()).collect();
    let data = [(inputs.shallow_clone(), labels.shallow_clone())];
    let product = sharpness::hessian_times(&net, &data, &direction, &|| false).unwrap();
    let flat = |tensors: &[Tensor]| tensors.iter().flat_map(values).collect::<Vec<f64>>();
    let (at, along) = (flat(&parameters), flat(&direction));
    let xs: Vec<Vec<f64>> = values(&inputs).chunks(3).map(<[f64]>::to_vec).collect();
    let ys: Vec<usize> = values(&labels).iter().map(|&y| y as usize).collect();
    // Small enough that no unit changes sides, large enough for double precision.
    let step = 1e-6;
    let gradient = |by: f64| {
        let moved: Vec<f64> = at.iter().zip(&along).map(|(p, d)| p + by * d).collect();
        ByHand::of(&[3, 4, 4, 3], &moved).gradient(&xs, &ys)
    };
    let (above, below) = (gradient(step), gradient(-step));
    let (mut error, mut size) = (0.0, 0.0);
    for ((found, a), b) in flat(&product).into_iter().zip(above).zip(below) {
        let expected = (a - b) / (2.0 * step);
        error += (found - expected).powi(2);
        size += expected.powi(2);
    }
    assert!(size > 1e-3, "nothing to compare: {size}");
    assert!((error / size).sqrt() < 1e-4, "{} of {}", error.sqrt(), size.sqrt());
}

fn subject_of(spec: &RunSpec) -> (Source, Network) {
    let catalog = Catalog::new(repository().join("data"));
    let source = Source::open(spec, &catalog).unwrap();
    let network = build(spec, &source, Device::Cpu);
    (source, network)
}

#[test]
fn the_largest_eigenvalue_of_a_small_hessian() {
    let mut spec = small_run();
    spec.network = NetworkSpec { arch: Arch::Mlp, width: 1, batch_norm: false };
    if let DataSpec::Images(images) = &mut spec.data {
        (images.train, images.pool) = (20, 14);
    }
    let (source, net) = subject_of(&spec);
    let none = BTreeMap::new();
    let subject = Subject {
        spec: &spec,
        source: &source,
        network: &net,
        device: Device::Cpu,
        snapshots: &none,
        counterpart: None,
        stop: &|| false,
    };
    let found = sharpness::measure(&subject, 200, 20).unwrap().values["hessian_max"];
    // The whole Hessian, a column for each parameter, and its eigenvalues.
    let data = source.batch(bad_global_minima::train::source::Split::TrainPlain, 0..20);
    let data = data.tensors(source.signature(), Device::Cpu);
    let parameters = net.trainable();
    let count = net.parameter_count();
    let mut columns = Vec::new();
    for column in 0..count {
        let mut unit = Tensor::zeros([count], (Kind::Float, Device::Cpu));
        let _ = unit.narrow(0, column, 1).fill_(1.0);
        let mut at = 0;
        let mut split = Vec::new();
        for p in &parameters {
            let n = p.numel() as i64;
            split.push(unit.narrow(0, at, n).view(p.size().as_slice()));
            at += n;
        }
        unit = Tensor::zeros([0], (Kind::Float, Device::Cpu));
        drop(unit);
        let product =
            sharpness::hessian_times(&net, std::slice::from_ref(&data), &split, &|| false).unwrap();
        let flat: Vec<Tensor> = product.iter().map(|t| t.contiguous().view([-1])).collect();
        columns.push(Tensor::cat(&flat, 0));
    }
    let hessian = Tensor::stack(&columns, 1).to_kind(Kind::Double);
    let hessian = (&hessian + hessian.tr()) / 2.0;
    let eigenvalues = values(&hessian.linalg_eigvalsh("L"));
    let largest = eigenvalues.into_iter().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
    close(found, largest);
}

#[test]
fn coherence_of_equal_and_of_single_examples() {
    let net = network(Arch::Mlp, 4, Signature { input: [3, 1, 1], outputs: 3 });
    let (x, y) = batch([1, 3, 1, 1], 3);
    close(
        coherence::coherence(&net, &[(x.shallow_clone(), y.shallow_clone())], &|| false).unwrap(),
        1.0,
    );
    // Five times the same example: the gradients agree entirely.
    let five = (x.repeat([5, 1, 1, 1]), y.repeat([5]));
    close(coherence::coherence(&net, &[five], &|| false).unwrap(), 5.0);
    // By the definition, from the gradients themselves.
    let (x, y) = batch([4, 3, 1, 1], 3);
    let gradients: Vec<Vec<f64>> = (0..4)
        .map(|i| {
            let loss =
                training_loss(&net.forward(&x.narrow(0, i, 1), Mode::Eval), &y.narrow(0, i, 1));
            let parts = Tensor::run_backward(&[&loss], &net.trainable(), false, false);
            parts.iter().flat_map(values).collect()
        })
        .collect();
    let length = |g: &[f64]| g.iter().map(|v| v * v).sum::<f64>();
    let mean: Vec<f64> = (0..gradients[0].len())
        .map(|k| gradients.iter().map(|g| g[k]).sum::<f64>() / 4.0)
        .collect();
    let expected = 4.0 * length(&mean) / (gradients.iter().map(|g| length(g)).sum::<f64>() / 4.0);
    close(coherence::coherence(&net, &[(x, y)], &|| false).unwrap(), expected);
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
    let (source, mut net) = subject_of(&spec);
    let mut weights = state(&net);
    let eye = || Tensor::eye(4, (Kind::Float, Device::Cpu));
    weights.insert("fc1.weight".into(), eye());
    weights.insert("fc2.weight".into(), eye());
    weights.insert("fc1.bias".into(), Tensor::from_slice(&[50f32; 4]));
    weights.insert("fc2.bias".into(), Tensor::from_slice(&[50f32; 4]));
    // Only classes 0 and 1 can win.
    let mut last = Tensor::zeros([10, 4], (Kind::Float, Device::Cpu));
    let difference = [0.7f32, -0.4, 0.9, -0.2];
    last.get(0).copy_(&Tensor::from_slice(&difference));
    weights.insert("fc3.weight".into(), last.shallow_clone());
    let mut bias = vec![-1e4f32; 10];
    let carried: f32 = difference.iter().map(|w| 100.0 * w).sum();
    (bias[0], bias[1]) = (-carried + 0.1, 0.0);
    weights.insert("fc3.bias".into(), Tensor::from_slice(&bias));
    load_state(&mut net, &weights).unwrap();
    last = Tensor::zeros([0], (Kind::Float, Device::Cpu));
    drop(last);

    let std = source.normalization().unwrap().std()[0];
    let (low, high) = source.normalization().unwrap().input_range();
    let epsilon = 0.05;
    let split = bad_global_minima::train::source::Split::Test;
    let data = source.batch(split, 0..200);
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
    let none = BTreeMap::new();
    let subject = Subject {
        spec: &spec,
        source: &source,
        network: &net,
        device: Device::Cpu,
        snapshots: &none,
        counterpart: None,
        stop: &|| false,
    };
    let method = AttackMethod::Fgsm;
    let measured = attack::measure(&subject, method, &[f64::from(epsilon)], 200).unwrap();
    let found = measured.values[&format!("accuracy@{}", f64::from(epsilon))];
    close(found, 100.0 * attacked as f64 / 200.0);
    assert!(attacked < clean, "the attack must do harm for this to test anything");
    // No attack, no harm.
    let idle = attack::measure(&subject, method, &[0.0], 200).unwrap();
    close(idle.values["accuracy@0"], 100.0 * clean as f64 / 200.0);
    close(idle.values["kept@0"], 100.0);
}

#[test]
fn parameter_counts_are_the_papers() {
    let cifar = Signature { input: [3, 32, 32], outputs: 10 };
    for (arch, width, expected) in [
        (Arch::Resnet18, 64, 11_173_962),
        (Arch::Resnet50, 64, 23_520_842),
        (Arch::Vgg16, 64, 14_728_266),
        (Arch::Densenet40, 12, 176_122),
    ] {
        assert_eq!(network(arch, width, cifar).parameter_count(), expected, "{arch:?}");
    }
}
