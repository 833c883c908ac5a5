//! The engine's kernels, layer by layer, and whole steps of training, with every set of
//! instructions that this processor has and that is fast:
//! `cargo bench --profile release --bench engine`. One element is a multiplication with its addition.

use bad_global_minima::backend::{Backend, Batch, Examples, With};
use bad_global_minima::engine::{Engine, Options, Simd};
use bad_global_minima::models::graph::{
    Conv, Graph, Init, Node, Norm, Op, Parameter, Shape, Signature,
};
use bad_global_minima::models::state::{InitialWeights, State};
use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::spec::{Arch, NetworkSpec, Optimizer};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

criterion_group!(benches, layers, steps);
criterion_main!(benches);

/// Inputs and labels of a batch.
struct Data {
    inputs: Vec<f32>,
    labels: Vec<i64>,
}

impl Data {
    fn new(signature: Signature, images: usize) -> Data {
        let mut stream = Stream::open(1, Purpose::Test, &[]);
        let count = images * signature.input.values();
        let inputs = (0..count).map(|_| stream.normal() as f32).collect();
        let classes = signature.outputs.max(2);
        let labels = (0..images).map(|image| (image % classes) as i64).collect();
        Data { inputs, labels }
    }

    fn examples(&self) -> Examples<'_> {
        Examples { inputs: &self.inputs, labels: &self.labels }
    }
}

fn engines(graph: &Graph) -> impl Iterator<Item = (Simd, Engine)> {
    let state = State::random(graph, InitialWeights { seed: 1, scale: 1.0 });
    let fast = Simd::available().into_iter().filter(|simd| simd.is_fast());
    fast.map(move |simd| (simd, Engine::new(graph, &state, Options { simd, threads: 1 })))
}

/// A convolution with BatchNorm and ReLU over all of the images, and a mean over all pixels.
fn layer(from: Shape, outputs: usize, kernel: usize) -> Graph {
    let parameter =
        |name: &str, shape: Vec<usize>, init| Parameter { name: name.to_owned(), shape, init };
    let weight = vec![outputs, from.channels, kernel, kernel];
    let conv = Conv { weight: 0, bias: None, kernel: [kernel; 2], stride: 1, padding: kernel / 2 };
    let to = Shape { channels: outputs, ..from };
    let node = |op, shape| Node { op, shape };
    Graph {
        signature: Signature { input: from, outputs },
        nodes: vec![
            node(Op::Input, from),
            node(Op::Conv { input: 0, conv }, to),
            node(Op::Norm { input: 1, norm: 0 }, to),
            node(Op::Relu { input: 2 }, to),
            node(Op::GlobalMean { input: 3 }, Shape::new(outputs, 1, 1)),
        ],
        parameters: vec![
            parameter("conv.weight", weight, Init::FanIn(from.channels * kernel * kernel)),
            parameter("norm.weight", vec![outputs], Init::Constant(1.0)),
            parameter("norm.bias", vec![outputs], Init::Constant(0.0)),
        ],
        norms: vec![Norm { name: "norm".to_owned(), weight: 1, bias: 2, channels: outputs }],
    }
}

/// Forward, and all gradients (forward included), of single layers.
fn layers(criterion: &mut Criterion) {
    for (channels, side, kernel, images) in
        [(8, 14, 3, 25), (16, 7, 3, 25), (64, 2, 3, 25), (8, 14, 1, 50), (64, 14, 1, 50)]
    {
        let graph = layer(Shape::new(channels, side, side), channels, kernel);
        let data = Data::new(graph.signature, images);
        let name = format!("{channels}x{side}x{side} kernel {kernel} batch {images}");
        let operations = graph.multiply_adds() * images as u64;
        for (simd, mut engine) in engines(&graph) {
            let mut group = criterion.benchmark_group(format!("{name}, {simd}"));
            group.throughput(Throughput::Elements(operations));
            group.bench_function("forward", |b| b.iter(|| engine.logits(&data.inputs)));
            group.throughput(Throughput::Elements(3 * operations));
            let examples = data.examples();
            group.bench_function("gradient", |b| b.iter(|| engine.gradient(examples, With::Batch)));
        }
    }
}

/// Steps of training at the profiles' sizes.
fn steps(criterion: &mut Criterion) {
    let square = |side| Shape::new(1, side, side);
    for (arch, width, input, images) in [
        (Arch::Mlp, 100, Shape::new(2, 1, 1), 10),
        (Arch::Resnet18, 4, square(14), 20),
        (Arch::Resnet18, 8, square(14), 25),
        (Arch::Resnet50, 4, square(14), 50),
        (Arch::Vgg16, 8, square(14), 50),
        (Arch::Densenet40, 4, square(14), 50),
    ] {
        let toy = arch == Arch::Mlp;
        let outputs = if toy { 1 } else { 10 };
        let network = NetworkSpec { arch, width, batch_norm: !toy };
        let graph = Graph::new(&network, Signature { input, outputs });
        let data = Data::new(graph.signature, images);
        let momentum = if toy { 0.0 } else { 0.9 };
        let rule = Optimizer::Sgd { momentum, weight_decay: 0.0 };
        let mut group = criterion.benchmark_group("step");
        group.throughput(Throughput::Elements(3 * graph.multiply_adds() * images as u64));
        for (simd, mut engine) in engines(&graph) {
            engine.set_optimizer(&rule);
            let batch = Batch::Host(data.examples());
            let name = format!("{arch:?} width {width} batch {images}, {simd}");
            group.bench_function(name, |b| b.iter(|| engine.train(&batch, 1e-4)));
        }
    }
}
