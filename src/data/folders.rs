//! Image folders `<split>/<class>/<image>`: CINIC-10 (PNG) and ImageNet (JPEG).

use super::DataError;
use super::decode::{FileFormat, Head, MAX_FILE_BYTES, Opened};
use super::files;
use crate::image_shape::ImageShape;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// CINIC-10's images: `[3, 32, 32]`.
pub const CINIC_SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };
/// ImageNet's after resizing and cropping: `[3, 224, 224]`.
pub const IMAGENET_SHAPE: ImageShape = ImageShape { channels: 3, height: 224, width: 224 };
/// Pixels of the shorter side of an ImageNet image after resizing, before the crop.
const SHORTER_SIDE: u32 = 256;
/// Minimum side of an ImageNet image in pixels: resizing enlarges a smaller one more than 16 times.
pub const IMAGENET_MIN_SIDE: u32 = 16;
/// Maximum ratio (rounded down) of the sides of an ImageNet image.
const IMAGENET_MAX_ASPECT_RATIO: u32 = 64;

/// Classes of CINIC-10: class `i` is the `i`-th name.
pub const CINIC_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Super-classes of Restricted ImageNet (Tsipras et al. 2019, "Robustness may be at odds with
/// accuracy"; ranges of the `robustness` library). Class `i` is the `i`-th entry `(name, first,
/// last)`: the ImageNet classes at the zero-based positions `first..=last` of the sorted folder
/// names.
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

/// Number of class folders of ImageNet. With any other number, the positions in
/// [`SUPER_CLASSES`] would select other classes.
const IMAGENET_FOLDERS: usize = 1000;

/// Hint of I/O errors.
const INCOMPLETE: &str = "the data set is incomplete; see `bgm data list`";

/// One image and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFile {
    pub path: PathBuf,
    pub label: u8,
}

/// Lists the images of `<root>/<split>` of CINIC-10; class `i` is `CINIC_CLASSES[i]`. Files of a
/// class are sorted by name, and the classes are interleaved (see [`interleave`]).
///
/// # Errors
/// If a folder cannot be listed, or a class folder is missing, unknown or empty.
pub fn cinic(root: &Path, split: &str) -> Result<Vec<ImageFile>, DataError> {
    let split = root.join(split);
    let found = subfolders(&split)?;
    if let Some(class) = CINIC_CLASSES.iter().find(|class| !found.iter().any(|f| f == **class)) {
        return Err(DataError::format(&split, format!("has no folder for class '{class}'")));
    }
    if let Some(extra) = found.iter().find(|f| !CINIC_CLASSES.iter().any(|class| f == class)) {
        let problem = format!("contains {extra:?}, which is not a class of CINIC-10");
        return Err(DataError::format(&split, problem));
    }
    let folders = CINIC_CLASSES.iter().enumerate();
    let folders = folders.map(|(label, class)| images(&split.join(class), label as u8, &["png"]));
    Ok(interleave(folders.collect::<Result<_, _>>()?))
}

/// Lists the images of `<root>/<split>` (`train` or `val`) of ImageNet that belong to a
/// super-class. Files of a folder are sorted by name, and the folders are interleaved (see
/// [`interleave`]).
///
/// # Errors
/// If a folder cannot be listed, if there are not exactly 1,000 folders named by WordNet
/// identifiers, or if the folder of a super-class is empty.
pub fn restricted_imagenet(root: &Path, split: &str) -> Result<Vec<ImageFile>, DataError> {
    let split = root.join(split);
    let found = subfolders(&split)?;
    let is_wnid = |name: &OsString| {
        let name = name.as_encoded_bytes();
        name.len() == 9 && name[0] == b'n' && name[1..].iter().all(u8::is_ascii_digit)
    };
    if let Some(other) = found.iter().find(|name| !is_wnid(name)) {
        let problem =
            format!("contains the folder {other:?}, not a WordNet identifier like n01440764");
        return Err(DataError::format(&split, problem));
    }
    if found.len() != IMAGENET_FOLDERS {
        let problem = format!(
            "has {} class folders; the positions of the super-classes need all \
             {IMAGENET_FOLDERS} of ImageNet",
            found.len()
        );
        return Err(DataError::format(&split, problem));
    }
    let mut folders = Vec::new();
    for (position, name) in found.iter().enumerate() {
        let contains =
            |&(_, first, last): &(&str, usize, usize)| (first..=last).contains(&position);
        if let Some(label) = SUPER_CLASSES.iter().position(contains) {
            folders.push(images(&split.join(name), label as u8, &["jpeg", "jpg"])?);
        }
    }
    Ok(interleave(folders))
}

/// Interleaves folders so that the first `n` images, for every `n`, contain each folder in
/// proportion to its size: a spec that asks for the first 2,000 images must not get 2,000
/// aeroplanes. Image `i` of a folder with `k` images is sorted by `(2i + 1) / 2k`; ties keep the
/// order of the folders.
pub(super) fn interleave<T>(folders: Vec<Vec<T>>) -> Vec<T> {
    // Numerator and denominator of the sort key, without the common factor 1/2.
    let mut placed: Vec<(u64, u64, T)> = Vec::new();
    for folder in folders {
        let count = folder.len() as u64;
        let place = |(index, file)| (2 * index as u64 + 1, count, file);
        placed.extend(folder.into_iter().enumerate().map(place));
    }
    // a / k_a < b / k_b, in integers. The sort is stable.
    placed.sort_by(|(a, k_a, _), (b, k_b, _)| (a * k_b).cmp(&(b * k_a)));
    placed.into_iter().map(|(_, _, file)| file).collect()
}

/// Sorted names of the folders in `folder`; files and hidden folders are skipped.
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
        let problem = format!("contains no images (files ending in {})", endings.join(" or "));
        return Err(DataError::format(folder, problem));
    }
    Ok(names.iter().map(|name| ImageFile { path: folder.join(name), label }).collect())
}

/// Sorted names of the entries of `folder` that are not hidden and whose path is `wanted`.
fn names(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<OsString>, DataError> {
    let io = |e| DataError::io(folder, e, INCOMPLETE);
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

/// Reads a whole image file.
///
/// # Errors
/// If it is not a regular file, cannot be read, or is larger than [`MAX_FILE_BYTES`].
pub fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    files::read(path, MAX_FILE_BYTES, INCOMPLETE)
}

/// Decodes a PNG file of CINIC-10 to 8-bit `[3, 32, 32]`. CINIC-10 has some grey images: they get
/// three equal channels. Transparency is dropped.
///
/// # Errors
/// A message for the user, without the path: not a PNG file, not 32x32, or damaged.
pub fn decode_cinic(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let opened = Opened::new(bytes)?;
    match opened.head() {
        Head { format: FileFormat::Jpeg, .. } => {
            Err("is a JPEG file; images of CINIC-10 are PNG files".to_owned())
        }
        Head { width: 32, height: 32, .. } => Ok(opened.decode()?.planes(3)),
        Head { width, height, .. } => {
            Err(format!("is {width}x{height} pixels; images of CINIC-10 are 32x32"))
        }
    }
}

/// Decodes an image file of ImageNet to 8-bit `[3, 224, 224]`: the shorter side is resized to 256
/// pixels and the centre is cropped (see [`Picture::centre`](super::decode::Picture::centre)).
///
/// The format is taken from the content: a few of ImageNet's `.JPEG` files are PNG files.
///
/// # Errors
/// A message for the user, without the path: too small, too narrow, or damaged.
pub fn decode_imagenet(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let opened = Opened::new(bytes)?;
    let Head { width, height, .. } = opened.head();
    let (short, long) = (width.min(height), width.max(height));
    if short < IMAGENET_MIN_SIDE {
        return Err(format!(
            "is {width}x{height} pixels: too small, a photograph has at least \
             {IMAGENET_MIN_SIDE} a side"
        ));
    }
    // Resizing scales the longer side too: this bounds the memory that it needs.
    if long / short > IMAGENET_MAX_ASPECT_RATIO {
        return Err(format!("is {width}x{height} pixels: too narrow for a photograph"));
    }
    let side = IMAGENET_SHAPE.width as u32;
    Ok(opened.decode()?.centre(SHORTER_SIDE, side).planes(3))
}
