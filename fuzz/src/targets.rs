//! One function a parser: it takes any bytes, and must neither panic nor take memory that the
//! bytes do not account for; what it accepts must be what it promises.
//! `tests/fuzz_seeds.rs` replays the seeds and what was found through the same functions.

use super::parsers::backend::Platform;
use super::parsers::data::Catalog;
use super::parsers::data::archive::{Archive, Digest};
use super::parsers::data::manifest::Manifest;
use super::parsers::data::prepared::{HEADER_BYTES, Header, PreparedManifest};
use super::parsers::data::records::{CIFAR10, CIFAR100, RecordError};
use super::parsers::data::{folders, idx};
use super::parsers::experiments::aggregate::{RunRecord, Runs, aggregate};
use super::parsers::experiments::results::Measured;
use super::parsers::experiments::{Plan, Profile, Seeds};
use super::parsers::image_shape::ImageShape;
use super::parsers::models::tensors::{self, Values};
use super::parsers::spec::{Key, Numerics, RunSpec, canonical_text};
use super::parsers::store::record::{self, Environment, MeasuredRecord, RunManifest};
use super::parsers::train::metrics::{Evaluation, Metrics, Status};
use super::parsers::verify::claims::Claims;
use super::parsers::verify::reference::Reference;
use super::parsers::verify::{self, Case, contradiction, junit};
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

/// IDX: the first byte is the number of dimensions.
pub fn idx(data: &[u8]) {
    let Some((&dimensions, bytes)) = data.split_first() else { return };
    if let Ok((sizes, values)) = idx::parse(bytes, dimensions % 5) {
        assert_eq!(sizes.len(), usize::from(dimensions % 5));
        assert_eq!(sizes.iter().product::<usize>(), values.len());
        assert!(!values.is_empty());
    }
}

/// CIFAR records: the first byte chooses the format, the second cuts the records out of a
/// long stretch of zeros, so that a short input reaches the later ones.
pub fn cifar(data: &[u8]) {
    let [kind, length, rest @ ..] = data else { return };
    let format = if kind % 2 == 0 { &CIFAR10 } else { &CIFAR100 };
    let (classes, mut bytes) = (if kind % 2 == 0 { 10 } else { 100 }, rest.to_vec());
    if kind & 2 == 2 {
        bytes.resize(rest.len().max(format.bytes() * usize::from(length % 4)), 0);
    }
    let mut seen = 0;
    let count = format.read::<RecordError>(&bytes[..], |label, image| {
        assert!(label < classes && image.len() == 3072);
        seen += 1;
        Ok(())
    });
    if let Ok(count) = count {
        assert_eq!(count as usize * format.bytes(), bytes.len());
        assert_eq!(count, seen);
    }
}

/// Safetensors: weights and the notes of a checkpoint.
pub fn weights(data: &[u8]) {
    if let Ok(read) = tensors::parse(data) {
        for tensor in read.values() {
            let count = match &tensor.values {
                Values::F32(values) => values.len(),
                Values::I64(values) => values.len(),
            };
            assert_eq!(tensor.shape.iter().product::<usize>(), count);
            assert!(count > 0 && 4 * count <= data.len());
        }
    }
    let _ = tensors::metadata(data);
}

/// Specs: what passes the check has a key, and comes back from its own text.
pub fn spec(data: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<RunSpec>(data) else { return };
    if spec.check().is_err() {
        return;
    }
    let text = serde_json::to_string(&spec).expect("a spec can be written");
    assert_eq!(serde_json::from_str::<RunSpec>(&text).expect("and read again"), spec);
    let key = Key::of(&spec, &|_| String::new());
    assert_eq!(key.as_str().parse::<Key>().as_ref(), Ok(&key));
    assert!(!canonical_text(&spec, None).contains('\n'));
}

/// Files of a stored run: the first byte chooses which.
pub fn record(data: &[u8]) {
    let Some((&which, bytes)) = data.split_first() else { return };
    match which % 5 {
        0 => {
            let key: Key = "ab".repeat(32).parse().expect("64 hexadecimal digits");
            if let Ok(manifest) = RunManifest::parse(bytes, &key) {
                assert_eq!(manifest.key, key);
                let leaves = |name: &String| name.contains(['/', '\\', '\0']) || name == "..";
                assert!(!manifest.files.keys().any(leaves));
            }
        }
        1 => {
            if let Ok(read) = MeasuredRecord::parse(bytes) {
                let again = MeasuredRecord::parse(&record::json(&read));
                assert_eq!(again.expect("its own text").measured, read.measured);
            }
        }
        2 => drop(serde_json::from_slice::<Environment>(bytes)),
        3 => drop(serde_json::from_slice::<Metrics>(bytes)),
        _ => {
            if let Some(checkpoint) = record::unseal(bytes) {
                assert_eq!(record::seal(checkpoint), bytes);
            }
            assert_eq!(record::unseal(&record::seal(bytes)), Some(bytes));
        }
    }
}

/// Manifests of data sets: no name in them leads out of the folder.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(manifest) = Manifest::parse(text) {
        for entry in &manifest.file {
            let parts = std::path::Path::new(&entry.path).components();
            let inside = |part| {
                matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)
            };
            assert!(parts.into_iter().all(inside), "{:?}", entry.path);
        }
    }
    let _ = PreparedManifest::parse(text);
}

/// Heads of prepared splits: the first eight bytes are the length of the file.
pub fn prepared(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk() else { return };
    let mut bytes = rest.to_vec();
    bytes.resize(rest.len().max(HEADER_BYTES), 0);
    let length = u64::from_le_bytes(*length);
    let claimed = Header::parse(&bytes, length);
    let own = Header::parse(&bytes, bytes.len() as u64);
    for (header, length) in [(claimed, length), (own, bytes.len() as u64)] {
        let Ok(header) = header else { continue };
        let ImageShape { channels, height, width } = header.shape;
        let image = (channels * height * width) as u64 + 1;
        assert_eq!(header.count * image + HEADER_BYTES as u64, length);
        assert!(header.stats.mean().iter().chain(&header.stats.std()).all(|v| v.is_finite()));
        assert_eq!(Header::parse(&header.to_bytes(), length), Ok(header));
    }
}

/// Images: PNG of CINIC-10, PNG or JPEG of ImageNet.
pub fn image(data: &[u8]) {
    if let Ok(image) = folders::decode_cinic(data) {
        assert_eq!(image.len(), 3 * 32 * 32);
    }
    // Resizing is slow and not what is tested: only small images go that far.
    if let Ok(image) = folders::decode_imagenet(data) {
        assert_eq!(image.len(), 3 * 224 * 224);
    }
}

/// Archives: the bytes of a tar file. Nothing may be written but below the folder of the
/// data set, and nothing is left of an archive that was refused.
pub fn archive(data: &[u8]) {
    let place = folder();
    let folder = place.path().join("set");
    std::fs::create_dir(&folder).expect("a folder");
    let file = folder.join("archive.tar.gz");
    let level = flate2::Compression::none();
    let mut out = flate2::write::GzEncoder::new(Vec::new(), level);
    let zipped = out.write_all(data).and_then(|()| out.finish()).expect("memory");
    std::fs::write(&file, zipped).expect("a file");
    let archive = Archive {
        file: "archive.tar.gz",
        url: "",
        bytes: None,
        digest: Digest::Sha256(""),
        folder: "unpacked",
        most_bytes: 1 << 16,
        most_entries: 16,
    };
    let unpacked = archive.unpack(&file, &folder, &mut |_| ControlFlow::Continue(()));
    let names = |folder: &std::path::Path| -> Vec<_> {
        std::fs::read_dir(folder)
            .expect("a folder")
            .map(|e| e.expect("an entry").file_name())
            .collect()
    };
    assert_eq!(names(place.path()), ["set"]);
    let mut left = names(&folder);
    left.sort();
    match unpacked {
        Ok(()) => {
            assert_eq!(left, ["archive.tar.gz", "unpacked"]);
            archive.list(&folder).expect("the list of what was unpacked");
        }
        Err(_) => assert_eq!(left, ["archive.tar.gz"]),
    }
}

/// A folder in memory, where there is such a place.
fn folder() -> tempfile::TempDir {
    let fast = Path::new("/dev/shm");
    let place = if fast.is_dir() { tempfile::tempdir_in(fast) } else { tempfile::tempdir() };
    place.expect("a folder")
}

/// What begins the line before each file of [`declarations`].
const FILE: &str = "=== ";
/// The name of the file that holds the claims.
const CLAIMS: &str = "claims";

/// Experiments (`=== NAME`), profiles (`=== profiles/NAME`), claims (`=== claims`) and
/// references (`=== expected/NAME`), each after a line with its name. Profiles that are
/// accepted are planned, and verified on made-up runs.
pub fn declarations(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let place = folder();
    let (tables, expected) = (place.path().join("tables"), place.path().join("expected"));
    for folder in [tables.join("profiles"), expected.clone()] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    for file in text.split(FILE).skip(1).take(8) {
        let (name, content) = file.split_once('\n').unwrap_or((file, ""));
        let plain = name.len() < 40 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let path = match name.split_once('/') {
            None if name == CLAIMS => expected.join("claims.toml"),
            None if plain => tables.join(format!("{name}.toml")),
            Some(("profiles", name)) if !name.contains('/') && !name.contains('\0') => {
                tables.join("profiles").join(format!("{name}.toml"))
            }
            Some(("expected", name)) if !name.contains('/') && !name.contains('\0') => {
                expected.join(format!("{name}.toml"))
            }
            _ => continue,
        };
        // A name may be too long for a file.
        let _ = std::fs::write(path, content);
    }
    let claims = Claims::read(&expected.join("claims.toml"), &tables);
    for name in Profile::names(&tables) {
        let Ok(profile) = Profile::read(&tables, &name) else { continue };
        let Ok(experiments) = profile.experiments(&tables, &[]) else { continue };
        let levels = experiments.iter().flat_map(|e| &e.axes).map(|axis| axis.levels.len());
        // Larger grids are refused or planned alike, only slower.
        if levels.fold(1, usize::saturating_mul) > 64 {
            continue;
        }
        let (catalog, seeds) = (Catalog::new(place.path()), Seeds::first(4));
        let Ok(plan) = Plan::new(&profile, &tables, &catalog, &[], Some(&seeds)) else { continue };
        let results = aggregate(&plan, &MadeUp);
        let reference = Reference::of_profile(&expected, &name);
        let (Ok(claims), Ok(reference)) = (&claims, &reference) else { continue };
        let platform = Platform { numerics: Numerics::portable(), device: "any".to_owned() };
        let contradicted = match &reference {
            Some(reference) => contradiction::contradictions(reference, &plan, claims, &|_| false),
            None => BTreeMap::new(),
        };
        let verification = verify::verify(&Case {
            profile: &name,
            results: &results,
            claims,
            reference: reference.as_ref(),
            platform: &platform,
            only: &[],
            contradicted: &contradicted,
            strict: false,
        });
        assert!(verification.exit < 4);
        serde_json::to_string(&verification).expect("a verification can be written");
        junit::to_xml(&verification).expect("and as JUnit");
    }
}

/// Runs whose numbers follow from their keys: a tenth of them diverged, as many not fitted.
struct MadeUp;

impl Runs for MadeUp {
    fn run(&self, key: &Key, spec: &RunSpec) -> Option<RunRecord> {
        let digits = u64::from_str_radix(&key.as_str()[..12], 16).expect("hexadecimal digits");
        let value = |place: u32| (digits.rotate_left(place * 7) % 1000) as f64 / 10.0;
        let evaluation = Evaluation {
            epoch: spec.train.stop.max_epochs(),
            learning_rate: spec.train.learning_rate,
            train_loss: value(0),
            train_accuracy: value(1),
            test_loss: if digits.is_multiple_of(10) { f64::NAN } else { value(2) },
            test_accuracy: value(3),
            distance: value(4),
            distance_relative: value(5),
        };
        let status = match digits % 10 {
            0 => Status::Diverged,
            1 => Status::NotMemorized,
            _ => Status::Finished,
        };
        let metrics = Metrics { status, epochs: evaluation.epoch, evaluations: vec![evaluation] };
        Some(RunRecord { metrics, result_hash: String::new() })
    }

    fn measured(&self, _: &Key, _: &str, _: &str) -> Option<Measured> {
        None
    }
}
