//! Image folders: `<split>/<class>/<image>`, of CINIC-10 (PNG) and ImageNet (JPEG).

use super::DataError;
use super::decode::{FileFormat, Head, MAX_FILE_BYTES, Opened};
use super::files;
use crate::corrupt::ImageShape;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// CINIC-10's images: `[3, 32, 32]`.
pub const CINIC_SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };
/// ImageNet's after resizing and cropping: `[3, 224, 224]`.
pub const IMAGENET_SHAPE: ImageShape = ImageShape { channels: 3, height: 224, width: 224 };
/// The shorter side of an ImageNet image before the crop.
const SHORTER_SIDE: u32 = 256;
/// Smaller images are refused: enlarged sixteen times and more, they are no photographs.
pub const IMAGENET_MIN_SIDE: u32 = 16;

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
pub(super) fn spread<T>(folders: Vec<Vec<T>>) -> Vec<T> {
    let mut placed: Vec<(u64, u64, T)> = Vec::new();
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
/// If it is no regular file, cannot be read, or is larger than any image should be.
pub fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    files::read(path, MAX_FILE_BYTES, "the data set is incomplete; see `bgm data list`")
}

/// A CINIC-10 image from the bytes of a PNG file: `[3, 32, 32]`. Grey images (there are some)
/// get three equal channels; transparency is dropped.
///
/// # Errors
/// What is wrong with it, in words.
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

/// An ImageNet image from the bytes of a JPEG file: `[3, 224, 224]`, the centre of the image
/// resized to a shorter side of 256 pixels: see [`Picture::centre`](super::decode::Picture).
///
/// The format is taken from the content: a few of ImageNet's `.JPEG` files are PNG.
///
/// # Errors
/// What is wrong with it, in words.
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
    // Resizing enlarges the longer side too.
    if long / short > 64 {
        return Err(format!("is {width}x{height} pixels: too narrow for a photograph"));
    }
    let side = IMAGENET_SHAPE.width as u32;
    Ok(opened.decode()?.centre(SHORTER_SIDE, side).planes(3))
}
