//! Image folders: `<split>/<class>/<image>`, of CINIC-10 (PNG) and ImageNet (JPEG).

use super::DataError;
use crate::corrupt::ImageShape;
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

/// CINIC-10's images: `[3, 32, 32]`.
pub const CINIC_SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };
/// ImageNet's after resizing and cropping: `[3, 224, 224]`.
pub const IMAGENET_SHAPE: ImageShape = ImageShape { channels: 3, height: 224, width: 224 };
/// The shorter side of an ImageNet image before the crop.
const SHORTER_SIDE: u32 = 256;

/// Classes of CINIC-10: class `i` is the `i`-th name.
pub const CINIC_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Super-classes of Restricted ImageNet: class `i` is the `i`-th, made of the ImageNet classes
/// with these (inclusive) positions among the sorted folder names.
pub const SUPER_CLASSES: [(&str, usize, usize); 9] = [
    ("dog", 151, 268),
    ("cat", 281, 285),
    ("frog", 30, 32),
    ("turtle", 33, 37),
    ("bird", 80, 100),
    ("primate", 365, 382),
    ("fish", 389, 397),
    ("crab", 118, 121),
    ("insect", 300, 319),
];

/// Class folders that ImageNet has. With fewer the positions above would mean other classes.
const IMAGENET_FOLDERS: usize = 1000;

/// Bounds on one file, compressed and decoded: the largest ImageNet images stay well below.
const MOST_FILE_BYTES: u64 = 64 << 20;
const MOST_PIXELS: u64 = 128 << 20;

/// One image and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFile {
    pub path: PathBuf,
    pub label: u8,
}

/// The images of `<root>/<split>` of CINIC-10, class `i` being the `i`-th sorted folder name.
/// Files of a class come by name, classes take turns: see [`spread`].
///
/// # Errors
/// If a class folder is missing, unknown or empty.
pub fn cinic(root: &Path, split: &str) -> Result<Vec<ImageFile>, DataError> {
    let split = root.join(split);
    let found = subfolders(&split)?;
    if let Some(class) = CINIC_CLASSES.iter().find(|class| !found.iter().any(|f| f == **class)) {
        return Err(DataError::format(&split, format!("has no folder for class '{class}'")));
    }
    if let Some(extra) = found.iter().find(|f| !CINIC_CLASSES.iter().any(|class| f == class)) {
        let problem = format!("holds {extra:?}, which is no class of CINIC-10");
        return Err(DataError::format(&split, problem));
    }
    let folders = CINIC_CLASSES.iter().enumerate();
    let folders = folders.map(|(label, class)| images(&split.join(class), label as u8, &["png"]));
    Ok(spread(folders.collect::<Result<_, _>>()?))
}

/// The images of `<root>/<split>` (`train` or `val`) of ImageNet that belong to a super-class.
/// Files of a folder come by name, folders take turns: see [`spread`].
///
/// # Errors
/// If there are not exactly 1,000 folders named by WordNet identifiers, or one that is
/// needed is empty.
pub fn restricted_imagenet(root: &Path, split: &str) -> Result<Vec<ImageFile>, DataError> {
    let split = root.join(split);
    let found = subfolders(&split)?;
    let is_wnid = |name: &OsString| {
        let name = name.as_encoded_bytes();
        name.len() == 9 && name[0] == b'n' && name[1..].iter().all(u8::is_ascii_digit)
    };
    if let Some(other) = found.iter().find(|name| !is_wnid(name)) {
        let problem = format!("holds the folder {other:?}, no WordNet identifier like n01440764");
        return Err(DataError::format(&split, problem));
    }
    if found.len() != IMAGENET_FOLDERS {
        let problem = format!(
            "holds {} class folders; the positions of the super-classes need all \
             {IMAGENET_FOLDERS} of ImageNet",
            found.len()
        );
        return Err(DataError::format(&split, problem));
    }
    let mut folders = Vec::new();
    for (position, name) in found.iter().enumerate() {
        let of = |&(_, first, last): &(&str, usize, usize)| (first..=last).contains(&position);
        if let Some(label) = SUPER_CLASSES.iter().position(of) {
            folders.push(images(&split.join(name), label as u8, &["jpeg", "jpg"])?);
        }
    }
    Ok(spread(folders))
}

/// Mixes folders so that the first `n` images hold every folder in proportion, whatever `n`:
/// a spec that asks for the first 2,000 images must not get 2,000 aeroplanes. Image `i` of a
/// folder of `k` has place `(2i + 1) / 2k`; equal places go by folder.
fn spread(folders: Vec<Vec<ImageFile>>) -> Vec<ImageFile> {
    let mut placed: Vec<(u64, u64, ImageFile)> = Vec::new();
    for folder in folders {
        let count = folder.len() as u64;
        let place = |(index, file)| (2 * index as u64 + 1, count, file);
        placed.extend(folder.into_iter().enumerate().map(place));
    }
    placed.sort_by(|(a, of_a, _), (b, of_b, _)| (a * of_b).cmp(&(b * of_a)));
    placed.into_iter().map(|(_, _, file)| file).collect()
}

/// Names of the folders in `folder`, sorted; plain files and hidden folders are passed over.
fn subfolders(folder: &Path) -> Result<Vec<OsString>, DataError> {
    names(folder, |path| path.is_dir())
}

/// The images of one class folder, sorted by name.
fn images(folder: &Path, label: u8, endings: &[&str]) -> Result<Vec<ImageFile>, DataError> {
    let is_image = |path: &Path| {
        let ending = path.extension().unwrap_or_default();
        endings.iter().any(|known| ending.eq_ignore_ascii_case(known))
    };
    let names = names(folder, is_image)?;
    if names.is_empty() {
        let problem = format!("holds no image (files ending in {})", endings.join(" or "));
        return Err(DataError::format(folder, problem));
    }
    Ok(names.iter().map(|name| ImageFile { path: folder.join(name), label }).collect())
}

fn names(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<OsString>, DataError> {
    let io = |e| DataError::io(folder, e, "the data set is incomplete; see `bgm data list`");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b".") && wanted(&entry.path()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The bytes of an image file.
///
/// # Errors
/// If it cannot be read or is larger than any image should be.
pub fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let io = |e| DataError::io(path, e, "the data set is incomplete; see `bgm data list`");
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(MOST_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MOST_FILE_BYTES {
        let problem = format!("is larger than {MOST_FILE_BYTES} bytes: no image of this data set");
        return Err(DataError::format(path, problem));
    }
    Ok(bytes)
}

/// A CINIC-10 image from the bytes of a PNG file: `[3, 32, 32]`. Grey images (there are some)
/// get three equal channels.
///
/// # Errors
/// What is wrong with it, in words.
pub fn decode_cinic(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.set_format(ImageFormat::Png);
    let right = |width, height| match (width, height) {
        (32, 32) => Ok(()),
        _ => Err(format!("is {width}x{height} pixels; images of CINIC-10 are 32x32")),
    };
    Ok(planes(&decode(reader, right)?.into_rgb8()))
}

/// An ImageNet image from the bytes of a JPEG file: `[3, 224, 224]`, the centre of the image
/// resized so that its shorter side is 256 pixels (triangle filter, widened when shrinking,
/// as PIL's bilinear resizing is; the longer side is rounded down; of an odd margin the
/// smaller half is above and to the left).
///
/// The format is taken from the content: a few of ImageNet's `.JPEG` files are PNG.
///
/// # Errors
/// What is wrong with it, in words.
pub fn decode_imagenet(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let reader = ImageReader::new(Cursor::new(bytes));
    let reader = reader.with_guessed_format().map_err(|e| e.to_string())?;
    if reader.format() == Some(ImageFormat::Jpeg) && !jpeg_ends(bytes) {
        return Err("is no readable image: it ends too early".to_owned());
    }
    let right = |width: u32, height: u32| {
        // Resizing enlarges the longer side too: a strip one pixel high would become huge.
        let (short, long) = (width.min(height).max(1), width.max(height));
        if long / short > 64 {
            return Err(format!("is {width}x{height} pixels: too narrow for a photograph"));
        }
        Ok(())
    };
    let image = decode(reader, right)?.into_rgb8();
    let (width, height) = image.dimensions();
    let short = u64::from(width.min(height));
    let scaled = |side: u32| (u64::from(side) * u64::from(SHORTER_SIDE) / short) as u32;
    let (width, height) = (scaled(width), scaled(height));
    let image = image::imageops::resize(&image, width, height, FilterType::Triangle);
    let side = IMAGENET_SHAPE.width as u32;
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    Ok(planes(&image::imageops::crop_imm(&image, left, top, side, side).to_image()))
}

/// Whether a JPEG file has its end: the decoder fills in grey what is missing.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    // A marker is 0xff and a byte; in compressed data 0xff is followed by 0.
    while let Some(at) = rest.windows(2).position(|p| p[0] == 0xff && !matches!(p[1], 0 | 0xff)) {
        let marker = rest[at + 1];
        rest = &rest[at + 2..];
        match marker {
            0xd9 => return true,
            // Start of the image, restarts: they stand alone.
            0x01 | 0xd0..=0xd8 => {}
            _ => {
                let [high, low, ..] = *rest else { return false };
                let Some(after) = rest.get(usize::from(u16::from_be_bytes([high, low]))..) else {
                    return false;
                };
                rest = after;
            }
        }
    }
    false
}

/// Decodes an image whose size `right` accepts; checks the size before anything is allocated.
fn decode(
    mut reader: ImageReader<Cursor<&[u8]>>,
    right: impl Fn(u32, u32) -> Result<(), String>,
) -> Result<DynamicImage, String> {
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MOST_PIXELS * 6);
    reader.limits(limits);
    let damaged = |e| format!("is no readable image: {e}");
    let decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("is {width}x{height} pixels: no image of this data set"));
    }
    right(width, height)?;
    DynamicImage::from_decoder(decoder).map_err(damaged)
}

/// From `[height, width, 3]` to `[3, height, width]`.
fn planes(image: &RgbImage) -> Vec<u8> {
    let values = image.as_raw();
    (0..3).flat_map(|channel| values.iter().skip(channel).step_by(3).copied()).collect()
}
