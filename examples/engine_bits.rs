//! The engine's bits and speed on this machine, in one file without data: copy it to another
//! processor and start it there. Prints each instruction set that the processor has, whether
//! every hash is the one of `docs/numerics.md`, and the time of a training step. Exits with 1
//! if a hash differs.
//!
//! `cargo run --release --example engine_bits -- [STEPS]`: steps that are timed (default 30).

#[path = "../tests/bits/mod.rs"]
mod bits;
#[path = "../tests/naive/cases.rs"]
#[allow(dead_code)]
mod cases;

use bad_global_minima::backend::{Backend, Batch, processor};
use bad_global_minima::engine::{Engine, Options, Simd};
use bad_global_minima::models::graph::Shape;
use bad_global_minima::spec::{Arch, NetworkSpec};
use cases::{Case, SGD};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let steps = std::env::args().nth(1).map_or(Ok(30), |steps| steps.parse());
    let Ok(steps @ 1..) = steps else {
        eprintln!("usage: engine_bits [STEPS], at least 1");
        return ExitCode::from(2);
    };
    let kinds = Simd::available();
    println!("processor: {}", processor());
    println!("instructions: {}", kinds.iter().map(|s| s.name()).collect::<Vec<_>>().join(", "));
    let ways = |fast: bool| {
        let kinds = kinds.iter().filter(move |simd| simd.is_fast() == fast);
        kinds.flat_map(|&simd| [1, 2].map(|threads| Options { simd, threads }))
    };
    // Plain code takes minutes, so it comes last.
    let mut different: usize = ways(true).map(compare).sum();
    ways(true).for_each(|options| time(options, steps));
    different += ways(false).map(compare).sum::<usize>();
    println!("{different} hashes differ");
    ExitCode::from(u8::from(different > 0))
}

/// How many lines of the lock this way of computing does not give.
fn compare(options: Options) -> usize {
    let Options { simd, threads } = options;
    let mut different = 0;
    for line in bits::lines() {
        let hash = bits::hash(&line, |graph, state| Box::new(Engine::new(graph, state, options)));
        let equal = bits::locked(&line.name) == Some(hash.as_str());
        different += usize::from(!equal);
        let verdict = if equal { "equal" } else { "different" };
        println!("{:6} threads {threads} {:26} {hash} {verdict}", simd.name(), line.name);
    }
    different
}

/// Median time of a step of training at the profiles' sizes.
fn time(options: Options, steps: usize) {
    let gray = Shape::new(1, 14, 14);
    let networks = [
        ("resnet18 width 8, batch 25", Arch::Resnet18, 8, 25, gray),
        ("resnet50 width 4, batch 50", Arch::Resnet50, 4, 50, gray),
        ("vgg16 width 8, batch 50", Arch::Vgg16, 8, 50, gray),
        ("densenet40 growth 4, batch 50", Arch::Densenet40, 4, 50, gray),
        ("resnet18 width 16, 28x28, batch 32", Arch::Resnet18, 16, 32, Shape::new(1, 28, 28)),
    ];
    for (name, arch, width, images, input) in networks {
        let network = NetworkSpec { arch, width, batch_norm: true };
        let case = Case { network, input, outputs: 10, seed: 1 };
        let graph = case.graph();
        let mut engine = Engine::new(&graph, &case.state(&graph), options);
        engine.set_optimizer(&SGD);
        let data = case.data(0, images);
        let mut milliseconds = Vec::new();
        for _ in 0..steps + 3 {
            let start = Instant::now();
            engine.train(&Batch::Host(data.examples()), 0.01).expect("a batch that fits");
            milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        }
        // The first ones fetch memory.
        let mut counted = milliseconds.split_off(3);
        counted.sort_by(f64::total_cmp);
        let median = counted[counted.len() / 2];
        let operations = 3.0 * 2.0 * graph.multiply_adds() as f64 * images as f64;
        let rate = operations / (median * 1e6);
        let Options { simd, threads } = options;
        println!(
            "{:6} threads {threads} {name:36} median {median:8.3} ms, best {:8.3} ms, {rate:6.1} GFLOP/s",
            simd.name(),
            counted[0],
        );
    }
}
