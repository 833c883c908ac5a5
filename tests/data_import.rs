//! `bgm data import`: class folders become data sets, and every oddity of their files is
//! imported or refused by name.

mod common;

use bad_global_minima::data::import::{ImportOptions, import, import_as};
use bad_global_minima::data::prepared::PreparedManifest;
use bad_global_minima::data::progress::{Progress, Step};
use bad_global_minima::data::published::{DATASETS, DatasetInfo};
use bad_global_minima::data::{Catalog, DataError, check};
use bad_global_minima::image_shape::ImageShape;
use common::pictures::{flat, jpeg, jpeg_as, orientation, png};
use common::{Workplace, fifo, small_run, text};
use flate2::{Compression, write::GzEncoder};
use image::ExtendedColorType;
use jpeg_encoder::{ColorType, SamplingFactor};
use proptest::prelude::*;
use std::ffi::OsStr;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

const DEFAULT: ImportOptions = ImportOptions::DEFAULT;

fn quiet(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Colour `i` of class `class` in `split`; no two are equal.
fn colour(split: usize, class: u8, i: u8) -> [u8; 3] {
    [10 + i, 40 * class, 100 * split as u8 + 20 + 3 * i]
}

/// Three classes with `train` and `test` images each, 8x8, named so that the order of their
/// names is not that of their numbers.
fn folders(root: &Path, train: u8, test: u8) {
    for (split, (name, count)) in [("train", train), ("test", test)].into_iter().enumerate() {
        for (class, folder) in (0..).zip(["ant", "Bee", "cow"]) {
            for i in 0..count {
                let file = format!("{name}/{folder}/{}-{i}.png", i % 3);
                write(root, &file, &flat(8, colour(split, class, i)));
            }
        }
    }
}

fn place() -> (TempDir, TempDir) {
    (TempDir::new().unwrap(), TempDir::new().unwrap())
}

fn message<T>(result: Result<T, DataError>) -> String {
    match result {
        Ok(_) => panic!("was accepted"),
        Err(e) => e.to_string(),
    }
}

fn says<T>(result: Result<T, DataError>, parts: &[&str]) {
    let message = message(result);
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

/// What is in a folder, hidden entries too.
fn listing(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn class_folders_become_a_data_set_like_any_other() {
    let (from, root) = place();
    folders(from.path(), 6, 3);
    write(from.path(), "README.md", b"passed over");
    write(from.path(), "train/LICENSE", b"passed over");
    write(from.path(), ".git/HEAD", b"passed over");
    write(from.path(), "train/ant/._1-1.png", b"passed over");
    let licence = Some("CC0".to_owned());
    let options = ImportOptions { licence, ..DEFAULT };
    let manifest = import(root.path(), "insects-2", from.path(), &options, &mut quiet).unwrap();
    let imported = manifest.imported.clone().unwrap();
    // Sorted by byte, as PyTorch's ImageFolder sorts them.
    assert_eq!(imported.classes, ["Bee", "ant", "cow"]);
    assert_eq!((imported.shape, imported.images), ([3, 8, 8], [18, 9]));
    assert_eq!((imported.licence.as_str(), imported.grey_images), ("CC0", 0));
    assert_eq!((imported.side, imported.test_percent, imported.seed), (None, None, 0));
    assert_eq!(listing(root.path()), ["insects-2"]);
    assert_eq!(
        listing(&root.path().join("insects-2/prepared")),
        ["manifest.toml", "test.bgm", "train.bgm"]
    );

    let catalog = Catalog::new(root.path());
    let info = catalog.info("insects-2").unwrap();
    assert_eq!(catalog.imported(), ["insects-2"]);
    assert_eq!(info.shape, ImageShape { channels: 3, height: 8, width: 8 });
    let (train, test) = catalog.read(&info).unwrap();
    assert_eq!(train.labels, [0, 1, 2].repeat(6));
    assert_eq!(test.labels, [0, 1, 2].repeat(3));
    // Label 0 is "Bee", the second class that was written.
    let written = |label: u8| [1, 0, 2][usize::from(label)];
    for (split, set) in [(0, &train), (1, &test)] {
        let mut seen: Vec<[u8; 3]> = Vec::new();
        for i in 0..set.len() {
            let image = set.image(i);
            let rgb = [image[0], image[64], image[128]];
            assert!(image.chunks(64).zip(rgb).all(|(plane, v)| plane.iter().all(|&p| p == v)));
            assert_eq!(rgb, colour(split, written(set.labels[i]), rgb[0] - 10));
            seen.push(rgb);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), set.len());
    }
    // Measured, not declared: mean of the reds 10 to 15.
    let normalization = catalog.normalization(&info).unwrap();
    assert_eq!(imported.mean[0], (12.5 / 255.0) as f32);
    assert_eq!(normalization.std(), imported.std);
    let hash = catalog.hash_of(&info).unwrap();
    assert_eq!((hash.len(), &hash), (64, &manifest.content_hash()));
    let checked = check::check(&info, &Catalog::new(root.path()), &mut quiet).unwrap();
    assert_eq!((checked.train.classes, checked.test.classes), (vec![6; 3], vec![3; 3]));

    // The manifest is what makes it a data set, and is read back as it was written.
    assert_eq!(PreparedManifest::read(&root.path().join("insects-2")).unwrap(), manifest);
    says(import(root.path(), "insects-2", from.path(), &DEFAULT, &mut quiet), &["there already"]);
    assert_eq!(PreparedManifest::read(&root.path().join("insects-2")).unwrap(), manifest);
}

#[test]
fn profiles_train_on_it_and_the_commands_know_it() {
    let place = Workplace::new();
    let (from, data) = (place.path("from"), place.path("data"));
    folders(&from, 8, 4);
    let bgm = |arguments: &[&str]| {
        let data = data.to_str().unwrap();
        place.bgm(&[&["--data", data], arguments].concat())
    };
    let output = bgm(&["data", "import", "insects", from.to_str().unwrap(), "--licence", "mine"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("24 training and 12 test images of 3 classes"), "{said}");
    let listed = text(&bgm(&["data", "list"]).stdout);
    assert!(listed.contains("insects") && listed.contains("licence: mine"), "{listed}");
    let checked = text(&bgm(&["data", "check", "insects"]).stdout);
    assert!(checked.contains("training: 24 images") && checked.contains("every hash"), "{checked}");

    let mut spec = small_run();
    let bad_global_minima::spec::DataSpec::Images(images) = &mut spec.data else { unreachable!() };
    (images.dataset, images.train, images.test, images.pool) = ("insects".into(), 12, 0, 1);
    spec.train.batch_size = 6;
    let file = place.spec_file("spec.json", &spec);
    let output = bgm(&["run", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    // Three channels do not go into IDX files.
    let out = place.path("subset");
    let subset = ["data", "subset", "--from", "insects", "--train", "6", "--test", "3"];
    let output = bgm(&[&subset[..], &[out.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("3 channels") && !out.exists());

    let twice = bgm(&["data", "import", "insects", from.to_str().unwrap()]);
    assert_eq!(twice.status.code(), Some(2), "{}", text(&twice.stderr));
    let missing = bgm(&["data", "import", "other", from.join("train/ant").to_str().unwrap()]);
    assert_eq!(missing.status.code(), Some(4), "{}", text(&missing.stderr));
}

fn tar(from: &Path, top: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(top, from).unwrap();
    builder.into_inner().unwrap()
}

fn hash(root: &Path, name: &str, from: &Path, options: &ImportOptions) -> String {
    import(root, name, from, options, &mut quiet).unwrap().content_hash()
}

#[test]
fn a_preparation_that_failed_is_called_incomplete_and_keeps_nobody_from_planning() {
    let place = Workplace::new();
    let data = place.path("data");
    fs::create_dir_all(data.join("restricted-imagenet/prepared")).unwrap();
    let bgm = |arguments: &[&str]| {
        let output = place.bgm(&[&["--data", data.to_str().unwrap()], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    bgm(&["--profile", "paper", "--only", "table1_networks", "--seeds", "1", "plan"]);
    let listed = bgm(&["data", "list"]);
    let line = listed.lines().find(|line| line.starts_with("restricted-imagenet")).unwrap();
    assert!(line.contains("incomplete: "), "{line}");
}

#[test]
fn the_hash_is_that_of_pixels_labels_and_order_alone() {
    let (from, root) = place();
    let source = from.path().join("a");
    folders(&source, 5, 2);
    let base = hash(root.path(), "base", &source, &DEFAULT);

    let packed = tar(&source, "top");
    let zipped = {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        std::io::Write::write_all(&mut out, &packed).unwrap();
        out.finish().unwrap()
    };
    let bare = tar(&source, ".");
    for (name, bytes) in [("set.tar", packed), ("set.tar.gz", zipped), ("bare.tar", bare)] {
        write(from.path(), name, &bytes);
        let file = from.path().join(name);
        assert_eq!(hash(root.path(), &name.replace(".tar", "-tar"), &file, &DEFAULT), base);
    }
    // The same picture with bytes behind its end, which a decoder ignores.
    let picture = flat(8, colour(0, 0, 1));
    let longer = [&picture[..], b"behind the end"].concat();
    write(&source, "train/ant/1-1.png", &longer);
    assert_eq!(hash(root.path(), "longer", &source, &DEFAULT), base);
    // Another order, another pixel, another label.
    let seed = ImportOptions { seed: 1, ..DEFAULT };
    assert_ne!(hash(root.path(), "seed", &source, &seed), base);
    let mut pixels = colour(0, 0, 1).repeat(64);
    pixels[100] ^= 1;
    write(&source, "train/ant/1-1.png", &png(8, 8, ExtendedColorType::Rgb8, &pixels));
    assert_ne!(hash(root.path(), "pixel", &source, &DEFAULT), base);
    write(&source, "train/ant/1-1.png", &picture);
    let swap = |a: &str, b: &str| fs::rename(source.join(a), source.join(b)).unwrap();
    for split in ["train", "test"] {
        swap(&format!("{split}/ant"), &format!("{split}/x"));
        swap(&format!("{split}/cow"), &format!("{split}/ant"));
        swap(&format!("{split}/x"), &format!("{split}/cow"));
    }
    assert_ne!(hash(root.path(), "swapped", &source, &DEFAULT), base);
}

#[test]
fn one_folder_is_split_by_the_seed() {
    let (from, root) = place();
    for (class, folder) in (0..).zip(["a", "b"]) {
        for i in 0..10 + 5 * class {
            write(from.path(), &format!("{folder}/{i}.png"), &flat(8, colour(0, class, i)));
        }
    }
    let split = |name: &str, options: &ImportOptions| {
        let manifest = import(root.path(), name, from.path(), options, &mut quiet).unwrap();
        let catalog = Catalog::new(root.path());
        let (train, test) = catalog.read(&catalog.info(name).unwrap()).unwrap();
        let colours = |set: &bad_global_minima::data::ImageSet| -> Vec<[u8; 2]> {
            let mut all: Vec<_> =
                (0..set.len()).map(|i| [set.image(i)[0], set.image(i)[64]]).collect();
            all.sort_unstable();
            all
        };
        (manifest, colours(&train), colours(&test))
    };
    let (manifest, train, test) = split("default", &DEFAULT);
    assert_eq!(manifest.imported.as_ref().unwrap().test_percent, Some(20));
    assert_eq!((train.len(), test.len()), (20, 5));
    assert_eq!(test.iter().filter(|c| c[1] == 0).count(), 2);
    let mut all = [train.clone(), test.clone()].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 25, "every image is in one split");
    assert_eq!(split("again", &DEFAULT), (manifest, train, test.clone()));
    assert_ne!(split("seed", &ImportOptions { seed: 1, ..DEFAULT }).2, test);
    let half = ImportOptions { test_percent: Some(50), ..DEFAULT };
    assert_eq!(split("half", &half).2.len(), 5 + 8);

    folders(&from.path().join("given"), 2, 2);
    let given = import(root.path(), "given", &from.path().join("given"), &half, &mut quiet);
    says(given, &["--test-percent", "train and test"]);
    write(from.path(), "c/only.png", &flat(8, [1, 2, 3]));
    fs::remove_dir_all(from.path().join("given")).unwrap();
    says(import(root.path(), "few", from.path(), &DEFAULT, &mut quiet), &["too few to split"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// However the classes differ in size, the first `n` images hold each in proportion.
    #[test]
    fn the_first_images_are_balanced(
        sizes in proptest::collection::vec(2u64..14, 2..5),
        equal in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let (from, root) = place();
        let sizes = if equal { vec![sizes[0]; sizes.len()] } else { sizes };
        for (class, &size) in sizes.iter().enumerate() {
            for i in 0..size {
                let (i8, c8) = (i as u8, class as u8);
                let bytes = flat(8, [i8 + 20 * c8, c8, 7 * i8 + 30 * c8]);
                write(from.path(), &format!("{class}/{i}.png"), &bytes);
            }
        }
        let options = ImportOptions { seed, test_percent: Some(10), ..DEFAULT };
        import(root.path(), "set", from.path(), &options, &mut quiet).unwrap();
        let catalog = Catalog::new(root.path());
        let (train, _) = catalog.read(&catalog.info("set").unwrap()).unwrap();
        let total = train.len() as f64;
        let count = |class: usize, n: usize| {
            train.labels[..n].iter().filter(|&&label| usize::from(label) == class).count() as f64
        };
        for n in 1..=train.len() {
            for class in 0..sizes.len() {
                let fair = count(class, train.len()) * n as f64 / total;
                let bound = if equal { 1.0 } else { 0.5 * sizes.len() as f64 };
                prop_assert!((count(class, n) - fair).abs() <= bound, "{n} {class}");
                if equal && n % sizes.len() == 0 {
                    prop_assert_eq!(count(class, n), (n / sizes.len()) as f64);
                }
            }
        }
    }
}

/// Imports a data set of the classes a and b, three 16x16 JPEGs each in train and test, after `change`
/// has edited its folders. Gives the manifest and the pixels of all training images of class b; a failed
/// import must leave nothing behind.
fn with(
    options: &ImportOptions,
    change: impl Fn(&Path),
) -> Result<(PreparedManifest, Vec<u8>), DataError> {
    let (from, root) = place();
    for class in ["a", "b"] {
        for i in 0..3 {
            let bytes = jpeg(16, 16, |x, y| [(9 * x) as u8, (7 * y) as u8, 50 * i]);
            write(from.path(), &format!("train/{class}/{i}.jpg"), &bytes);
            write(from.path(), &format!("test/{class}/{i}.jpeg"), &bytes);
        }
    }
    change(from.path());
    let result = import(root.path(), "set", from.path(), options, &mut quiet);
    let left = listing(root.path());
    assert_eq!(left, if result.is_ok() { vec!["set"] } else { vec![] });
    result.map(|manifest| {
        let catalog = Catalog::new(root.path());
        let (train, _) = catalog.read(&catalog.info("set").unwrap()).unwrap();
        // The images of class b.
        let b = (0..train.len()).filter(|&i| train.labels[i] == 1);
        (manifest, b.flat_map(|i| train.image(i).to_vec()).collect())
    })
}

/// With one more file in a class folder.
fn with_file(name: &str, bytes: Vec<u8>) -> Result<(PreparedManifest, Vec<u8>), DataError> {
    with(&DEFAULT, |from| write(from, &format!("train/b/{name}"), &bytes))
}

/// Whether one of the images is (nearly) this one colour.
fn has_colour(images: &[u8], rgb: [u8; 3]) -> bool {
    let near = |a: u8, b: u8| a.abs_diff(b) <= 3;
    let planes = |image: &[u8]| {
        image.chunks(256).zip(rgb).all(|(plane, v)| plane.iter().all(|&p| near(p, v)))
    };
    images.chunks(3 * 256).any(planes)
}

#[test]
fn files_of_every_kind_are_imported() {
    let rgb = [200, 100, 50];
    let one = |set: fn(&mut jpeg_encoder::Encoder<&mut Vec<u8>>)| {
        jpeg_as(16, 16, ColorType::Rgb, set, |_, _| rgb)
    };
    let in_scans = |encoder: &mut jpeg_encoder::Encoder<&mut Vec<u8>>| {
        encoder.set_optimized_huffman_tables(true);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    };
    let cmyk = |color| jpeg_as(16, 16, color, |_| {}, |_, _| [10, 200, 60, 30]);
    let palette = {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 16, 16);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Two);
        encoder.set_palette([&[0, 0, 0][..], &rgb].concat());
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[0b0101_0101; 64]).unwrap();
        writer.finish().unwrap();
        bytes
    };
    let wide: Vec<u8> = rgb.iter().flat_map(|&v| (u16::from(v) * 257).to_ne_bytes()).collect();
    type Case<'a> = (&'a str, Vec<u8>, [u8; 3], [u64; 3]);
    let cases: Vec<Case<'_>> = vec![
        ("x.PNG", flat(16, rgb), rgb, [0; 3]),
        ("x.JPEG", one(|_| {}), rgb, [0; 3]),
        ("subsampled.jpg", one(|e| e.set_sampling_factor(SamplingFactor::R_4_2_0)), rgb, [0; 3]),
        ("halved.jpg", one(|e| e.set_sampling_factor(SamplingFactor::R_4_2_2)), rgb, [0; 3]),
        ("progressive.jpg", one(|e| e.set_progressive(true)), rgb, [0; 3]),
        ("restarts.jpg", one(|e| e.set_restart_interval(1)), rgb, [0; 3]),
        // A scan for each channel, with and without subsampling.
        ("scans.jpg", one(|e| e.set_optimized_huffman_tables(true)), rgb, [0; 3]),
        ("subsampled scans.jpg", one(in_scans), rgb, [0; 3]),
        ("turned.jpg", one(|e| e.add_exif_metadata(&orientation(6)).unwrap()), rgb, [0, 0, 1]),
        ("upright.jpg", one(|e| e.add_exif_metadata(&orientation(1)).unwrap()), rgb, [0; 3]),
        ("a JPEG that is called.png", one(|_| {}), rgb, [0; 3]),
        ("a PNG that is called.jpg", flat(16, rgb), rgb, [0; 3]),
        ("grey.jpg", jpeg_as(16, 16, ColorType::Luma, |_| {}, |_, _| [77]), [77; 3], [1, 0, 0]),
        ("grey.png", png(16, 16, ExtendedColorType::L8, &[77; 256]), [77; 3], [1, 0, 0]),
        ("cmyk.jpg", cmyk(ColorType::Cmyk), [216, 49, 172], [0, 1, 0]),
        ("ycck.jpg", cmyk(ColorType::CmykAsYcck), [216, 49, 172], [0, 1, 0]),
        ("palette.png", palette, rgb, [0; 3]),
        ("16 bits.png", png(16, 16, ExtendedColorType::Rgb16, &wide.repeat(256)), rgb, [0; 3]),
        (
            "opaque.png",
            png(16, 16, ExtendedColorType::Rgba8, &[200, 100, 50, 255].repeat(256)),
            rgb,
            [0; 3],
        ),
        ("new\nline, \u{e4} and \"quotes\".png", flat(16, rgb), rgb, [0; 3]),
    ];
    for (name, bytes, rgb, counts) in cases {
        let (manifest, images) = with_file(name, bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let imported = manifest.imported.unwrap();
        let found = [imported.grey_images, imported.cmyk_images, imported.turned_images];
        assert_eq!((imported.images, found), ([7, 6], counts), "{name}");
        assert!(has_colour(&images, rgb), "{name}");
    }
    // A name that is no text.
    let odd = |from: &Path| {
        let name = OsStr::from_bytes(b"train/b/\xff\xfe.png");
        fs::write(from.join(name), flat(16, rgb)).unwrap();
    };
    assert_eq!(with(&DEFAULT, odd).unwrap().0.imported.unwrap().images, [7, 6]);
    // Class names of any language.
    let renamed = |from: &Path| {
        for split in ["train", "test"] {
            let to = from.join(split).join("\u{72ac} 100% \u{e9}");
            fs::rename(from.join(split).join("b"), to).unwrap();
        }
    };
    let imported = with(&DEFAULT, renamed).unwrap().0.imported.unwrap();
    assert_eq!(imported.classes, ["a", "\u{72ac} 100% \u{e9}"]);
}

#[test]
fn cmyk_becomes_the_rgb_that_pillow_makes_of_it() {
    // Made with Pillow 12 (`Image.new("CMYK", (16, 16), (10, 200, 60, 30))`).
    let bytes = include_bytes!("images/cmyk.jpg").to_vec();
    let (_, images) = with_file("cmyk.jpg", bytes).unwrap();
    assert!(has_colour(&images, [216, 49, 172]));
}

#[test]
fn what_cannot_be_imported_is_named() {
    let whole = jpeg(16, 16, |x, y| [(15 * x) as u8, (15 * y) as u8, 9]);
    let huge = {
        let mut bytes = whole.clone();
        let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        bytes[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
        bytes
    };
    let damaged = {
        let mut bytes = whole.clone();
        let scan = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap() + 14;
        // Nothing but ones is no code.
        bytes.splice(scan.., [0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0xd9]);
        bytes
    };
    let picture = flat(16, [1, 2, 3]);
    let mut wrong = picture.clone();
    let data = wrong.windows(4).position(|chunk| chunk == b"IDAT").unwrap() + 6;
    wrong[data] ^= 0x55;
    let clear = png(16, 16, ExtendedColorType::Rgba8, &[200, 100, 50, 254].repeat(256));
    let animated = {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 16, 16);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_animated(2, 0).unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[1; 256]).unwrap();
        writer.write_image_data(&[2; 256]).unwrap();
        writer.finish().unwrap();
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("half.jpg", whole[..whole.len() / 2].to_vec(), "ends too early"),
        ("head.jpg", whole[..20].to_vec(), "ends too early"),
        ("half.png", picture[..picture.len() / 2].to_vec(), "no readable image"),
        ("flipped.png", wrong, "no readable image"),
        ("damaged.jpg", damaged, "no readable image"),
        ("empty.jpg", Vec::new(), "it is empty"),
        ("moving.jpg", b"GIF89a and so on".to_vec(), "it is a GIF"),
        ("text.png", b"not an image".to_vec(), "first bytes"),
        ("notes.txt", b"notes".to_vec(), "does not end in .png, .jpg or .jpeg"),
        ("image.txt", whole.clone(), "does not end in"),
        ("huge.jpg", huge, "65500x65500"),
        ("one.png", flat(1, [1, 2, 3]), "1x1 pixels, most images are 16x16; --side"),
        ("wide.jpg", jpeg(32, 16, |_, _| [0; 3]), "32x16 pixels"),
        ("clear.png", clear, "transparent"),
        ("animated.png", animated, "animated"),
        ("line\nbreak\u{1b}[2J.jpg", Vec::new(), r"line\nbreak\u{1b}[2J.jpg"),
    ];
    for (name, bytes, problem) in cases {
        let file = name.split('\n').next().unwrap();
        says(with_file(name, bytes), &["train/b", file, problem]);
    }
    let all: Vec<String> = (0..14).map(|i| format!("bad {i:02}.jpg")).collect();
    let many = with(&DEFAULT, |from| {
        all.iter().for_each(|name| write(from, &format!("train/b/{name}"), b"bad"));
    });
    says(many, &["14 entries", "bad 00.jpg", "bad 09.jpg", "and 4 more"]);
}

#[test]
fn a_file_that_is_larger_than_images_are_is_refused_unread() {
    says(
        with(&DEFAULT, |from| {
            let file = fs::File::create(from.join("train/b/sparse.jpg")).unwrap();
            file.set_len(1 << 40).unwrap();
        }),
        &["sparse.jpg", "larger than"],
    );
}

#[test]
fn links_pipes_and_folders_are_followed_or_named() {
    type Change = fn(&Path);
    let refused: [(&str, Change, &str); 11] = [
        ("pipe.jpg", |f| fifo(&f.join("train/b/pipe.jpg")), "is a FIFO"),
        ("top pipe", |f| fifo(&f.join("top pipe")), "is a FIFO"),
        (
            "linked.jpg",
            |f| {
                fifo(&f.join(".hidden"));
                symlink(f.join(".hidden"), f.join("train/b/linked.jpg")).unwrap();
            },
            "is a FIFO",
        ),
        (
            "socket.jpg",
            |f| {
                std::os::unix::net::UnixListener::bind(f.join("train/b/socket.jpg")).unwrap();
            },
            "is a socket",
        ),
        ("zero.jpg", |f| symlink("/dev/zero", f.join("train/b/zero.jpg")).unwrap(), "is a device"),
        ("folder.jpg", |f| fs::create_dir(f.join("train/b/folder.jpg")).unwrap(), "is a directory"),
        ("nowhere.jpg", |f| symlink("gone", f.join("train/b/nowhere.jpg")).unwrap(), "nowhere"),
        ("loop.jpg", |f| symlink("loop.jpg", f.join("train/b/loop.jpg")).unwrap(), "nowhere"),
        ("up", |f| symlink("..", f.join("train/b/up")).unwrap(), "is a directory"),
        (
            "train/c",
            |f| {
                fs::create_dir(f.join("train/c")).unwrap();
                write(f, "test/c/1.png", &flat(16, [3; 3]));
            },
            "without an image",
        ),
        ("stray.jpg", |f| write(f, "train/stray.jpg", &flat(16, [3; 3])), "outside of every class"),
    ];
    for (name, change, problem) in refused {
        says(with(&DEFAULT, change), &[name, problem]);
    }
    // Links to images and to class folders.
    let linked = with(&DEFAULT, |from| {
        symlink("../a/0.jpg", from.join("train/b/x.jpg")).unwrap();
        fs::rename(from.join("test/b"), from.join(".elsewhere")).unwrap();
        symlink("../.elsewhere", from.join("test/b")).unwrap();
    });
    assert_eq!(linked.unwrap().0.imported.unwrap().images, [7, 6]);
}

#[test]
fn folders_that_are_laid_out_otherwise_are_named() {
    let remove =
        |path: &'static str| move |from: &Path| fs::remove_dir_all(from.join(path)).unwrap();
    says(with(&DEFAULT, remove("test")), &["one of the folders train and test"]);
    says(with(&DEFAULT, remove("test/b")), &["test", "2 to 256"]);
    says(with(&DEFAULT, |f| write(f, "train/c/1.png", &flat(16, [1; 3]))), &["test", "\"c\""]);
    says(with(&DEFAULT, |f| write(f, "test/c/1.png", &flat(16, [1; 3]))), &["train", "\"c\""]);
    says(with(&DEFAULT, |f| write(f, "val/a/1.png", &flat(16, [1; 3]))), &["\"val\" beside"]);
    let no_text = |from: &Path| {
        fs::create_dir(from.join(OsStr::from_bytes(b"train/\xff"))).unwrap();
    };
    says(with(&DEFAULT, no_text), &["UTF-8"]);
    says(with(&DEFAULT, |f| write(f, "train/a\u{7}/1.png", b"")), &["control characters"]);
    let many = |from: &Path| {
        for class in 0..260 {
            write(from, &format!("train/{class}/1.png"), &flat(16, [1; 3]));
        }
    };
    says(with(&DEFAULT, many), &["262 class folders"]);
    let same = |from: &Path| {
        for file in ["a/0", "a/1", "a/2", "b/0", "b/1", "b/2"] {
            write(from, &format!("train/{file}.jpg"), &flat(16, [5; 3]));
        }
    };
    says(with(&DEFAULT, same), &["same value"]);
    let root = TempDir::new().unwrap();
    let file = root.path().join("no archive");
    fs::write(&file, b"text").unwrap();
    for from in [&file, &root.path().join("missing")] {
        let shown = from.to_str().unwrap();
        says(import(root.path(), "set", from, &DEFAULT, &mut quiet), &[shown]);
        assert_eq!(listing(root.path()), ["no archive"]);
    }
}

#[test]
fn images_are_resized_to_the_stated_side_and_never_enlarged() {
    let options = ImportOptions { side: Some(16), ..DEFAULT };
    // Twice as wide as high, the edge in the middle of the crop.
    let wide = jpeg(64, 32, |x, _| [if x < 32 { 0 } else { 255 }, 100, 0]);
    let (manifest, images) = with(&options, |from| write(from, "train/b/wide.jpg", &wide)).unwrap();
    let imported = manifest.imported.unwrap();
    assert_eq!((imported.shape, imported.side), ([3, 16, 16], Some(16)));
    let halves = images.chunks(3 * 256).any(|image| {
        image[..256]
            .chunks(16)
            .all(|row| row[..7].iter().all(|&v| v < 12) && row[9..].iter().all(|&v| v > 243))
    });
    assert!(halves);
    // An image that has the size already stays as it is.
    let same = with(&DEFAULT, |_| {}).unwrap().0;
    assert_eq!(with(&options, |_| {}).unwrap().0.content_hash(), same.content_hash());
    for bytes in [flat(1, [9; 3]), flat(15, [9; 3]), jpeg(64, 1, |_, _| [0; 3])] {
        let small = with(&options, |from| write(from, "train/b/small.jpg", &bytes));
        says(small, &["small.jpg", "would be enlarged"]);
    }
    for (side, percent, channels, field) in [
        (Some(0), None, None, "--side"),
        (Some(7), None, None, "--side"),
        (Some(4096), None, None, "--side"),
        (None, Some(0), None, "--test-percent"),
        (None, Some(100), None, "--test-percent"),
        (None, None, Some(2), "--channels"),
    ] {
        let options = ImportOptions { side, test_percent: percent, channels, ..DEFAULT };
        says(with(&options, |_| {}), &[field]);
    }
    let licence = Some("two\nlines".to_owned());
    says(with(&ImportOptions { licence, ..DEFAULT }, |_| {}), &["--licence"]);
    let tiny = with(&DEFAULT, |from| {
        for split in ["train/a/0", "train/b/0", "test/a/0", "test/b/0"] {
            let folder = from.join(split).parent().unwrap().to_owned();
            fs::remove_dir_all(&folder).unwrap();
            write(from, &format!("{split}.png"), &flat(1, [1, 2, 3]));
        }
    });
    says(tiny, &["1x1 pixels", "8 to 1024"]);
}

#[test]
fn grey_data_sets_have_one_channel() {
    let grey = |from: &Path| {
        for split in ["train", "test"] {
            for class in ["a", "b"] {
                fs::remove_dir_all(from.join(split).join(class)).unwrap();
                for i in 0..3u8 {
                    let bytes = png(16, 16, ExtendedColorType::L8, &[i + 40; 256]);
                    write(from, &format!("{split}/{class}/{i}.png"), &bytes);
                }
            }
        }
    };
    let imported = with(&DEFAULT, grey).unwrap().0.imported.unwrap();
    assert_eq!((imported.shape, imported.grey_images), ([1, 16, 16], 0));
    let three = ImportOptions { channels: Some(3), ..DEFAULT };
    let imported = with(&three, grey).unwrap().0.imported.unwrap();
    assert_eq!((imported.shape, imported.grey_images), ([3, 16, 16], 12));
    let one = ImportOptions { channels: Some(1), ..DEFAULT };
    assert_eq!(with(&one, grey).unwrap().0.imported.unwrap().shape, [1, 16, 16]);
    says(with(&one, |_| {}), &["train/a/0.jpg", "in colour"]);
}

#[test]
fn names_that_lead_elsewhere_or_are_taken_are_refused() {
    let (from, root) = place();
    folders(from.path(), 2, 2);
    for name in ["", ".", "..", "../x", "a/b", "A", "a b", ".x", "toy", "cifar-10", "fashion-mnist"]
    {
        says(import(root.path(), name, from.path(), &DEFAULT, &mut quiet), &["data set"]);
        assert!(listing(root.path()).is_empty(), "{name}");
    }
    says(import(root.path(), &"x".repeat(65), from.path(), &DEFAULT, &mut quiet), &["1 to 64"]);
    fs::create_dir(root.path().join("mine")).unwrap();
    says(import(root.path(), "mine", from.path(), &DEFAULT, &mut quiet), &["there already"]);
}

/// A data set whose content is pinned, as that of the JPEG copy of CIFAR-10 is.
fn pinned(content: String, counts: [u64; 2]) -> DatasetInfo {
    let copy = DATASETS.iter().find(|info| info.name == "cifar-10-jpeg").unwrap();
    DatasetInfo {
        shape: ImageShape { channels: 3, height: 8, width: 8 },
        classes: 3,
        counts: Some(counts),
        content: Some(Box::leak(content.into_boxed_str())),
        ..copy.clone()
    }
}

#[test]
fn a_pinned_data_set_is_those_images_and_no_others() {
    let (from, root) = place();
    folders(from.path(), 4, 2);
    let content = hash(root.path(), "other-name", from.path(), &DEFAULT);
    let info = pinned(content.clone(), [12, 6]);
    let catalog = Catalog::new(root.path());
    // Known before anything is installed: keys can be made.
    assert_eq!(catalog.hash_of(&info).unwrap(), content);
    says(catalog.read(&info), &["git clone", "bgm data import cifar-10-jpeg"]);
    let declared = ("cifar-10-jpeg", Some(&info));
    let go = || import_as(root.path(), declared, from.path(), &DEFAULT, &mut quiet);
    let manifest = go().unwrap();
    assert_eq!(go().unwrap(), manifest, "done already");
    assert_eq!(catalog.read(&info).unwrap().0.len(), 12);
    let options = ImportOptions { seed: 1, ..DEFAULT };
    says(import_as(root.path(), declared, from.path(), &options, &mut quiet), &["without options"]);

    // Nothing but the prepared files has to travel.
    let elsewhere = TempDir::new().unwrap();
    let folder = elsewhere.path().join("cifar-10-jpeg");
    common::copy_folder(&root.path().join("cifar-10-jpeg/prepared"), &folder.join("prepared"));
    assert_eq!(Catalog::new(elsewhere.path()).read(&info).unwrap().1.len(), 6);

    // Other images, prepared under its name by hand: their own hash is not the pinned one.
    fs::remove_dir_all(&folder).unwrap();
    write(from.path(), "train/ant/0-0.png", &flat(8, [99; 3]));
    let other = import(elsewhere.path(), "forged", from.path(), &DEFAULT, &mut quiet).unwrap();
    says(
        import_as(elsewhere.path(), declared, from.path(), &DEFAULT, &mut quiet),
        &["not the images of cifar-10-jpeg", &content, &other.content_hash()],
    );
    assert_eq!(listing(elsewhere.path()), ["forged"]);
    fs::rename(elsewhere.path().join("forged"), &folder).unwrap();
    says(Catalog::new(elsewhere.path()).read(&info), &["other images"]);
}

#[test]
fn damage_to_an_imported_data_set_is_found() {
    let (from, root) = place();
    folders(from.path(), 4, 2);
    import(root.path(), "set", from.path(), &DEFAULT, &mut quiet).unwrap();
    let catalog = Catalog::new(root.path());
    let path = root.path().join("set/prepared/manifest.toml");
    let whole = fs::read_to_string(&path).unwrap();
    for (old, new, problem) in [
        ("\"cow\"", "\"c\\u0007w\"", "control character"),
        ("shape = [3, 8, 8]", "shape = [3, 8, 9]", "shape"),
        ("shape = [3, 8, 8]", "shape = [2, 8, 8]", "imported.shape"),
        ("images = [12, 6]", "images = [12, 7]", "images"),
        ("mean = [", "mean = [0.5, ", "mean"),
        ("\"train.bgm\"", "\"../train.bgm\"", "must name exactly"),
        ("source = \"import\"", "source = \"folder\"", "prepared from folder"),
    ] {
        let changed = whole.replacen(old, new, 1);
        assert_ne!(changed, whole, "{old}");
        fs::write(&path, changed).unwrap();
        says(catalog.info("set").and_then(|info| catalog.read(&info)), &[problem]);
    }
    fs::write(&path, &whole).unwrap();
    let info = catalog.info("set").unwrap();
    let split = root.path().join("set/prepared/train.bgm");
    let mut bytes = fs::read(&split).unwrap();
    bytes[5000] ^= 1;
    fs::write(&split, bytes).unwrap();
    says(catalog.read(&info), &["train.bgm", "SHA-256"]);
    fs::remove_file(&path).unwrap();
    fifo(&path);
    says(catalog.info("set"), &["manifest.toml", "FIFO"]);
}

#[test]
fn an_import_that_is_stopped_leaves_nothing_and_can_be_repeated() {
    let (from, root) = place();
    folders(from.path(), 6, 3);
    write(root.path(), "set.tar", &tar(from.path(), "top"));
    let archive = root.path().join("set.tar");
    for step in [Step::Unpack, Step::Inspect, Step::Prepare("train.bgm"), Step::Prepare("test.bgm")]
    {
        let mut stop = |progress: Progress| {
            if progress.step == step { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let stopped = import(root.path(), "set", &archive, &DEFAULT, &mut stop);
        assert!(matches!(stopped, Err(DataError::Interrupted)), "{step:?}: {stopped:?}");
        assert_eq!(listing(root.path()), ["set.tar"]);
    }
    // What a killed process leaves is cleared away; what a living one has is not touched.
    write(root.path(), ".importing-set/prepared/train.bgm.tmp", b"half");
    write(root.path(), ".importing-set/unpacked", b"half");
    let mut other = None;
    let mut report = |_: Progress| {
        let second = import(root.path(), "set", &archive, &DEFAULT, &mut quiet);
        other.get_or_insert(second);
        ControlFlow::Continue(())
    };
    import(root.path(), "set", &archive, &DEFAULT, &mut report).unwrap();
    assert!(matches!(other, Some(Err(DataError::Busy { .. }))), "{other:?}");
    assert_eq!(listing(root.path()), ["set", "set.tar"]);
    assert_eq!(listing(&root.path().join("set")), [".lock", "prepared"]);
}

/// The images that issue from the public copy of CIFAR-10, where somebody has laid them.
#[test]
fn the_jpeg_copy_of_cifar_10_has_its_pinned_hash() {
    let Some(file) = std::env::var_os("BGM_CIFAR_JPEG") else {
        eprintln!("skipped: BGM_CIFAR_JPEG names no copy of the images");
        return;
    };
    let root = TempDir::new().unwrap();
    let name = "cifar-10-jpeg";
    let manifest = import(root.path(), name, file.as_ref(), &DEFAULT, &mut quiet).unwrap();
    let imported = manifest.imported.unwrap();
    assert_eq!(imported.images, [50_000, 10_000]);
    // As computed with Pillow and NumPy.
    for (found, expected) in imported.mean.iter().zip([0.4912, 0.4821, 0.4465]) {
        assert!((found - expected).abs() < 5e-4, "{:?}", imported.mean);
    }
    for (found, expected) in imported.std.iter().zip([0.2452, 0.2428, 0.2606]) {
        assert!((found - expected).abs() < 5e-4, "{:?}", imported.std);
    }
}

#[test]
fn archives_are_imported_as_their_folders_are_and_their_oddities_named() {
    let (from, root) = place();
    let source = from.path().join("a");
    folders(&source, 3, 2);
    let import_tar = |name: &str| {
        let archive = from.path().join("set.tar");
        fs::write(&archive, tar(&source, "top")).unwrap();
        let result = import(root.path(), name, &archive, &DEFAULT, &mut quiet);
        assert_eq!(root.path().join(name).exists(), result.is_ok());
        result
    };
    import_tar("whole").unwrap();
    fs::create_dir(source.join("test/zebra")).unwrap();
    says(import_tar("zebra"), &["set.tar", "train", "\"zebra\""]);
    fs::create_dir(source.join("train/zebra")).unwrap();
    says(import_tar("empty"), &["set.tar", "train/zebra", "without an image"]);
    for split in ["train", "test"] {
        fs::remove_dir(source.join(split).join("zebra")).unwrap();
    }
    write(&source, "train/cow/cut.jpg", &jpeg(8, 8, |_, _| [1; 3])[..40]);
    write(&source, "train/cow/sub/x.png", &flat(8, [1; 3]));
    says(import_tar("two"), &["train/cow/sub: is a directory", "train/cow/cut.jpg", "2 entries"]);
    fs::remove_dir_all(source.join("train/cow/sub")).unwrap();
    fs::remove_file(source.join("train/cow/cut.jpg")).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all("top", &source).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Fifo);
    header.set_size(0);
    builder.append_data(&mut header, "top/train/cow/pipe.png", &[][..]).unwrap();
    write(from.path(), "pipe.tar", &builder.into_inner().unwrap());
    let pipe = from.path().join("pipe.tar");
    says(import(root.path(), "pipe", &pipe, &DEFAULT, &mut quiet), &["pipe.png", "neither file"]);
    assert_eq!(listing(root.path()), ["whole"]);
}
