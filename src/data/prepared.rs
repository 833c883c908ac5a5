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

use super::imported::Imported;
use super::manifest::{FileEntry, hash_file};
use super::pixels::Pixels;
use super::stats::ChannelStats;
use super::{DataError, ImageSet, files, map};
use crate::corrupt::ImageShape;
use crate::spec::hex;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Folder of the prepared splits below that of the data set.
pub const FOLDER: &str = "prepared";
/// Names of the two splits.
pub const FILES: [&str; 2] = ["train.bgm", "test.bgm"];
const MANIFEST: &str = "manifest.toml";
const MAGIC: &[u8; 8] = b"BGMDATA\0";
/// Raised whenever the layout changes.
const VERSION: u32 = 1;
/// Bytes before the pixels: a page, so that they start on one.
pub const HEADER_BYTES: usize = 4096;
const MOST_CHANNELS: usize = 16;
const MOST_SIDE: usize = 1 << 16;

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
        if !(1..=MOST_CHANNELS).contains(&channels)
            || !(1..=MOST_SIDE).contains(&height)
            || !(1..=MOST_SIDE).contains(&width)
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

/// What was prepared, from what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreparedManifest {
    /// Digest of the published archive, `folder` where there is none, or `import`.
    pub source: String,
    /// What `bgm data import` was told and has found, where it has made the splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// [`FILES`], in that order.
    pub file: Vec<FileEntry>,
}

impl PreparedManifest {
    /// Reads the manifest of the data set in `folder`.
    ///
    /// # Errors
    /// If it was never prepared or the manifest is malformed.
    pub fn read(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(FOLDER).join(MANIFEST);
        let text = files::read_text(&path).map_err(|e| {
            DataError::io(
                &path,
                e,
                "prepare the data set first: `bgm data prepare` or `bgm data import`",
            )
        })?;
        PreparedManifest::parse(&text).map_err(|problem| DataError::format(&path, problem))
    }

    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// If it is malformed or names other files.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: PreparedManifest = toml::from_str(text).map_err(|e| e.to_string())?;
        if manifest.file.iter().map(|entry| &entry.path).ne(FILES) {
            return Err(format!("must name exactly {FILES:?}"));
        }
        if let Some(imported) = &manifest.imported {
            imported.check()?;
        }
        Ok(manifest)
    }

    /// Writes it: the last step of preparing, the one that makes the splits count.
    pub(super) fn write(&self, folder: &Path) -> Result<(), DataError> {
        let path = folder.join(FOLDER).join(MANIFEST);
        let text = toml::to_string(self).map_err(|e| DataError::format(&path, e.to_string()))?;
        write_whole(&path, text.as_bytes())
    }

    /// One hash for both files, for run keys.
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        for entry in &self.file {
            hash.update(format!("{} {}\n", entry.sha256, entry.path));
        }
        hex(&hash.finalize())
    }
}

/// Writes a small file so that it is there whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        sync_folder(path)
    };
    write().map_err(|e| DataError::io(path, e, "check that the folder is writable and not full"))
}

/// Makes a rename last through a power cut.
pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Writes one split, image by image.
pub(super) struct Writer {
    path: PathBuf,
    temporary: PathBuf,
    out: Option<BufWriter<File>>,
    labels: Vec<u8>,
    header: Header,
}

impl Writer {
    /// Starts split `name` of the data set in `folder`.
    pub(super) fn create(
        folder: &Path,
        name: &str,
        shape: ImageShape,
        classes: u32,
    ) -> Result<Writer, DataError> {
        let folder = folder.join(FOLDER);
        let (path, temporary) = (folder.join(name), folder.join(name).with_extension("bgm.tmp"));
        let create = || {
            std::fs::create_dir_all(&folder)?;
            let mut out = BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
            out.write_all(&[0; HEADER_BYTES])?;
            Ok(out)
        };
        let out = create().map_err(|e| DataError::io(&temporary, e, "is the folder writable?"))?;
        let header = Header { shape, classes, count: 0, stats: ChannelStats::new(shape.channels) };
        Ok(Writer { path, temporary, out: Some(out), labels: Vec::new(), header })
    }

    /// Images so far.
    pub(super) fn count(&self) -> u64 {
        self.header.count
    }

    /// What the head of the file will say of the images so far.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Appends an image `[channels, height, width]`.
    pub(super) fn push(&mut self, label: u8, image: &[u8]) -> Result<(), DataError> {
        debug_assert_eq!(image.len(), self.header.shape.values());
        debug_assert!(u32::from(label) < self.header.classes);
        let written = self.out.as_mut().map_or(Ok(()), |out| out.write_all(image));
        written.map_err(|e| DataError::io(&self.temporary, e, "is the disk full?"))?;
        self.header.stats.add(image);
        self.header.count += 1;
        self.labels.push(label);
        Ok(())
    }

    /// Puts labels and header in place and gives the file its name. The hash is taken from
    /// the finished file: what is on the disk, not what was meant to be.
    pub(super) fn finish(mut self) -> Result<FileEntry, DataError> {
        let Some(mut out) = self.out.take() else {
            return Err(DataError::format(&self.path, "was finished before"));
        };
        let mut write = || {
            out.write_all(&self.labels)?;
            out.seek(SeekFrom::Start(0))?;
            out.write_all(&self.header.to_bytes())?;
            out.flush()?;
            out.get_ref().sync_all()
        };
        write().map_err(|e| DataError::io(&self.temporary, e, "is the disk full?"))?;
        let (bytes, sha256) = hash_file(&self.temporary)?;
        std::fs::rename(&self.temporary, &self.path)
            .and_then(|()| sync_folder(&self.path))
            .map_err(|e| DataError::io(&self.path, e, "is the folder writable?"))?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(FileEntry { path: name, bytes, sha256 })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Left over only if something failed: half a split is of no use to anyone.
        let _ = std::fs::remove_file(&self.temporary);
    }
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
