//! Labelled images and toy points, read whole or mapped, always checked against a hash.

pub mod archive;
pub mod catalog;
pub mod check;
pub mod decode;
#[cfg(feature = "download")]
mod download;
pub mod draw;
pub mod fetch;
mod fetch_options;
pub mod files;
pub mod folders;
pub mod idx;
pub mod import;
pub mod imported;
pub mod manifest;
mod map;
pub mod normalize;
pub mod pixels;
pub mod prepare;
pub mod prepared;
pub mod progress;
pub mod published;
pub mod records;
pub mod stats;
pub mod subset;
pub mod toy;
mod unpack;
mod workers;

pub use catalog::Catalog;
pub use pixels::Pixels;
pub use published::DatasetInfo;

use crate::image_shape::ImageShape;
use crate::spec::{Draw, EvaluateOn, ImageDataSpec};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A data file that is missing, damaged or not what its name promises.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{}: {source}; {hint}", files::shown(path))]
    Io { path: PathBuf, source: std::io::Error, hint: String },
    #[error("{}: {problem}", files::shown(path))]
    Format { path: PathBuf, problem: String },
    #[error(
        "{}: SHA-256 is {found}, expected {expected}; the file is damaged or not the published \
         one: restore it (for the embedded subset: git checkout -- data)",
        files::shown(path)
    )]
    Hash { path: PathBuf, expected: String, found: String },
    #[error(
        "{}: digest is {found}, the published archive has {expected}; the file is damaged or \
         another one: remove it and run `bgm data fetch`",
        files::shown(path)
    )]
    Archive { path: PathBuf, expected: String, found: String },
    #[error(
        "{}: has {found} bytes, expected {expected}; the file is truncated or another one: remove \
         it, then run `bgm data fetch` and `bgm data prepare`",
        files::shown(path)
    )]
    Size { path: PathBuf, expected: u64, found: u64 },
    #[error("{url}: {problem}")]
    Download { url: String, problem: String },
    #[error(
        "{} is not there, and this program was built without downloads: put {url} there, say with \
         curl, and run the command again, or build with --features download",
        files::shown(path)
    )]
    NoDownloads { path: PathBuf, url: String },
    #[error("{}: entry '{entry}' {problem}; nothing was unpacked", files::shown(archive))]
    Unpack { archive: PathBuf, entry: String, problem: String },
    #[error("{name} cannot be downloaded by this program: {origin}")]
    NotPublished { name: String, origin: String },
    #[error(
        "{}: another process is fetching or preparing this data set; wait for it",
        files::shown(path)
    )]
    Busy { path: PathBuf },
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
    #[error(
        "unknown data set '{0}'; `bgm data list` names those there are, `bgm data import` adds one"
    )]
    Unknown(String),
    #[error("{field} = {value}: {problem}")]
    Spec { field: String, value: String, problem: String },
}

impl DataError {
    pub(crate) fn io(path: &Path, source: std::io::Error, hint: &str) -> Self {
        DataError::Io { path: path.to_owned(), source, hint: hint.to_owned() }
    }

    pub(crate) fn format(path: &Path, problem: impl Into<String>) -> Self {
        DataError::Format { path: path.to_owned(), problem: problem.into() }
    }
}

/// Keeps other processes from fetching or preparing the data set in `folder`, which is made if
/// it is not there. Ends when the file is dropped, or the process dies.
fn lock(folder: &Path) -> Result<File, DataError> {
    let path = folder.join(".lock");
    let io = |e| DataError::io(&path, e, "check that the folder can be made and written to");
    std::fs::create_dir_all(folder).map_err(io)?;
    // A FIFO of this name, opened without NONBLOCK, would wait for a reader.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).custom_flags(flags).open(&path);
    let file = file.map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataError::Busy { path }),
        Err(TryLockError::Error(e)) => Err(io(e)),
    }
}

/// 8-bit images `[count, channels, height, width]` with their classes.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSet {
    pub shape: ImageShape,
    /// `count * shape.values()` values; cheap to clone, and mapped where the set is large.
    pub pixels: Pixels,
    /// `count` labels, each below the data set's number of classes.
    pub labels: Vec<u8>,
}

impl ImageSet {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Image `index`: `[channels, height, width]`.
    pub fn image(&self, index: usize) -> &[u8] {
        let values = self.shape.values();
        &self.pixels[index * values..(index + 1) * values]
    }

    /// Images `from..to`, sharing the pixels.
    pub fn slice(&self, from: usize, to: usize) -> ImageSet {
        let values = self.shape.values();
        ImageSet {
            shape: self.shape,
            pixels: self.pixels.slice(from * values..to * values),
            labels: self.labels[from..to].to_vec(),
        }
    }

    /// Averages squares of `side` x `side` pixels, rounded half up; rows and columns that
    /// do not fill a square are dropped.
    pub fn pooled(&self, side: usize) -> ImageSet {
        if side == 1 {
            return self.clone();
        }
        let (height, width) = (self.shape.height / side, self.shape.width / side);
        let shape = ImageShape { channels: self.shape.channels, height, width };
        let area = (side * side) as u32;
        let mut pixels = Vec::with_capacity(self.len() * shape.values());
        for plane in self.pixels.chunks_exact(self.shape.pixels()) {
            for y in 0..height {
                for x in 0..width {
                    let rows = (y * side..(y + 1) * side).map(|row| row * self.shape.width);
                    let sum: u32 = rows
                        .flat_map(|row| &plane[row + x * side..row + (x + 1) * side])
                        .map(|&value| u32::from(value))
                        .sum();
                    pixels.push(((sum + area / 2) / area) as u8);
                }
            }
        }
        ImageSet { shape, pixels: pixels.into(), labels: self.labels.clone() }
    }
}

/// The images of one run: what it trains on, what it is evaluated on, how they are scaled.
#[derive(Clone, Debug)]
pub struct RunImages {
    pub train: ImageSet,
    pub test: ImageSet,
    pub classes: u32,
    pub normalization: normalize::Normalization,
}

impl Catalog {
    /// Loads what `spec` asks for; `seed` is that of the run.
    ///
    /// # Errors
    /// If files are missing, damaged or malformed, or hold fewer images than asked for.
    pub fn load_images(&self, spec: &ImageDataSpec, seed: u64) -> Result<RunImages, DataError> {
        let info = self.info(&spec.dataset)?;
        let (train, test) = self.read(&info)?;
        let too_many = |field: &str, asked: usize, there: usize| DataError::Spec {
            field: format!("data.images.{field}"),
            value: asked.to_string(),
            problem: format!("{} has only {there} such images", spec.dataset),
        };
        let all = |count: u32, there: usize| if count == 0 { there } else { count as usize };
        let train_count = all(spec.train, train.len());
        if train_count > train.len() {
            return Err(too_many("train", train_count, train.len()));
        }
        let validates = spec.evaluate_on == EvaluateOn::Validation;
        let first = if validates { train_count } else { 0 };
        let rest = if validates { train.len() - first } else { test.len() };
        let test_count = all(spec.test, rest);
        if test_count == 0 || test_count > rest {
            return Err(too_many("test", test_count, rest));
        }
        if let Some(along) = spec.test_along.filter(|&along| along as usize > test_count) {
            return Err(too_many("test_along", along as usize, test_count));
        }
        let train = match spec.draw {
            Draw::First => train,
            // Evaluation images come after the training images of the same draw.
            Draw::Seed if validates => draw::draw(&train, seed, train_count + test_count)?,
            Draw::Seed => draw::draw(&train, seed, train_count)?,
        };
        let held_out = if validates { &train } else { &test };
        let side = spec.pool as usize;
        if side > train.shape.height.min(train.shape.width) {
            return Err(DataError::Spec {
                field: "data.images.pool".into(),
                value: side.to_string(),
                problem: format!("images are {0}x{1}", train.shape.height, train.shape.width),
            });
        }
        let evaluated = if crate::planted::train_test_overlap() {
            // Half of the evaluated images are replaced by training images.
            let mut mixed = held_out.slice(first, first + test_count);
            let leak = (test_count / 2).min(train_count);
            let values = train.shape.values();
            let mut pixels = mixed.pixels.to_vec();
            pixels[..leak * values].copy_from_slice(&train.pixels[..leak * values]);
            mixed.pixels = pixels.into();
            mixed.labels[..leak].copy_from_slice(&train.labels[..leak]);
            mixed
        } else {
            held_out.slice(first, first + test_count)
        };
        Ok(RunImages {
            train: train.slice(0, train_count).pooled(side),
            test: evaluated.pooled(side),
            classes: info.classes,
            normalization: self.normalization(&info)?,
        })
    }
}
