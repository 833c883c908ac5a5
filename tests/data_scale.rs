//! CINIC-10 at its full number of images: 180,000 tiny PNG files, decoded once.

use bad_global_minima::data::archive::{Archive, Digest};
use bad_global_minima::data::fetch::{FetchOptions, fetch};
use bad_global_minima::data::folders::CINIC_CLASSES;
use bad_global_minima::data::import::{ImportOptions, import};
use bad_global_minima::data::prepare::prepare;
use bad_global_minima::data::progress::Progress;
use bad_global_minima::data::published::DATASETS;
use bad_global_minima::data::{Catalog, DatasetInfo};
use flate2::{Compression, write::GzEncoder};
use image::{ExtendedColorType, ImageEncoder};
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

/// Images of a class and split.
const EACH: u32 = 9_000;
/// Colours that come again and again.
const COLOURS: u32 = 250;

/// A 32x32 image of one colour: which class, which of its images.
fn png(class: u8, colour: u8) -> Vec<u8> {
    let pixels = [class, colour, 255 - colour].repeat(1024);
    let mut out = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut out);
    encoder.write_image(&pixels, 32, 32, ExtendedColorType::Rgb8).unwrap();
    out
}

fn quiet(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn write_archive(path: &Path) {
    let out = BufWriter::new(File::create(path).unwrap());
    let mut tar = tar::Builder::new(GzEncoder::new(out, Compression::fast()));
    for (class, name) in CINIC_CLASSES.iter().enumerate() {
        let images: Vec<Vec<u8>> = (0..COLOURS).map(|c| png(class as u8, c as u8)).collect();
        for split in ["train", "test"] {
            for index in 0..EACH {
                let bytes = &images[(index % COLOURS) as usize];
                let mut header = tar::Header::new_ustar();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                let name = format!("{split}/{name}/{index:05}.png");
                tar.append_data(&mut header, name, &bytes[..]).unwrap();
            }
        }
    }
    tar.into_inner().unwrap().finish().unwrap().flush().unwrap();
}

fn md5(path: &Path) -> &'static str {
    let (mut file, mut hash, mut buffer) =
        (File::open(path).unwrap(), <md5::Md5 as md5::Digest>::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => break,
            count => md5::Digest::update(&mut hash, &buffer[..count]),
        }
    }
    let digits: String = md5::Digest::finalize(hash).iter().map(|b| format!("{b:02x}")).collect();
    Box::leak(digits.into_boxed_str())
}

/// Memory of this process that no file backs, in MiB.
fn anonymous_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
#[ignore = "minutes: make test-long"]
fn a_hundred_and_eighty_thousand_images_are_decoded_once_and_never_held_in_memory() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("cinic-10");
    fs::create_dir_all(&folder).unwrap();
    let published = DATASETS.iter().find(|info| info.name == "cinic-10").unwrap();
    let known = published.archive.unwrap();
    let path = folder.join(known.file);
    let started = Instant::now();
    write_archive(&path);
    let bytes = Some(fs::metadata(&path).unwrap().len());
    let archive = Some(Archive { bytes, digest: Digest::Md5(md5(&path)), ..known });
    let count = u64::from(10 * EACH);
    let info = DatasetInfo { archive, counts: Some([count, count]), ..published.clone() };
    println!("made the archive in {:.1} s", started.elapsed().as_secs_f64());

    let before = anonymous_memory();
    let started = Instant::now();
    fetch(&info, root.path(), &FetchOptions::default(), &mut quiet).unwrap();
    println!("verified and unpacked in {:.1} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    prepare(&info, root.path(), &mut quiet).unwrap();
    println!("decoded in {:.1} s", started.elapsed().as_secs_f64());
    let grown = anonymous_memory() - before;
    assert!(grown < 150.0, "preparing holds {grown:.0} MiB");

    // The same files as somebody's own class folders.
    let before = anonymous_memory();
    let started = Instant::now();
    let options = ImportOptions::DEFAULT;
    let own = import(root.path(), "own", &folder.join(known.folder), &options, &mut quiet).unwrap();
    println!("imported in {:.1} s", started.elapsed().as_secs_f64());
    assert_eq!(own.imported.unwrap().images, [count, count]);
    let grown = anonymous_memory() - before;
    assert!(grown < 150.0, "importing holds {grown:.0} MiB");

    // Nothing is left that could be decoded again.
    fs::remove_dir_all(folder.join(known.folder)).unwrap();
    fs::remove_file(&path).unwrap();
    let before = anonymous_memory();
    let started = Instant::now();
    let (train, test) = Catalog::new(root.path()).read(&info).unwrap();
    let first = started.elapsed();
    assert_eq!((train.len() as u64, test.len() as u64), (count, count));
    for index in (0..train.len()).step_by(997) {
        let (class, of_class) = ((index % 10) as u8, index as u32 / 10);
        let image = test.image(index);
        assert_eq!(image, train.image(index));
        assert_eq!(train.labels[index], class);
        assert_eq!((image[0], u32::from(image[1024])), (class, of_class % COLOURS));
    }
    let grown = anonymous_memory() - before;
    println!("loaded in {:.2} s, {grown:.1} MiB more memory", first.as_secs_f64());
    assert!(train.pixels.is_mapped() && test.pixels.is_mapped());
    assert!(first < Duration::from_secs(20), "{first:?}");
    assert!(grown < 16.0, "loading holds {grown:.0} MiB of {} MiB", (2 * count * 3072) >> 20);
    let started = Instant::now();
    Catalog::new(root.path()).read(&info).unwrap();
    assert!(started.elapsed() < Duration::from_secs(1), "verified twice");
}
