//! The kernels between guard pages: no read or write before the first or after the last number
//! of any allocation, with the smallest, odd and largest shapes, all instructions that this
//! processor has, one thread and two. Each test runs in a process of its own, since a guard
//! that is hit ends it.
#![cfg(target_os = "linux")]

mod bits;
#[path = "naive/cases.rs"]
#[allow(dead_code)]
mod cases;
mod guard;

use bad_global_minima::backend::{Backend, Batch, With};
use bad_global_minima::engine::{Engine, Options, Simd};
use bad_global_minima::models::graph::Shape;
use bad_global_minima::spec::{Arch, NetworkSpec};
use bits::{hash, lines, locked};
use cases::{ADAM, ARCHS, Case};
use guard::{End, Guard, read_outside};
use std::process::{Command, Output};

#[global_allocator]
static GUARD: Guard = Guard::new();

const ENDS: [End; 2] = [End::First, End::Last];

/// Runs one of the ignored functions below in a process of its own.
fn run(function: &str, end: End) -> Output {
    let program = std::env::current_exe().expect("this test's file");
    let arguments = ["--exact", function, "--ignored", "--nocapture", "--test-threads=1"];
    let mut command = Command::new(program);
    command.args(arguments).env("GUARD_END", format!("{end:?}"));
    command.output().expect("this test starts again")
}

fn end() -> End {
    let wanted = std::env::var("GUARD_END").unwrap_or_default();
    ENDS.into_iter().find(|end| format!("{end:?}") == wanted).unwrap_or(End::Last)
}

fn passes(function: &str) {
    for end in ENDS {
        let output = run(function, end);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let done = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{end:?}: {}: {done}{said}", output.status);
        assert!(done.contains("1 passed"), "{function} is a test: {done}");
    }
}

#[test]
fn a_guard_that_is_hit_ends_the_process() {
    use std::os::unix::process::ExitStatusExt;
    for end in ENDS {
        let output = run("one_number_too_far", end);
        let signal = output.status.signal();
        assert!(matches!(signal, Some(7 | 11)), "{end:?}: {:?}", output.status);
    }
}

#[test]
fn the_locked_hashes_come_out_between_guards() {
    passes("locked_hashes");
}

#[test]
fn the_smallest_and_the_largest_shapes_stay_between_guards() {
    passes("extreme_shapes");
}

#[test]
#[ignore = "ends the process: started by a_guard_that_is_hit_ends_the_process"]
fn one_number_too_far() {
    GUARD.arm(end());
    let list = vec![1.0; 16 * 1024];
    println!("read {}", read_outside(&list, end()));
}

fn ways() -> Vec<Options> {
    let kinds = Simd::available().into_iter();
    let all = kinds.flat_map(|simd| [1, 2].map(|threads| Options { simd, threads }));
    // Threads share the work in the same way whatever they do it with.
    all.filter(|options| options.simd.is_fast() || options.threads == 1).collect()
}

#[test]
#[ignore = "started by the_locked_hashes_come_out_between_guards"]
fn locked_hashes() {
    GUARD.arm(end());
    for line in lines() {
        for options in ways() {
            let found = hash(&line, |graph, state| Box::new(Engine::new(graph, state, options)));
            assert_eq!(Some(found.as_str()), locked(&line.name), "{}, {options:?}", line.name);
        }
    }
}

#[test]
#[ignore = "started by the_smallest_and_the_largest_shapes_stay_between_guards"]
fn extreme_shapes() {
    GUARD.arm(end());
    let mut cases = Vec::new();
    for arch in ARCHS {
        for batch_norm in [true, false] {
            // DenseNet halves its maps twice.
            let side = if arch == Arch::Densenet40 { 4 } else { 1 };
            let smallest = NetworkSpec { arch, width: 1, batch_norm };
            let input = Shape::new(1, side, side);
            cases.push((Case { network: smallest, input, outputs: 1, seed: 1 }, 1));
            cases.push((
                Case {
                    network: NetworkSpec { arch, width: 9, batch_norm },
                    input,
                    outputs: 9,
                    seed: 1,
                },
                3,
            ));
        }
    }
    // The paper's widths, one image more than a block.
    for (arch, width, side) in
        [(Arch::Resnet18, 64, 14), (Arch::Vgg16, 64, 16), (Arch::Densenet40, 12, 32)]
    {
        let network = NetworkSpec { arch, width, batch_norm: true };
        cases.push((Case { network, input: Shape::new(3, side, side), outputs: 10, seed: 1 }, 33));
    }
    for (case, images) in cases {
        let large = case.network.width > 9;
        for options in ways() {
            // A minute each.
            if large && !options.simd.is_fast() {
                continue;
            }
            everything(&case, images, options);
        }
    }
}

/// Everything that a network can be asked for.
fn everything(case: &Case, images: usize, options: Options) {
    let (graph, data, fine) = (case.graph(), case.data(0, images), "the engine works");
    let mut engine = Engine::new(&graph, &case.state(&graph), options);
    engine.set_optimizer(&ADAM);
    engine.train(&Batch::Host(data.examples()), 1e-3).expect(fine);
    engine.evaluate(&Batch::Host(data.examples())).expect(fine);
    engine.input_gradient(data.examples()).expect(fine);
    engine.gradient(data.examples(), With::Evaluation).expect(fine);
    engine.calibrate(&data.inputs).expect(fine);
}
