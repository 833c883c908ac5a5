//! Readers of the paper's data sets, on small files made here in the exact published formats,
//! whole and malformed in every way that we could think of.

mod common;

use bad_global_minima::data::archive::{Archive, Digest};
use bad_global_minima::data::fetch::{FetchOptions, Fetched, fetch};
use bad_global_minima::data::folders::{self, CINIC_CLASSES, SUPER_CLASSES};
use bad_global_minima::data::prepare::prepare;
use bad_global_minima::data::prepared::{self, HEADER_BYTES, Header, PreparedManifest};
use bad_global_minima::data::progress::Progress;
use bad_global_minima::data::published::{DATASETS, Format};
use bad_global_minima::data::records::{CIFAR10, CIFAR100, RecordError, RecordFormat};
use bad_global_minima::data::stats::ChannelStats;
use bad_global_minima::data::{Catalog, DataError, DatasetInfo, check, idx, subset};
use bad_global_minima::image_shape::ImageShape;
use common::pictures::{jpeg, png};
use flate2::{Compression, write::GzEncoder};
use image::ExtendedColorType;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use tar::EntryType;
use tempfile::TempDir;

fn quiet(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// Appends an entry with any name, the dangerous ones too.
fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, kind: EntryType, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    if matches!(kind, EntryType::Symlink | EntryType::Link) {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    tar.append(&header, bytes).unwrap();
}

fn tar_gz(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        append(&mut tar, name, EntryType::Regular, bytes);
    }
    gz(&tar.into_inner().unwrap())
}

fn sha256(bytes: &[u8]) -> &'static str {
    let digits: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    Box::leak(digits.into_boxed_str())
}

/// The published data set `name`, with this archive in the place of the published one.
fn with_archive(name: &str, bytes: &[u8], counts: Option<[u64; 2]>) -> DatasetInfo {
    let mut info = DATASETS.iter().find(|info| info.name == name).unwrap().clone();
    let published = info.archive.unwrap();
    let digest = Digest::Sha256(sha256(bytes));
    let bytes = Some(bytes.len() as u64);
    info.archive = Some(Archive { bytes, digest, most_bytes: 1 << 20, ..published });
    info.counts = counts;
    info
}

/// Puts the archive where a user would put it by hand, and lets `fetch` unpack it.
fn install(root: &Path, info: &DatasetInfo, bytes: &[u8]) -> Result<Fetched, DataError> {
    let folder = root.join(&*info.name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(info.archive.unwrap().file), bytes).unwrap();
    // Never asked for: what is there is not downloaded.
    let options = FetchOptions { url: Some("http://127.0.0.1:1/".into()), ..Default::default() };
    fetch(info, root, &options, &mut quiet)
}

fn record(labels: &[u8], value: impl Fn(usize) -> u8) -> Vec<u8> {
    labels.iter().copied().chain((0..3072).map(value)).collect()
}

/// Three records a training file, two in the test file, all values of a record equal.
fn cifar10_files() -> Vec<(String, Vec<u8>)> {
    let file = |name: &str, first: u8, count: u8| {
        let records = (first..first + count).flat_map(|i| record(&[i % 10], move |_| i));
        (format!("cifar-10-batches-bin/{name}"), records.collect())
    };
    let mut files: Vec<_> =
        CIFAR10.train.iter().zip(0u8..).map(|(name, i)| file(name, 3 * i, 3)).collect();
    files.push(file("test_batch.bin", 200, 2));
    files.push(("cifar-10-batches-bin/batches.meta.txt".into(), b"airplane\n".to_vec()));
    files
}

#[cfg(not(feature = "download"))]
#[test]
fn without_downloads_it_says_what_to_put_where() {
    let root = TempDir::new().unwrap();
    let info = with_archive("cifar-10", b"", None);
    let file = info.archive.unwrap().file;
    let error = fetch(&info, root.path(), &FetchOptions::default(), &mut quiet).unwrap_err();
    assert!(
        matches!(&error, DataError::NoDownloads { path, .. } if path.ends_with(file)),
        "{error}"
    );
    says(Err::<Fetched, _>(error), &["--features download", "curl"]);
}

#[test]
fn cifar10_from_archive_to_mapped_images() {
    let root = TempDir::new().unwrap();
    let bytes = tar_gz(&cifar10_files());
    let info = with_archive("cifar-10", &bytes, Some([15, 2]));
    assert_eq!(install(root.path(), &info, &bytes).unwrap(), Fetched::Unpacked);
    assert_eq!(install(root.path(), &info, &bytes).unwrap(), Fetched::AlreadyThere);
    prepare(&info, root.path(), &mut quiet).unwrap();

    let catalog = Catalog::new(root.path());
    let (train, test) = catalog.read(&info).unwrap();
    assert_eq!(train.shape, ImageShape { channels: 3, height: 32, width: 32 });
    assert_eq!(train.labels, (0..15).map(|i| i % 10).collect::<Vec<u8>>());
    assert!((0..15).all(|i| train.image(i).iter().all(|&value| usize::from(value) == i)));
    assert_eq!((test.len(), test.image(1)[0]), (2, 201));
    // Nothing is copied: not by a slice, not by pooling by 1, not by a second load.
    assert!(train.pixels.is_mapped());
    let again = catalog.read(&info).unwrap().0;
    let sliced = again.slice(3, 9).pooled(1);
    assert_eq!(sliced.pixels.as_ptr(), train.image(3).as_ptr());
    // The key carries the hash of what is read, not of what it is said to come from.
    let hash = catalog.hash_of(&info).unwrap();
    assert_eq!(hash, PreparedManifest::read(&root.path().join("cifar-10")).unwrap().content_hash());

    let checked = check::check(&info, &Catalog::new(root.path()), &mut quiet).unwrap();
    assert_eq!(checked.unpacked, 7);
    assert_eq!(checked.archive.unwrap(), format!("sha256:{}", sha256(&bytes)));
    assert_eq!(
        (checked.train.len(), checked.train.classes[4], checked.train.classes[9]),
        (15, 2, 1)
    );
    // Values 0 to 14, 1,024 of each in every channel: mean 7, variance 56 / 3.
    let stats = checked.train.stats;
    assert_eq!(stats.mean(), [(7.0 / 255.0) as f32; 3]);
    assert_eq!(stats.std(), [((56.0f64 / 3.0).sqrt() / 255.0) as f32; 3]);
    assert_eq!(checked.test.stats.mean(), [(200.5 / 255.0) as f32; 3]);
    assert_eq!(checked.test.stats.std(), [(0.5 / 255.0) as f32; 3]);
}

#[test]
fn channels_keep_their_order_and_place() {
    // Red 10, green 20, blue 30, the last pixel of each plane one more.
    let bytes = record(&[7], |i| 10 * (i / 1024 + 1) as u8 + u8::from(i % 1024 == 1023));
    let mut images = Vec::new();
    let count = CIFAR10.read::<RecordError>(&bytes[..], |label, pixels| {
        images.push((label, pixels.to_vec()));
        Ok(())
    });
    assert_eq!(count.unwrap(), 1);
    let (label, pixels) = &images[0];
    assert_eq!(*label, 7);
    assert_eq!([pixels[0], pixels[1023], pixels[1024], pixels[3071]], [10, 11, 20, 31]);
}

#[test]
fn cifar100_takes_fine_labels_and_measures_its_scaling() {
    let root = TempDir::new().unwrap();
    let train: Vec<u8> =
        (0..4u8).flat_map(|i| record(&[i, 90 + i], move |_| if i < 2 { 0 } else { 255 })).collect();
    let files = [
        ("cifar-100-binary/train.bin".to_owned(), train),
        ("cifar-100-binary/test.bin".to_owned(), record(&[19, 99], |_| 255)),
    ];
    let bytes = tar_gz(&files);
    let info = with_archive("cifar-100", &bytes, Some([4, 1]));
    install(root.path(), &info, &bytes).unwrap();
    prepare(&info, root.path(), &mut quiet).unwrap();
    let catalog = Catalog::new(root.path());
    let (train, test) = catalog.read(&info).unwrap();
    assert_eq!((&train.labels[..], &test.labels[..]), (&[90, 91, 92, 93][..], &[99][..]));
    let scaling = catalog.normalization(&info).unwrap();
    assert_eq!(scaling.std(), [0.5; 3]);
    let mut out = Vec::new();
    scaling.append_channels_last(&[0, 255, 0], &mut out);
    assert_eq!(out, [-1.0, 1.0, -1.0]); // Mean and deviation are both one half.
}

/// The message of what must fail.
fn message<T>(result: Result<T, DataError>) -> String {
    match result {
        Ok(_) => panic!("should have failed"),
        Err(e) => e.to_string(),
    }
}

#[track_caller]
fn says<T>(result: Result<T, DataError>, parts: &[&str]) {
    let message = message(result);
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

/// Fetches and prepares CIFAR-10 with one of its files replaced.
fn cifar10_with(name: &str, bytes: Vec<u8>) -> Result<PreparedManifest, DataError> {
    let root = TempDir::new().unwrap();
    let mut files = cifar10_files();
    files.iter_mut().find(|(path, _)| path.ends_with(name)).unwrap().1 = bytes;
    let archive = tar_gz(&files);
    let info = with_archive("cifar-10", &archive, Some([15, 2]));
    install(root.path(), &info, &archive)?;
    let result = prepare(&info, root.path(), &mut quiet);
    assert!(result.is_ok() || Catalog::new(root.path()).read(&info).is_err());
    result
}

#[test]
fn malformed_records_are_named() {
    let mut long = record(&[1], |_| 0);
    long.extend(record(&[2], |_| 0));
    long.truncate(4000);
    says(
        cifar10_with("data_batch_3.bin", long),
        &["data_batch_3.bin", "record 1", "927 of its 3073"],
    );
    let label = record(&[10], |_| 0);
    says(cifar10_with("test_batch.bin", label), &["test_batch.bin", "label of record 0 is 10"]);
    says(cifar10_with("data_batch_1.bin", vec![]), &["data_batch_1.bin", "empty"]);
    let short = record(&[1], |_| 0);
    says(cifar10_with("data_batch_5.bin", short), &["training split", "13 images", "15"]);

    let mut each = |_: u8, _: &[u8]| Ok::<(), RecordError>(());
    let coarse = CIFAR100.read(&record(&[20, 0], |_| 0)[..], &mut each).unwrap_err();
    assert!(coarse.to_string().contains("coarse label of record 0 is 20"), "{coarse}");
    let fine = CIFAR100.read(&record(&[19, 100], |_| 0)[..], &mut each).unwrap_err();
    assert!(fine.to_string().contains("fine label of record 0 is 100"), "{fine}");
}

#[test]
fn files_that_did_not_come_from_the_archive_are_refused() {
    let root = TempDir::new().unwrap();
    let bytes = tar_gz(&cifar10_files());
    let info = with_archive("cifar-10", &bytes, Some([15, 2]));
    let unpacked = root.path().join("cifar-10/cifar-10-batches-bin");
    fs::create_dir_all(&unpacked).unwrap();
    for (name, bytes) in cifar10_files() {
        fs::write(root.path().join("cifar-10").join(name), bytes).unwrap();
    }
    says(prepare(&info, root.path(), &mut quiet), &["unpacked.sha256", "unpacked by hand"]);
    says(Catalog::new(root.path()).read(&info), &["bgm data prepare"]);

    install(root.path(), &info, &bytes).unwrap();
    let victim = unpacked.join("data_batch_2.bin");
    let mut changed = fs::read(&victim).unwrap();
    changed[100] ^= 1;
    fs::write(&victim, &changed).unwrap();
    let result = prepare(&info, root.path(), &mut quiet);
    assert!(matches!(&result, Err(DataError::Hash { path, .. }) if *path == victim), "{result:?}");
    fs::remove_file(&victim).unwrap();
    says(prepare(&info, root.path(), &mut quiet), &["data_batch_2.bin", "bgm data fetch"]);
    // The list of another archive is no list of this one.
    let other = with_archive("cifar-10", b"another", None);
    says(prepare(&other, root.path(), &mut quiet), &["unpacked.sha256", "is not the list"]);
}

/// Unpacks an archive that holds `entries` after one good file.
#[test]
fn other_images_with_a_list_that_lies_have_a_key_of_their_own() {
    let root = TempDir::new().unwrap();
    let bytes = tar_gz(&cifar10_files());
    let info = with_archive("cifar-10", &bytes, Some([15, 2]));
    install(root.path(), &info, &bytes).unwrap();
    prepare(&info, root.path(), &mut quiet).unwrap();
    let catalog = Catalog::new(root.path());
    let published = catalog.hash_of(&info).unwrap();

    let folder = root.path().join("cifar-10/cifar-10-batches-bin");
    let batch = folder.join("data_batch_1.bin");
    let mut changed = fs::read(&batch).unwrap();
    changed[100] ^= 1;
    let list = fs::read_to_string(folder.join("unpacked.sha256")).unwrap();
    let forged = list.replace(sha256(&fs::read(&batch).unwrap()), sha256(&changed));
    assert_ne!(forged, list);
    fs::write(&batch, &changed).unwrap();
    fs::write(folder.join("unpacked.sha256"), forged).unwrap();
    fs::remove_dir_all(root.path().join("cifar-10/prepared")).unwrap();
    prepare(&info, root.path(), &mut quiet).unwrap();
    assert_ne!(catalog.hash_of(&info).unwrap(), published);
}

/// FIFOs in the place of every file that is read: named, never waited for.
#[test]
fn pipes_in_the_place_of_data_files_are_named() {
    let (root, info, manifest) = prepared_cifar();
    let folder = root.path().join("cifar-10");
    let unpacked = "cifar-10-batches-bin";
    let archive = info.archive.unwrap().file;
    let fifo = |name: &str| {
        let path = folder.join(name);
        let whole = fs::read(&path).unwrap_or_default();
        fs::remove_file(&path).unwrap_or_default();
        common::fifo(&path);
        (path, whole)
    };
    let restore = |(path, whole): (std::path::PathBuf, Vec<u8>)| {
        fs::remove_file(&path).unwrap();
        fs::write(path, whole).unwrap();
    };
    let catalog = Catalog::new(root.path());
    for name in ["prepared/train.bgm", "prepared/manifest.toml"] {
        let kept = fifo(name);
        says(catalog.read(&info), &[name, "is a FIFO"]);
        restore(kept);
    }
    let kept = fifo(archive);
    says(check::check(&info, &Catalog::new(root.path()), &mut quiet), &[archive, "is a FIFO"]);
    restore(kept);
    fs::remove_dir_all(folder.join("prepared")).unwrap();
    for name in ["unpacked.sha256", "test_batch.bin"] {
        let kept = fifo(&format!("{unpacked}/{name}"));
        says(prepare(&info, root.path(), &mut quiet), &[name, "is a FIFO"]);
        restore(kept);
    }
    assert_eq!(prepare(&info, root.path(), &mut quiet).unwrap(), manifest);

    let subset = root.path().join("fashion-mnist-subset");
    common::copy_folder(&common::repository().join("data/fashion-mnist-subset"), &subset);
    let info = catalog.info("fashion-mnist-subset").unwrap();
    for name in ["manifest.toml", "train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"] {
        let whole = fs::read(subset.join(name)).unwrap();
        fs::remove_file(subset.join(name)).unwrap();
        common::fifo(&subset.join(name));
        says(catalog.read(&info), &[name, "is a FIFO"]);
        restore((subset.join(name), whole));
    }
    catalog.read(&info).unwrap();
}

fn unpack(entries: &[(&str, EntryType, &[u8])]) -> Result<Fetched, DataError> {
    let root = TempDir::new().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "top/good.bin", EntryType::Regular, b"good");
    for (name, kind, bytes) in entries {
        append(&mut tar, name, *kind, bytes);
    }
    let bytes = gz(&tar.into_inner().unwrap());
    let info = with_archive("cifar-10", &bytes, None);
    let inner = root.path().join("inner");
    let result = install(&inner, &info, &bytes);
    if result.is_err() {
        let left = |path: &Path| fs::read_dir(path).unwrap().count();
        assert_eq!(left(root.path()), 1, "something was written outside");
        assert_eq!(left(&inner.join("cifar-10")), 2, "only the archive and the lock may be left");
    }
    result
}

#[test]
fn unsafe_archives_unpack_nothing() {
    use EntryType::*;
    says(unpack(&[("../evil", Regular, b"x")]), &["entry '../evil'", "points outside"]);
    says(unpack(&[("top/../../../evil", Regular, b"x")]), &["points outside"]);
    says(unpack(&[("/tmp/bgm-evil", Regular, b"x")]), &["entry '/tmp/bgm-evil'", "points outside"]);
    assert!(!Path::new("/tmp/bgm-evil").exists());
    says(unpack(&[("..", Directory, b"")]), &["points outside"]);
    says(unpack(&[("top/link", Symlink, b"")]), &["entry 'top/link'", "neither file nor folder"]);
    says(unpack(&[("top/link", Link, b"")]), &["neither file nor folder"]);
    says(unpack(&[("top/null", Char, b"")]), &["neither file nor folder"]);
    says(unpack(&[("top/disk", Block, b"")]), &["neither file nor folder"]);
    says(unpack(&[("top/pipe", Fifo, b"")]), &["neither file nor folder"]);
    says(unpack(&[("top/good.bin", Regular, b"x")]), &["occurs twice"]);
    says(unpack(&[("top\\evil", Regular, b"x")]), &["characters"]);
    says(unpack(&[("a/b/c/d/e/f/g/h/i", Regular, b"x")]), &["nested too deeply"]);
    let many: Vec<String> = (0..70).map(|i| format!("top/{i}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), Regular, &b""[..])).collect();
    says(unpack(&many), &["one more than 64 entries"]);
    // 64 MiB of zeros in 300 kB: the bound of 1 MiB holds, for a file and for a header alike.
    let zeros = vec![0; 64 << 20];
    says(unpack(&[("top/bomb", Regular, &zeros)]), &["expands to more"]);
    says(unpack(&[("top/name", GNULongName, &zeros)]), &["expands to more"]);
    assert!(unpack(&[("top/fine", Regular, b"x")]).is_ok());
}

#[test]
fn damaged_archives_are_named() {
    let root = TempDir::new().unwrap();
    let good = tar_gz(&cifar10_files());
    let info = with_archive("cifar-10", &good, None);
    let size = install(root.path(), &info, &good[..good.len() - 1]);
    assert!(
        matches!(&size, Err(DataError::Size { expected, found, .. }) if *expected == found + 1)
    );
    says(size, &["cifar-10-binary.tar.gz"]);
    let mut flipped = good.clone();
    flipped[50] ^= 1;
    let hash = install(root.path(), &info, &flipped);
    assert!(matches!(&hash, Err(DataError::Archive { .. })), "{hash:?}");
    says(hash, &["cifar-10-binary.tar.gz", "sha256:", "remove it"]);
    // Its digest is right, but it is no archive.
    for bytes in [&b"no gzip at all"[..], &gz(b"no tar at all"), &good[..good.len() / 2], &gz(b"")]
    {
        let info = with_archive("cifar-10", bytes, None);
        says(install(root.path(), &info, bytes), &["cifar-10-binary.tar.gz"]);
    }
    assert!(!root.path().join("cifar-10/cifar-10-batches-bin").exists());
    says(fetch(&DATASETS[0], root.path(), &FetchOptions::default(), &mut quiet), &["embedded"]);
}

/// A 32x32 image of one colour.
fn flat(rgb: [u8; 3]) -> Vec<u8> {
    common::pictures::flat(32, rgb)
}

/// Two training images a class, one test and one validation image.
fn cinic_files() -> Vec<(String, Vec<u8>)> {
    let mut files = vec![("README.md".to_owned(), b"read me".to_vec())];
    for (label, class) in CINIC_CLASSES.iter().enumerate().rev() {
        let label = label as u8;
        files.push((format!("train/{class}/n2.png"), flat([label, 2, 0])));
        files.push((format!("train/{class}/cifar-1.png"), flat([label, 1, 0])));
        let grey = png(32, 32, ExtendedColorType::L8, &[100 + label; 1024]);
        files.push((format!("test/{class}/a.png"), grey));
        files.push((format!("valid/{class}/a.png"), flat([0; 3])));
    }
    files
}

fn cinic(files: &[(String, Vec<u8>)], root: &Path) -> Result<DatasetInfo, DataError> {
    let bytes = tar_gz(files);
    let mut info = with_archive("cinic-10", &bytes, Some([20, 10]));
    let md5: String =
        <md5::Md5 as md5::Digest>::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    let digest = Digest::Md5(Box::leak(md5.into_boxed_str()));
    info.archive = info.archive.map(|archive| Archive { digest, ..archive });
    install(root, &info, &bytes)?;
    prepare(&info, root, &mut quiet)?;
    Ok(info)
}

#[test]
fn cinic_from_archive_to_mapped_images() {
    let root = TempDir::new().unwrap();
    let info = cinic(&cinic_files(), root.path()).unwrap();
    let (train, test) = Catalog::new(root.path()).read(&info).unwrap();
    // Files by name within a class, classes in turn: any prefix is balanced.
    assert_eq!(train.labels[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    assert_eq!([train.image(1)[0], train.image(1)[1024], train.image(1)[2048]], [1, 1, 0]);
    assert_eq!([train.image(11)[0], train.image(11)[1024]], [1, 2]);
    assert!(test.image(3).iter().all(|&value| value == 103), "grey becomes three channels");
    let checked = check::check(&info, &Catalog::new(root.path()), &mut quiet).unwrap();
    assert_eq!(checked.unpacked, 41);
    assert!(checked.archive.unwrap().starts_with("md5:"));
    // The same with everything inside one folder.
    let root = TempDir::new().unwrap();
    let nested: Vec<_> =
        cinic_files().into_iter().map(|(name, bytes)| (format!("CINIC/{name}"), bytes)).collect();
    let info = cinic(&nested, root.path()).unwrap();
    assert_eq!(Catalog::new(root.path()).read(&info).unwrap().0, train);
}

/// CINIC-10 with one file replaced, or removed where there are no bytes.
fn cinic_with(name: &str, bytes: Option<Vec<u8>>) -> Result<DatasetInfo, DataError> {
    let mut files = cinic_files();
    files.retain(|(path, _)| path != name);
    files.extend(bytes.map(|bytes| (name.to_owned(), bytes)));
    cinic(&files, TempDir::new().unwrap().path())
}

#[test]
fn malformed_cinic_folders_are_named() {
    let wide = png(33, 32, ExtendedColorType::Rgb8, &[0; 33 * 32 * 3]);
    says(cinic_with("train/cat/n2.png", Some(wide)), &["train/cat/n2.png", "33x32", "32x32"]);
    says(
        cinic_with("train/dog/n2.png", Some(b"no image".to_vec())),
        &["train/dog/n2.png", "no readable"],
    );
    let mut cut = flat([1, 2, 3]);
    cut.truncate(cut.len() / 2);
    says(cinic_with("train/dog/n2.png", Some(cut)), &["train/dog/n2.png", "no readable"]);
    says(cinic_with("train/dog/n2.png", Some(vec![])), &["train/dog/n2.png", "no readable"]);
    says(cinic_with("test/ship/a.png", None), &["test", "no folder for class 'ship'"]);
    says(cinic_with("train/zebra/a.png", Some(flat([0; 3]))), &["train", "zebra"]);
    let text = cinic_files().into_iter().filter(|(name, _)| name != "test/ship/a.png");
    let text: Vec<_> = text.chain([("test/ship/a.txt".to_owned(), vec![1])]).collect();
    says(cinic(&text, TempDir::new().unwrap().path()), &["test/ship", "contains no images"]);
    says(cinic_with("train/dog/n3.png", Some(flat([0; 3]))), &["training split", "21 images"]);
}

#[test]
fn a_png_that_promises_a_huge_image_is_refused_before_it_is_allocated() {
    // Width and height of the header become 2^31 - 1, its checksum is made to fit.
    let mut bytes = flat([0; 3]);
    bytes[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    assert!(folders::decode_cinic(&bytes).is_err());
    assert!(folders::decode_imagenet(&bytes).is_err());
}

/// CINIC-10 with this image among its first: what it became, or what was wrong with it.
fn one_cinic_image(bytes: Vec<u8>) -> Result<Vec<u8>, DataError> {
    let mut files = cinic_files();
    files.iter_mut().find(|(path, _)| path == "train/cat/n2.png").unwrap().1 = bytes;
    let root = TempDir::new().unwrap();
    let info = cinic(&files, root.path())?;
    let (train, _) = Catalog::new(root.path()).read(&info).unwrap();
    // Class 3; files by name: cifar-1.png, then n2.png.
    assert_eq!(train.labels[13], 3);
    Ok(train.image(13).to_vec())
}

#[test]
fn png_files_of_every_depth_become_eight_bits_and_three_channels() {
    let planes = |rgb: [u8; 3]| rgb.iter().flat_map(|&v| [v; 1024]).collect::<Vec<u8>>();
    // 16 bits a channel, big-endian in the file; the image library rounds v / 257.
    let wide: Vec<u8> = [0x0a0au16, 0x8080, 0xffff].iter().flat_map(|v| v.to_ne_bytes()).collect();
    let wide = png(32, 32, ExtendedColorType::Rgb16, &wide.repeat(1024));
    assert_eq!(one_cinic_image(wide).unwrap(), planes([10, 128, 255]));
    let grey = png(32, 32, ExtendedColorType::L16, &0x4040u16.to_ne_bytes().repeat(1024));
    assert_eq!(one_cinic_image(grey).unwrap(), planes([64; 3]));
    // Transparency is dropped, as PIL's convert("RGB") drops it.
    let clear = png(32, 32, ExtendedColorType::Rgba8, &[1, 2, 3, 0].repeat(1024));
    assert_eq!(one_cinic_image(clear).unwrap(), planes([1, 2, 3]));
}

#[test]
fn a_png_that_ends_anywhere_is_refused() {
    let whole = flat([9, 8, 7]);
    // The last chunk (12 bytes) only says that this is the end: nothing is missing without it.
    for length in 0..whole.len() - 16 {
        assert!(folders::decode_cinic(&whole[..length]).is_err(), "{length} bytes");
    }
    for at in [0, 12, 20, 40, whole.len() - 20] {
        let mut bad = whole.clone();
        bad[at] ^= 0x55;
        assert!(folders::decode_cinic(&bad).is_err(), "byte {at} changed");
    }
}

/// Made with Pillow 12 (`Image.new(mode, (16, 16), colour)`), since the image library writes no such
/// files: CMYK (10, 200, 60, 30), grey 77, and progressive RGB (200, 100, 50).
const PILLOW: [(&str, &[u8], [u8; 3]); 3] = [
    ("cmyk", include_bytes!("images/cmyk.jpg"), [216, 49, 172]),
    ("grey", include_bytes!("images/grey.jpg"), [77; 3]),
    ("progressive", include_bytes!("images/progressive.jpg"), [200, 100, 50]),
];

#[test]
fn jpeg_files_of_every_kind_become_three_channels() {
    for (name, bytes, colour) in PILLOW {
        let image = folders::decode_imagenet(bytes).unwrap();
        for (channel, expected) in colour.into_iter().enumerate() {
            let value = image[channel * 224 * 224 + 25_000];
            // The two libraries round CMYK differently.
            assert!(value.abs_diff(expected) <= 3, "{name}, channel {channel}: {value}");
        }
    }
}

#[test]
fn a_jpeg_that_ends_before_its_end_is_refused() {
    let large = jpeg(64, 48, |x, y| [(4 * x) as u8, (5 * y) as u8, (x * y) as u8]);
    for whole in PILLOW.iter().map(|(_, bytes, _)| *bytes).chain([&large[..]]) {
        for length in 0..whole.len() - 1 {
            let cut = folders::decode_imagenet(&whole[..length]);
            assert!(cut.is_err(), "{length} of {} bytes", whole.len());
        }
        // Bytes after the end are no part of the image; some of ImageNet's files have them.
        let longer = [whole, b"something else"].concat();
        assert_eq!(folders::decode_imagenet(&longer), folders::decode_imagenet(whole));
    }
}

#[test]
fn a_jpeg_that_promises_a_huge_image_is_refused_before_it_is_allocated() {
    let mut bytes = jpeg(16, 16, |_, _| [0; 3]);
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]); // 65,500 x 65,500
    let refused = folders::decode_imagenet(&bytes).unwrap_err();
    assert!(refused.contains("65500x65500"), "{refused}");
}

#[test]
fn what_is_no_image_of_imagenet_is_named() {
    let root = TempDir::new().unwrap();
    imagenet(root.path());
    let info = DATASETS.iter().find(|info| info.format == Format::RestrictedImagenet).unwrap();
    let name = format!("n{:08}", 151 * 7 + 1);
    let dog = root.path().join("restricted-imagenet/train").join(&name);
    // Passed over: neither ends in .JPEG; hidden.
    fs::write(dog.join("README.txt"), b"text").unwrap();
    fs::write(dog.join("._b.JPEG"), b"left by an archiver").unwrap();
    let image = fs::read(dog.join("b.JPEG")).unwrap();
    for (bytes, problem) in [
        (b"text".to_vec(), "no readable image"),
        (vec![], "no readable image"),
        (image[..image.len() / 2].to_vec(), "image"),
        (jpeg(1, 500, |_, _| [0; 3]), "1x500 pixels: too small"),
        (jpeg(1, 1, |_, _| [0; 3]), "1x1 pixels: too small"),
        (jpeg(64, 1, |_, _| [0; 3]), "64x1 pixels: too small"),
        (jpeg(400, 15, |_, _| [0; 3]), "at least 16 a side"),
        (jpeg(16, 1100, |_, _| [0; 3]), "too narrow"),
    ] {
        fs::write(dog.join("c.JPEG"), bytes).unwrap();
        says(prepare(info, root.path(), &mut quiet), &[&name, "c.JPEG", problem]);
        assert!(!root.path().join("restricted-imagenet/prepared/manifest.toml").exists());
    }
    fs::remove_file(dog.join("c.JPEG")).unwrap();
    // Opening it as a file is opened would wait for a writer, deaf to signals.
    common::fifo(&dog.join("c.JPEG"));
    says(prepare(info, root.path(), &mut quiet), &[&name, "c.JPEG", "is a FIFO"]);
    fs::remove_file(dog.join("c.JPEG")).unwrap();
    prepare(info, root.path(), &mut quiet).unwrap();
}

#[test]
fn malformed_idx_files_are_named() {
    let good = [&[0, 0, 8, 1, 0, 0, 0, 3][..], &[7, 8, 9]].concat();
    assert_eq!(idx::parse(&good, 1), Ok((vec![3], vec![7, 8, 9])));
    let refused = |bytes: &[u8]| idx::parse(bytes, 1).unwrap_err();
    assert!(refused(&good[..10]).contains("promises [3] values but holds 2"));
    assert!(refused(&[&good[..], &[1]].concat()).contains("holds 4"));
    assert!(refused(&good[..7]).contains("truncated"));
    assert!(refused(b"").contains("truncated"));
    // Wrong magic, another type of value, another number of dimensions.
    for (at, value) in [(0, 1), (1, 1), (2, 0x0d), (3, 3)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert!(refused(&bad).contains("magic number"), "{bad:?}");
    }
    let huge = [0, 0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert!(idx::parse(&huge, 3).unwrap_err().contains("promises"));
    assert!(refused(&[0, 0, 8, 1, 0, 0, 0, 0]).contains("empty"));
}

/// All 1,000 folders; one image in each folder that a super-class needs, two in the first dog's.
fn imagenet(root: &Path) {
    for split in ["train", "val"] {
        for position in 0..1000 {
            let folder = root.join(format!("restricted-imagenet/{split}/n{:08}", position * 7 + 1));
            fs::create_dir_all(&folder).unwrap();
            let of = |&(_, first, last): &(&str, usize, usize)| (first..=last).contains(&position);
            if let Some(label) = SUPER_CLASSES.iter().position(of) {
                let image = jpeg(16, 16, |_, _| [20 * label as u8; 3]);
                fs::write(folder.join("b.JPEG"), image).unwrap();
            }
        }
    }
    let dog = root.join(format!("restricted-imagenet/train/n{:08}", 151 * 7 + 1));
    // A PNG that is called JPEG, as ImageNet has.
    fs::write(dog.join("a.JPEG"), flat([200; 3])).unwrap();
}

#[test]
fn restricted_imagenet_from_folders_to_mapped_images() {
    let root = TempDir::new().unwrap();
    imagenet(root.path());
    let info = DATASETS.iter().find(|info| info.format == Format::RestrictedImagenet).unwrap();
    let catalog = Catalog::new(root.path());
    assert!(catalog.hash_of(info).unwrap().contains("not been prepared"), "provisional");
    says(catalog.read(info), &["bgm data prepare"]);
    prepare(info, root.path(), &mut quiet).unwrap();
    let (train, test) = catalog.read(info).unwrap();
    assert_eq!(train.shape, ImageShape { channels: 3, height: 224, width: 224 });
    // 118 dogs, 5 cats, 3 frogs, 5 turtles, 21 birds, 18 primates, 9 fish, 4 crabs, 20 insects.
    let checked = check::check(info, &Catalog::new(root.path()), &mut quiet).unwrap();
    assert_eq!(checked.test.classes, [118, 5, 3, 5, 21, 18, 9, 4, 20]);
    assert_eq!(checked.train.classes[0], 119);
    let wrong = (0..test.len())
        .find(|&i| (i32::from(test.image(i)[0]) - 20 * i32::from(test.labels[i])).abs() > 2);
    assert_eq!(wrong, None);
    assert_eq!(train.image(0)[0], 200, "the first of two images comes at one quarter, before all");
    assert_eq!(catalog.hash_of(info).unwrap().len(), 64);

    let (val, one) = (root.path().join("restricted-imagenet/val"), format!("n{:08}", 151 * 7 + 1));
    let anew = || {
        fs::remove_dir_all(root.path().join("restricted-imagenet/prepared")).unwrap_or_default();
        prepare(info, root.path(), &mut quiet)
    };
    fs::remove_file(val.join(&one).join("b.JPEG")).unwrap();
    says(anew(), &[&one, "contains no images"]);
    fs::remove_dir(val.join(&one)).unwrap();
    says(anew(), &["val", "999 class folders"]);
    fs::create_dir(val.join("dogs")).unwrap();
    says(anew(), &["val", "\"dogs\"", "WordNet"]);
    fs::remove_dir_all(&val).unwrap();
    says(anew(), &["val", "incomplete"]);
}

#[test]
fn imagenet_images_are_resized_and_cropped_at_the_centre() {
    // Left half black, right half white, twice as wide as high: the crop is 256 -> 224 high
    // and has the edge in its middle.
    let image =
        folders::decode_imagenet(&jpeg(1024, 512, |x, _| [if x < 512 { 0 } else { 255 }; 3]));
    let image = image.unwrap();
    assert_eq!(image.len(), 3 * 224 * 224);
    let row = &image[100 * 224..101 * 224];
    assert!(row[..108].iter().all(|&v| v < 8) && row[116..].iter().all(|&v| v > 247), "{row:?}");
    // Higher than wide, with colour planes apart.
    let image =
        folders::decode_imagenet(&jpeg(100, 150, |_, y| [250, 128, if y < 75 { 0 } else { 255 }]));
    let image = image.unwrap();
    let plane = |channel: usize, y: usize| image[channel * 224 * 224 + y * 224 + 10];
    assert!(plane(0, 5) > 240 && plane(1, 5).abs_diff(128) < 8);
    assert!(plane(2, 100) < 16 && plane(2, 124) > 239);
    let strip = jpeg(20, 1500, |_, _| [0; 3]);
    assert!(folders::decode_imagenet(&strip).unwrap_err().contains("too narrow"));
    assert!(folders::decode_imagenet(b"no image").unwrap_err().contains("no readable"));
}

/// A prepared CIFAR-10, its manifest, and where it lies.
fn prepared_cifar() -> (TempDir, DatasetInfo, PreparedManifest) {
    let root = TempDir::new().unwrap();
    let bytes = tar_gz(&cifar10_files());
    let info = with_archive("cifar-10", &bytes, Some([15, 2]));
    install(root.path(), &info, &bytes).unwrap();
    let manifest = prepare(&info, root.path(), &mut quiet).unwrap();
    (root, info, manifest)
}

/// The files of MNIST, as which a subset is written, hold one.
#[test]
fn a_subset_of_images_with_several_channels_is_refused() {
    let (root, info, _) = prepared_cifar();
    let (train, test) = Catalog::new(root.path()).read(&info).unwrap();
    let out = root.path().join("subset");
    let refused = subset::write(&out, &train, &test, "").unwrap_err().to_string();
    assert!(refused.contains("3 channels") && refused.contains("one channel"), "{refused}");
    assert!(!out.exists());
}

#[test]
fn damaged_prepared_splits_are_named() {
    let (root, info, _) = prepared_cifar();
    let catalog = Catalog::new(root.path());
    let split = root.path().join("cifar-10/prepared/train.bgm");
    let good = fs::read(&split).unwrap();
    for at in [0, 9, 41, HEADER_BYTES - 1, HEADER_BYTES, good.len() - 1] {
        // Loaded before: a file that has changed since is hashed again.
        catalog.read(&info).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::remove_file(&split).unwrap(); // As a rename does; the mapped file stays as it is.
        fs::write(&split, &bad).unwrap();
        let result = catalog.read(&info);
        assert!(matches!(&result, Err(DataError::Hash { path, .. }) if *path == split), "{at}");
        fs::remove_file(&split).unwrap();
        fs::write(&split, &good).unwrap();
    }
    let file = fs::File::options().write(true).open(&split).unwrap();
    file.set_len(good.len() as u64 + 1).unwrap();
    assert!(matches!(catalog.read(&info), Err(DataError::Size { .. })));
    fs::remove_file(&split).unwrap();
    says(catalog.read(&info), &["train.bgm", "bgm data prepare"]);
    // Preparing makes it whole again, bit for bit.
    prepare(&info, root.path(), &mut quiet).unwrap();
    assert_eq!(fs::read(&split).unwrap(), good);
    let other = DatasetInfo { counts: Some([15, 3]), ..info.clone() };
    says(catalog.read(&other), &["test.bgm", "2 images of 10 classes, not 3 of 10"]);
    let manifest = root.path().join("cifar-10/prepared/manifest.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("sha256:", "sha256:0")).unwrap();
    says(catalog.read(&info), &["prepared from sha256:0"]);
    fs::write(&manifest, text.replace("train.bgm", "../../etc/passwd")).unwrap();
    says(catalog.read(&info), &["manifest.toml", "must name exactly"]);
    fs::write(&manifest, "nonsense").unwrap();
    says(catalog.read(&info), &["manifest.toml"]);
}

#[test]
fn what_is_prepared_serves_without_archive_and_unpacked_files() {
    let (root, info, manifest) = prepared_cifar();
    fs::remove_dir_all(root.path().join("cifar-10/cifar-10-batches-bin")).unwrap();
    fs::remove_file(root.path().join("cifar-10/cifar-10-binary.tar.gz")).unwrap();
    let checked = check::check(&info, &Catalog::new(root.path()), &mut quiet).unwrap();
    assert_eq!((checked.archive, checked.unpacked), (None, 0));
    assert_eq!(prepare(&info, root.path(), &mut quiet).unwrap(), manifest);
    let (set, header) = prepared::open(&root.path().join("cifar-10"), &manifest.file[1]).unwrap();
    assert_eq!((set.len(), header.count), (2, 2));
}

#[test]
fn an_interrupted_preparation_leaves_nothing_and_can_be_repeated() {
    let (root, info, _) = prepared_cifar();
    let folder = root.path().join("cifar-10/prepared");
    fs::remove_dir_all(&folder).unwrap();
    let result = prepare(&info, root.path(), &mut |_| ControlFlow::Break(()));
    assert!(matches!(result, Err(DataError::Interrupted)));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    prepare(&info, root.path(), &mut quiet).unwrap();
    // While one process prepares, another keeps out.
    let lock = fs::File::create(root.path().join("cifar-10/.lock")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(prepare(&info, root.path(), &mut quiet), Err(DataError::Busy { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn idx_files_come_back_or_are_refused(
        sizes in proptest::collection::vec(0usize..5, 1..4),
        cut in 0usize..40,
        noise in proptest::collection::vec((0usize..40, any::<u8>()), 0..3),
    ) {
        let values: Vec<u8> = (0..sizes.iter().product()).map(|i: usize| i as u8).collect();
        let mut bytes = vec![0, 0, 8, sizes.len() as u8];
        sizes.iter().for_each(|&size| bytes.extend((size as u32).to_be_bytes()));
        bytes.extend(&values);
        let parsed = idx::parse(&bytes, sizes.len() as u8);
        prop_assert_eq!(parsed.is_ok(), !sizes.contains(&0));
        if let Ok(parsed) = parsed {
            prop_assert_eq!(parsed, (sizes.clone(), values));
        }
        let whole = bytes.len();
        bytes.truncate(whole - cut.min(whole));
        for (at, value) in noise {
            if let Some(byte) = bytes.get_mut(at) { *byte = value; }
        }
        if let Ok((sizes, values)) = idx::parse(&bytes, sizes.len() as u8) {
            prop_assert_eq!(sizes.iter().product::<usize>(), values.len());
        }
    }

    #[test]
    fn records_come_back_or_are_refused(
        labels in proptest::collection::vec((0u8..25, 0u8..110), 0..4),
        extra in 0usize..3100,
        fine in any::<bool>(),
    ) {
        let format: RecordFormat = if fine { CIFAR100 } else { CIFAR10 };
        let used = |&(a, b): &(u8, u8)| if fine { vec![a, b] } else { vec![b] };
        let mut bytes: Vec<u8> = labels.iter().flat_map(|l| record(&used(l), |i| i as u8)).collect();
        bytes.resize(bytes.len() + extra, 0);
        let mut seen = Vec::new();
        let count = format.read::<RecordError>(&bytes[..], |label, pixels| {
            seen.push((label, pixels.len()));
            Ok(())
        });
        let valid = labels.iter().all(|&(a, b)| if fine { a < 20 && b < 100 } else { b < 10 });
        prop_assert_eq!(count.is_ok(), valid && extra % format.bytes() == 0);
        if let Ok(count) = count {
            prop_assert_eq!(count as usize, bytes.len() / format.bytes());
            prop_assert!(seen.iter().zip(&labels).all(|(seen, label)| *seen == (label.1, 3072)));
        }
    }

    #[test]
    fn headers_come_back_or_are_refused(
        (channels, height, width) in (1usize..5, 1usize..300, 1usize..300),
        (count, classes, mean) in (1u64..1_000_000, 1u32..=256, 0u64..=255),
        noise in proptest::collection::vec((0usize..60, any::<u8>()), 1..4),
        size in any::<u64>(),
    ) {
        let shape = ImageShape { channels, height, width };
        let values = count * shape.pixels() as u64;
        let stats = ChannelStats {
            count: values,
            sums: vec![values * mean; channels],
            squares: vec![values * mean * mean; channels],
        };
        let header = Header { shape, classes, count, stats };
        let mut bytes = header.to_bytes();
        prop_assert_eq!(bytes.len(), HEADER_BYTES);
        let whole = HEADER_BYTES as u64 + count * (shape.values() as u64 + 1);
        prop_assert_eq!(Header::parse(&bytes, whole), Ok(header.clone()));
        prop_assert!(Header::parse(&bytes, whole + 1).is_err());
        prop_assert!(Header::parse(&bytes[..HEADER_BYTES - 1], whole).is_err());
        for (at, value) in noise {
            bytes[at] = value;
        }
        for size in [size, whole] {
            if let Ok(parsed) = Header::parse(&bytes, size) {
                let images = parsed.count * (parsed.shape.values() as u64 + 1);
                prop_assert_eq!(images + HEADER_BYTES as u64, size);
                prop_assert!(parsed.stats.std().iter().all(|deviation| deviation.is_finite()));
            }
        }
    }

    #[test]
    fn damaged_images_never_panic(at in 0usize..2000, value in any::<u8>(), cut in 0usize..2000) {
        let mut bytes = jpeg(24, 24, |x, y| [x as u8 * 10, y as u8 * 10, 0]);
        let length = bytes.len();
        bytes[at % length] = value;
        bytes.truncate(length - cut % length);
        if let Ok(image) = folders::decode_imagenet(&bytes) {
            prop_assert_eq!(image.len(), 3 * 224 * 224);
        }
        let mut bytes = flat([1, 2, 3]);
        let length = bytes.len();
        bytes[at % length] = value;
        if let Ok(image) = folders::decode_cinic(&bytes) {
            prop_assert_eq!(image.len(), 3 * 32 * 32);
        }
    }
}
