//! What several test files need: small specs, a store of their own, the binary.
#![allow(dead_code)]

pub mod pictures;

use bad_global_minima::augment::AugmentSpec;
use bad_global_minima::backend::Device;
use bad_global_minima::corrupt::{CorruptionSpec, ZeroOutUnit};
use bad_global_minima::engine::{EngineDevice, Options, Simd};
use bad_global_minima::models::graph::{Graph, Signature};
use bad_global_minima::models::state::{InitialWeights, State};
use bad_global_minima::spec::*;
use bad_global_minima::train::metrics::{Evaluation, Metrics};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Vanilla SGD from random weights on a few real images.
pub fn small_run() -> RunSpec {
    RunSpec {
        seed: 3,
        data: DataSpec::Images(ImageDataSpec {
            dataset: "fashion-mnist-subset".to_owned(),
            train: 40,
            draw: Draw::First,
            test: 50,
            test_along: None,
            evaluate_on: EvaluateOn::Test,
            pool: 2,
        }),
        network: NetworkSpec { arch: Arch::Resnet18, width: 2, batch_norm: true },
        start: Start::Random { scale: 1.0 },
        train: TrainSpec {
            corruption: None,
            augmentation: None,
            noise_copies: None,
            batch_size: 16,
            optimizer: Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 },
            learning_rate: 0.05,
            schedule: Schedule::Constant,
            stop: Stop::Epochs(3),
            evaluate_every: 1,
            snapshots: Vec::new(),
        },
        precision: Precision::Strict,
        numerics: Numerics::portable(),
    }
}

/// Algorithm 1 with two copies.
pub fn corruption() -> CorruptionSpec {
    CorruptionSpec { replication: 2, zero_out: 0.1, unit: ZeroOutUnit::Values, random_labels: 1.0 }
}

/// Augmentation, l2 and momentum, starting from a fit of corrupted labels.
pub fn small_chain() -> RunSpec {
    let mut parent = small_run();
    parent.train.corruption = Some(corruption());
    let mut child = small_run();
    child.start = Start::Run(Box::new(parent));
    child.train.augmentation = Some(AugmentSpec { crop_padding: 2, flip: 0.5 });
    child.train.optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 };
    child.train.schedule = Schedule::MultiStep { milestones: vec![1, 2], gamma: 0.1 };
    child
}

/// A fit of random labels on a few toy points, well under a tenth of a second.
pub fn toy_run(epochs: u32) -> RunSpec {
    RunSpec {
        seed: 5,
        data: DataSpec::Toy(ToySpec { points_per_class: 4, center: 0.2, std: 0.15, shift: 0.5 }),
        network: NetworkSpec { arch: Arch::Mlp, width: 4, batch_norm: false },
        start: Start::Random { scale: 1.0 },
        train: TrainSpec {
            corruption: Some(CorruptionSpec { replication: 1, zero_out: 0.0, ..corruption() }),
            augmentation: None,
            noise_copies: None,
            batch_size: 4,
            optimizer: Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 },
            learning_rate: 0.01,
            schedule: Schedule::Constant,
            stop: Stop::Epochs(epochs),
            evaluate_every: 2,
            snapshots: Vec::new(),
        },
        precision: Precision::Strict,
        numerics: Numerics::portable(),
    }
}

/// True labels, from where [`toy_run`] ends; its number of epochs tells it from the other.
pub fn toy_chain(parent: u32, child: u32) -> RunSpec {
    let mut run = toy_run(child);
    run.train.corruption = None;
    RunSpec { start: Start::Run(Box::new(toy_run(parent))), ..run }
}

/// Runs so short that every machine gives nearly the same numbers, and that hold everything
/// that training does: `guarded` picks the numbers. Weight decay is strong, so that it shows.
pub fn short_runs() -> Vec<(&'static str, RunSpec)> {
    let mlp = NetworkSpec { arch: Arch::Mlp, width: 8, batch_norm: false };
    let mut chain = small_chain();
    chain.network = mlp.clone();
    chain.train.optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 0.1 };
    if let Start::Run(parent) = &mut chain.start {
        parent.network = mlp.clone();
    }
    let parent = chain.parent().expect("a chain has a parent").clone();
    let mut adam = small_run();
    adam.network = mlp;
    adam.train.optimizer = Optimizer::Adam { weight_decay: 0.1 };
    adam.train.learning_rate = 1e-3;
    let mut runs = vec![("parent", parent), ("chain", chain), ("adam", adam)];
    let nets = [
        ("resnet18", Arch::Resnet18),
        ("resnet50", Arch::Resnet50),
        ("vgg16", Arch::Vgg16),
        ("densenet40", Arch::Densenet40),
    ];
    for (name, arch) in nets {
        let mut run = small_run();
        run.network = NetworkSpec { arch, width: 8, batch_norm: true };
        run.train.stop = Stop::Epochs(1);
        runs.push((name, run));
    }
    runs
}

/// Losses, distances and learning rates of a short run by name. With BatchNorm only those
/// before the first step: its sums drift apart between machines within a few steps.
pub fn guarded(name: &str, spec: &RunSpec, metrics: &Metrics) -> Vec<(String, f64)> {
    let stable = |e: &&Evaluation| e.epoch == 0 || !spec.network.batch_norm;
    let evaluations = metrics.evaluations.iter().filter(stable);
    let numbers = |e: &Evaluation| {
        let name = |number: &str| format!("{name} epoch {} {number}", e.epoch);
        [
            (name("train loss"), e.train_loss),
            (name("test loss"), e.test_loss),
            (name("distance"), e.distance),
            (name("rate"), e.learning_rate),
        ]
    };
    evaluations.flat_map(numbers).collect()
}

/// Whether two guarded numbers are the same on whatever machines they were made.
pub fn alike(a: f64, b: f64) -> bool {
    (a - b).abs() <= 2e-4 * a.abs().max(b.abs())
}

/// A folder of its own for a test, with the spec in a file.
pub struct Workplace {
    pub folder: tempfile::TempDir,
}

impl Workplace {
    pub fn new() -> Self {
        Workplace { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// In memory where there is such a place: for tests that wait for the disk all the time.
    pub fn in_memory() -> Self {
        let fast = Path::new("/dev/shm");
        let folder = if fast.is_dir() { tempfile::tempdir_in(fast) } else { tempfile::tempdir() };
        Workplace { folder: folder.expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn spec_file(&self, name: &str, spec: &RunSpec) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, serde_json::to_vec_pretty(spec).unwrap()).unwrap();
        path
    }

    /// `bgm` with the repository's data and this folder's store.
    pub fn bgm(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("bgm starts")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bgm"));
        command.current_dir(repository()).arg("--store").arg(self.path("runs")).args(arguments);
        if !arguments.contains(&"--device") {
            command.args(["--device", "cpu"]);
        }
        command
    }

    /// `bgm run -`: a process that waits for its job, with all its streams held.
    pub fn start_unfed(&self) -> Child {
        let mut command = self.command(&["run", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("bgm starts")
    }

    /// `key result_hash` that `bgm run` prints for a spec.
    pub fn run(&self, spec: &Path) -> (String, String) {
        let output = self.bgm(&["run", spec.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let line = text(&output.stdout);
        let (key, hash) = line.trim().split_once(' ').expect("key and hash");
        (key.to_owned(), hash.to_owned())
    }
}

pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Declarations of the tiny profile, with runs of about a second.
pub fn longer_tables(place: &Workplace) -> PathBuf {
    let tables = place.path("paper_tables");
    copy_folder(&repository().join("paper_tables"), &tables);
    std::fs::copy(repository().join("tests/tiny/tiny.toml"), tables.join("tiny.toml")).unwrap();
    let profile = std::fs::read_to_string(repository().join("tests/tiny/profile.toml")).unwrap();
    let longer = profile
        .replace("epochs = 5", "epochs = 60000\nlearning_rate = 1e-9")
        .replace("epochs = 4", "epochs = 80000")
        .replace("evaluate_every = 2", "evaluate_every = 10000");
    assert_ne!(profile, longer);
    std::fs::write(tables.join("profiles/tiny.toml"), longer).unwrap();
    tables
}

/// Makes a named pipe.
pub fn fifo(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).unwrap();
}

/// The code blocks of a page of docs/ by language, in order, without their indentation.
pub fn code_blocks(page: &str, language: &str) -> Vec<String> {
    let page = std::fs::read_to_string(repository().join("docs").join(page)).unwrap();
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some((indentation, found)) = line.split_once("```") else { continue };
        let of = |line: &str| line.strip_prefix(indentation).unwrap_or_default().to_owned() + "\n";
        let body = lines.by_ref().take_while(|line| line.trim() != "```").map(of).collect();
        if found == language {
            blocks.push(body);
        }
    }
    blocks
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// This machine's CPU with the engine.
pub fn cpu() -> EngineDevice {
    EngineDevice(Options { simd: Simd::detect(), threads: 1 })
}

/// A network with random weights.
pub fn network(spec: &NetworkSpec, signature: Signature, seed: u64) -> (Graph, State) {
    let graph = Graph::new(spec, signature);
    let state = State::random(&graph, InitialWeights { seed, scale: 1.0 });
    (graph, state)
}

/// Whether the smoke reference promises the engine's bits.
pub fn on_reference_platform() -> bool {
    use bad_global_minima::verify::reference::Reference;
    let reference = Reference::of_profile(&repository().join("expected"), "smoke").unwrap();
    reference.is_some_and(|r| r.platform.agrees(&cpu().platform()))
}
