//! Prepared splits: one file that is mapped, not read, so that 257,000 ImageNet crops cost
//! no memory and the second load takes seconds.
//!
//! ```text
//! bytes    0..8      magic "BGMDATA\0"
//! bytes    8..40     version, channels, height, width, classes, 0 (u32), count (u64)
//! bytes   40..       sum and sum of squares (u64 each) of every channel; then zeros
//! bytes 4096..       pixels, [count, channels, height, width]
//!  after them        labels, one byte an image
//! ```
//! All integers are little-endian. The SHA-256 of the whole file is in `manifest.toml` beside
//! it, written last: without it, or with another, a split counts as not prepared.

mod manifest;
mod writer;

pub use manifest::PreparedManifest;
pub(super) use writer::Writer;

use super::manifest::FileEntry;
use super::pixels::Pixels;
use super::stats::ChannelStats;
use super::{DataError, ImageSet, files, map};
use crate::digest::hex;
use crate::image_shape::ImageShape;
use memmap2::Mmap;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Folder of the prepared splits below that of the data set.
pub const FOLDER: &str = "prepared";
/// Names of the two splits.
pub const FILES: [&str; 2] = ["train.bgm", "test.bgm"];
const MAGIC: &[u8; 8] = b"BGMDATA\0";
/// Raised whenever the layout changes.
const VERSION: u32 = 1;
/// Bytes before the pixels: a page, so that they start on one.
pub const HEADER_BYTES: usize = 4096;
const MAX_CHANNELS: usize = 16;
const MAX_SIDE: usize = 1 << 16;

/// What the head of a prepared split says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub shape: ImageShape,
    pub classes: u32,
    pub count: u64,
    /// Over all images of the split.
    pub stats: ChannelStats,
}

impl Header {
    /// Bytes of the whole file, or `None` where that is no possible size.
    fn file_bytes(&self) -> Option<u64> {
        let each = (self.shape.values() as u64).checked_add(1)?;
        self.count.checked_mul(each)?.checked_add(HEADER_BYTES as u64)
    }

    /// The first [`HEADER_BYTES`] bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let ImageShape { channels, height, width } = self.shape;
        let mut bytes = MAGIC.to_vec();
        for value in [VERSION, channels as u32, height as u32, width as u32, self.classes, 0] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(self.count.to_le_bytes());
        for (sum, squares) in self.stats.sums.iter().zip(&self.stats.squares) {
            bytes.extend(sum.to_le_bytes());
            bytes.extend(squares.to_le_bytes());
        }
        bytes.resize(HEADER_BYTES, 0);
        bytes
    }

    /// Reads the head of a file of `file_bytes` bytes.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8], file_bytes: u64) -> Result<Header, String> {
        let Some(bytes) = bytes.get(..HEADER_BYTES) else {
            return Err(format!(
                "is truncated: {} bytes, the header has {HEADER_BYTES}",
                bytes.len()
            ));
        };
        let (magic, mut rest) = bytes.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err("is no prepared split (wrong magic number)".into());
        }
        let [version, channels, height, width, classes, zero] =
            std::array::from_fn(|_| take(&mut rest).map_or(0, u32::from_le_bytes));
        if version != VERSION {
            return Err(format!("has version {version}, this program reads {VERSION}"));
        }
        let count = take(&mut rest).map_or(0, u64::from_le_bytes);
        let [channels, height, width] = [channels, height, width].map(|size| size as usize);
        if !(1..=MAX_CHANNELS).contains(&channels)
            || !(1..=MAX_SIDE).contains(&height)
            || !(1..=MAX_SIDE).contains(&width)
        {
            return Err(format!("has an impossible shape: {channels}x{height}x{width}"));
        }
        if !(1..=256).contains(&classes) || zero != 0 || count == 0 {
            return Err(format!("has impossible sizes: {count} images of {classes} classes"));
        }
        let shape = ImageShape { channels, height, width };
        let mut stats = ChannelStats::new(channels);
        stats.count = count.checked_mul(shape.pixels() as u64).ok_or("has too many images")?;
        for channel in 0..channels {
            let (sum, squares) = (take(&mut rest), take(&mut rest));
            stats.sums[channel] = sum.map_or(0, u64::from_le_bytes);
            stats.squares[channel] = squares.map_or(0, u64::from_le_bytes);
            // No values have such sums (Cauchy-Schwarz): refused, so that a deviation is a number.
            let most = u128::from(stats.count) * u128::from(stats.squares[channel]);
            let largest = stats.count.checked_mul(255);
            if largest.is_none_or(|largest| stats.sums[channel] > largest)
                || u128::from(stats.sums[channel]).pow(2) > most
            {
                return Err(format!("has impossible sums for channel {channel}"));
            }
        }
        if rest.iter().any(|&byte| byte != 0) {
            return Err("has values in the unused part of its header".into());
        }
        let header = Header { shape, classes, count, stats };
        if header.file_bytes() != Some(file_bytes) {
            return Err(format!(
                "has {file_bytes} bytes, but {count} images of {channels}x{height}x{width} do not \
                 take that many: truncated or damaged"
            ));
        }
        Ok(header)
    }
}

/// The next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

/// Splits that this process has mapped and found to have their hash.
static VERIFIED: Mutex<BTreeMap<PathBuf, Verified>> = Mutex::new(BTreeMap::new());

/// One of them: its hash, the time of its last change, and where it lies.
type Verified = (String, SystemTime, Arc<Mmap>);

/// Maps one split of the data set in `folder`.
///
/// The whole file is checked against its hash the first time that a process opens it (a
/// second for CIFAR, under a minute for ImageNet); later loads share the mapping that was
/// checked, so that a hundred runs of one process check it once. A file that has another
/// size, time or manifest is checked again.
///
/// # Errors
/// If the file is missing, differs from its hash or is malformed.
pub fn open(folder: &Path, entry: &FileEntry) -> Result<(ImageSet, Header), DataError> {
    let path = folder.join(FOLDER).join(&entry.path);
    let map = verified(&path, entry)?;
    let header = Header::parse(&map, map.len() as u64)
        .map_err(|problem| DataError::format(&path, problem))?;
    let labels_at = map.len() - header.count as usize;
    let labels = map[labels_at..].to_vec();
    if let Some(at) = labels.iter().position(|&label| u32::from(label) >= header.classes) {
        let problem =
            format!("label {} of image {at} is none of {} classes", labels[at], header.classes);
        return Err(DataError::format(&path, problem));
    }
    let pixels = Pixels::mapped(map, HEADER_BYTES..labels_at);
    Ok((ImageSet { shape: header.shape, pixels, labels }, header))
}

fn verified(path: &Path, entry: &FileEntry) -> Result<Arc<Mmap>, DataError> {
    let io = |e| DataError::io(path, e, "prepare the data set again: `bgm data prepare`");
    let file = files::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let (bytes, time) = (metadata.len(), metadata.modified().map_err(io)?);
    if bytes != entry.bytes {
        let expected = entry.bytes;
        return Err(DataError::Size { path: path.to_owned(), expected, found: bytes });
    }
    // Held while hashing: a second thread waits for the answer instead of finding it twice.
    let mut known = VERIFIED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((sha256, then, map)) = known.get(path)
        && (sha256 == &entry.sha256 && *then == time && map.len() as u64 == bytes)
    {
        return Ok(Arc::clone(map));
    }
    let map = map::map(&file).map_err(io)?;
    let found = hex(&Sha256::digest(&map));
    if found != entry.sha256 {
        let expected = entry.sha256.clone();
        return Err(DataError::Hash { path: path.to_owned(), expected, found });
    }
    let map = Arc::new(map);
    known.insert(path.to_owned(), (entry.sha256.clone(), time, Arc::clone(&map)));
    Ok(map)
}
