//! Replays the seeds of `fuzz/`, and every input that fuzzing ever found something with,
//! through the same functions. `BGM_WRITE_SEEDS=1` writes the seeds that are made here.

use bad_global_minima as parsers;

#[path = "../fuzz/src/targets.rs"]
mod targets;

mod common;

use bad_global_minima::data::archive::Archive;
use bad_global_minima::data::prepared::{HEADER_BYTES, Header};
use bad_global_minima::data::published::DATASETS;
use bad_global_minima::data::stats::ChannelStats;
use bad_global_minima::experiments::results::Measured;
use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::spec::Key;
use bad_global_minima::store::record::{self, MeasuredRecord, RunManifest};
use bad_global_minima::train::metrics::{Evaluation, Metrics, Status};
use common::{repository, small_chain, toy_chain};
use proptest::prelude::*;
use std::path::PathBuf;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 10] = [
    ("idx", targets::idx),
    ("cifar", targets::cifar),
    ("weights", targets::weights),
    ("spec", targets::spec),
    ("record", targets::record),
    ("manifest", targets::manifest),
    ("prepared", targets::prepared),
    ("image", targets::image),
    ("archive", targets::archive),
    ("declarations", targets::declarations),
];

fn folder(kind: &str, target: &str) -> PathBuf {
    repository().join("fuzz").join(kind).join(target)
}

#[test]
fn seeds_and_what_was_found_pass() {
    for (name, target) in TARGETS {
        let mut count = 0;
        for kind in ["seeds", "found"] {
            for entry in std::fs::read_dir(folder(kind, name)).into_iter().flatten() {
                target(&std::fs::read(entry.unwrap().path()).unwrap());
                count += 1;
            }
        }
        assert!(count > 0, "no seed for {name}: BGM_WRITE_SEEDS=1 makes them");
        // Every file of nothing, of one byte, and of one byte many times.
        target(&[]);
        for byte in 0..=255 {
            target(&[byte]);
            target(&[byte; 40]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Every parser on its seeds with some bytes changed, cut out, doubled and cut off.
    #[test]
    fn changed_seeds_pass(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..8),
    ) {
        let all = seeds();
        for (name, target) in TARGETS {
            let own: Vec<_> = all.iter().filter(|(of, _, _)| *of == name).collect();
            let mut bytes = own[which.index(own.len())].2.clone();
            for (at, value, change) in &changes {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                match change {
                    0 => bytes[at] = *value,
                    1 => {
                        bytes.remove(at);
                    }
                    2 => bytes.insert(at, *value),
                    _ => bytes.truncate(at.max(bytes.len() / 2)),
                }
            }
            target(&bytes);
        }
    }
}

/// A tar file with one entry.
fn tar(name: &str, kind: tar::EntryType, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, bytes).unwrap();
    tar.into_inner().unwrap()
}

/// Two profiles, an experiment, claims of every kind and a reference, each small.
const DECLARATIONS: &str = r#"=== e
title = "T"
summary = ""
source = ""
base = "toy"
[[axis]]
name = "lr"
label = "Rate"
[[axis.level]]
id = "low"
label = "Low"
value = 0.01
set = { "train.learning_rate" = 0.01 }
[[axis.level]]
id = "high"
label = "High"
value = 0.1
set = { "train.learning_rate" = 0.1, "init.kind" = "adversarial" }
[contrast]
axis = "lr"
of = "high"
minus = "low"
[[metric]]
name = "test_loss"
label = "Loss"
resolution = 0.01
[[metric]]
name = "gap.test_loss"
label = "Gap"
[[published]]
cell = { lr = "low" }
metric = "test_loss"
value = 1.0
source = ""
[render]
kind = "line"
x = "lr"
=== profiles/d
[base.toy.data.toy]
points_per_class = 4
center = 0.2
std = 0.1
shift = 0.5
[base.toy]
look_at = "train"
init = { kind = "random", scale = 1.0 }
network = { arch = "mlp", width = 4, batch_norm = false }
[base.toy.pretrain]
corruption = { replication = 1, zero_out = 0.0, unit = "values", random_labels = 1.0 }
batch_size = 4
learning_rate = 0.01
schedule.plateau = { patience = 9, factor = 0.3 }
epochs = 4
memorize_from = 95.0
optimizer = "sgd"
use_augmentation = false
use_l2 = false
use_momentum = false
evaluate_every = 2
strength = { momentum = 0.9, weight_decay = 0.1 }
[base.toy.train]
batch_size = 4
learning_rate = 0.01
schedule.multi_step = { milestones = [0.5], gamma = 0.1 }
epochs = 4
optimizer = "adam"
use_augmentation = true
use_l2 = true
use_momentum = true
evaluate_every = 2
strength = { momentum = 0.9, weight_decay = 0.1, noise_copies = { copies = 1, std = 0.1 } }
=== profiles/p
inherits = "d"
experiments = ["e"]
seeds = { toy = "1..4" }
[override.e]
"train.epochs" = 6
[network.mlp]
"network.width" = 5
[levels.e]
lr = ["high", "low"]
=== claims
[[claim]]
id = "A"
statement = "a"
source = ""
counts = "for_the_paper"
experiment = "e"
metric = "test_loss"
statistic = "loss"
margin = 0.5
margin_reason = ""
require = [{ metric = "test_loss", mean_at_least = 1.0 }]
[[claim.part]]
name = "a"
test.above = { a = { lr = "low" }, b = { lr = "high" } }
[[claim.part]]
name = "b"
test.trend = { axis = "lr" }
[[claim]]
id = "B"
statement = "b"
source = ""
counts = "for_the_paper"
experiment = "e"
metric = "test_loss"
statistic = "loss"
scale = "ratio"
margin = 1.5
margin_reason = ""
[[claim.part]]
name = "c"
test.equivalent = { a = { lr = "low" }, b = { lr = "high" } }
[[claim.part]]
name = "d"
test.best = { a = { lr = "low" }, over = ["lr"] }
=== expected/p
profile = "p"
reason = ""
date = ""
commit = ""
semantics = 3
verdicts = {}
[platform]
numerics = "portable-1"
device = "x"
[[value]]
experiment = "e"
cell = "lr=low"
metric = "test_loss"
seeds = [0, 1, 2]
values = [1.0, 2.0, 4.0]
resolution = 0.1
max_spread = 2.0
"#;

fn png() -> Vec<u8> {
    let mut out = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut out);
    let pixels = [7, 8, 9].repeat(1024);
    let color = image::ExtendedColorType::Rgb8;
    image::ImageEncoder::write_image(encoder, &pixels, 32, 32, color).unwrap();
    out
}

fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let manifest = |files: &[&str]| {
        let key: Key = "ab".repeat(32).parse().unwrap();
        let files: Vec<_> = files.iter().map(|name| ((*name).to_owned(), vec![1])).collect();
        [&[0], &record::json(&RunManifest::of(&key, &files))[..]].concat()
    };
    let evaluation = Evaluation {
        epoch: 1,
        learning_rate: 0.1,
        train_loss: 0.5,
        train_accuracy: 90.0,
        test_loss: 0.75,
        test_accuracy: 80.0,
        distance: 1.5,
        distance_relative: 0.25,
    };
    let metrics = Metrics { status: Status::Finished, epochs: 1, evaluations: vec![evaluation] };
    let mut measured = Measured::default();
    measured.values.insert("norm".to_owned(), 1.25);
    measured.series.insert("grid".to_owned(), vec![0.0, -1.5]);
    let environment = r#"{"platform":{"numerics":"portable-1","device":"cpu"},"commit":"",
        "semantics":1,"seconds":2.5}"#;
    let shape = parsers::image_shape::ImageShape { channels: 1, height: 2, width: 2 };
    let stats = ChannelStats { count: 4, sums: vec![8], squares: vec![16] };
    let header = Header { shape, classes: 10, count: 1, stats }.to_bytes();
    let length = (HEADER_BYTES as u64 + 5).to_le_bytes();
    let tensor = |header: &str, data: &[u8]| {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
    };
    let json = |spec: &parsers::spec::RunSpec| serde_json::to_vec(spec).unwrap();
    let sources = ["spec.json", "metrics.json", "weights.safetensors", "environment.json"];
    let with_snapshot = [&sources[..], &["snapshot-00002.safetensors"]].concat();
    let cifar = DATASETS.iter().find_map(|info| info.archive);
    let archive: Archive = cifar.expect("an archive");
    let data = format!(
        "source = \"{}\"\n[[file]]\npath = \"train.bgm\"\nbytes = 1\nsha256 = \"ab\"\n[[file]]\n\
         path = \"test.bgm\"\nbytes = 1\nsha256 = \"cd\"\n",
        archive.digest
    );
    let circle = "=== profiles/a\ninherits = \"b\"\n=== profiles/b\ninherits = \"a\"\n";
    let own = std::fs::read(repository().join("data/fashion-mnist-subset/manifest.toml")).unwrap();
    vec![
        ("idx", "images", vec![3, 0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4]),
        ("idx", "labels", vec![1, 0, 0, 8, 1, 0, 0, 0, 2, 5, 6]),
        ("cifar", "ten", vec![2, 1, 9]),
        ("cifar", "hundred", vec![3, 2, 19, 99, 1]),
        (
            "weights",
            "one",
            tensor(r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, &[0; 8]),
        ),
        (
            "weights",
            "checkpoint",
            tensor(
                r#"{"__metadata__":{"bgm":"{}"},"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}"#,
                &[1; 8],
            ),
        ),
        ("spec", "images", json(&small_chain())),
        ("spec", "toy", json(&toy_chain(3, 4))),
        ("record", "manifest", manifest(&sources)),
        ("record", "snapshots", manifest(&with_snapshot)),
        (
            "record",
            "measured",
            [&[1], &record::json(&MeasuredRecord::of("ab", &measured))[..]].concat(),
        ),
        ("record", "environment", [&[2], environment.as_bytes()].concat()),
        ("record", "metrics", [&[3], &record::json(&metrics)[..]].concat()),
        ("record", "checkpoint", [&[4], &record::seal(b"state")[..]].concat()),
        ("manifest", "subset", own),
        ("manifest", "prepared", data.into_bytes()),
        ("prepared", "one", [&length[..], &header[..80]].concat()),
        ("image", "png", png()),
        ("image", "cmyk", include_bytes!("images/cmyk.jpg").to_vec()),
        ("image", "progressive", include_bytes!("images/progressive.jpg").to_vec()),
        ("archive", "file", tar("top/file", tar::EntryType::Regular, b"content")),
        ("archive", "up", tar("top/../../file", tar::EntryType::Regular, b"content")),
        ("archive", "link", tar("top/link", tar::EntryType::Symlink, b"")),
        ("declarations", "all", DECLARATIONS.into()),
        ("declarations", "circle", circle.into()),
    ]
}

/// What stands in the place of a value.
const VALUES: [&str; 16] = [
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "-0.0",
    "1e308",
    "1e-320",
    "4294967295",
    "9223372036854775807",
    "\"\"",
    "\"e\"",
    "[]",
    "{}",
    "true",
    "[[0, 1], 2]",
];

/// The declarations with one to four lines left out, doubled, swapped or given another value.
fn changed_declarations(input: u64) -> String {
    let mut stream = Stream::open(input, Purpose::Test, &[]);
    let mut lines: Vec<String> = DECLARATIONS.lines().map(str::to_owned).collect();
    for _ in 0..=stream.below(4) {
        let [at, other] = [0; 2].map(|_| stream.below(lines.len() as u32) as usize);
        let value = VALUES[stream.below(VALUES.len() as u32) as usize].to_owned();
        let of = |line: &str| line.split_once(" = ").map(|(_, value)| value.to_owned());
        let value = of(&lines[other]).filter(|_| stream.below(2) == 0).unwrap_or(value);
        match stream.below(5) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[other].clone()),
            2 => lines.swap(at, other),
            3 => {
                if let Some((name, _)) = lines[at].split_once(" = ") {
                    lines[at] = format!("{name} = {value}");
                }
            }
            _ => {
                // A value within a line: of an inline table, say.
                let places: Vec<usize> = lines[at].match_indices("= ").map(|(i, _)| i).collect();
                if let Some(&place) = places.last() {
                    let rest = lines[at][place + 2..].to_owned();
                    let end = rest.find([',', '}']).unwrap_or(rest.len());
                    lines[at] = format!("{}= {value}{}", &lines[at][..place], &rest[end..]);
                }
            }
        }
    }
    lines.join("\n")
}

/// Such inputs get past the parser of TOML more often than changed bytes do. BGM_FUZZ_INPUTS
/// says how many.
#[test]
fn changed_declarations_pass() {
    let inputs = std::env::var("BGM_FUZZ_INPUTS").ok().map_or(500, |text| text.parse().unwrap());
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || {
                for input in (first..inputs).step_by(threads as usize) {
                    let text = changed_declarations(input);
                    let passed =
                        std::panic::catch_unwind(|| targets::declarations(text.as_bytes()));
                    assert!(passed.is_ok(), "input {input}:\n{text}");
                }
            });
        }
    });
}

/// A seed that is refused at its first line would test nothing else.
#[test]
fn the_declarations_of_the_seed_are_accepted() {
    use parsers::experiments::{Plan, Profile};
    let place = tempfile::tempdir().unwrap();
    let tables = place.path().join("tables");
    std::fs::create_dir_all(tables.join("profiles")).unwrap();
    for file in DECLARATIONS.split("=== ").skip(1) {
        let (name, content) = file.split_once('\n').unwrap();
        let folder = if name == "claims" || name.starts_with("expected") { "." } else { "tables" };
        let path = place.path().join(folder).join(format!("{name}.toml"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let profile = Profile::read(&tables, "p").unwrap();
    let catalog = parsers::data::Catalog::new(place.path());
    let plan = Plan::new(&profile, &tables, &catalog, &[], None).unwrap();
    assert_eq!(plan.runs.len(), 9, "three seeds of a run and of a chain");
    let claims = place.path().join("claims.toml");
    parsers::verify::claims::Claims::read(&claims, &tables).unwrap();
    let expected = place.path().join("expected");
    parsers::verify::reference::Reference::of_profile(&expected, "p").unwrap().unwrap();
}

#[test]
fn seeds_are_what_this_program_writes() {
    for (target, name, bytes) in seeds() {
        let path = folder("seeds", target).join(name);
        if std::env::var_os("BGM_WRITE_SEEDS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        // Every seed that is text, at least, must still be read: an old one tests little.
        let found = std::fs::read(&path).unwrap_or_default();
        assert_eq!(found, bytes, "{}: BGM_WRITE_SEEDS=1 writes it", path.display());
    }
}
