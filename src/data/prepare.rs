//! Turns the published files of a data set into prepared splits, with the memory of a few images.

use super::catalog::{DatasetInfo, Format};
use super::folders::{self, ImageFile};
use super::manifest::FileEntry;
use super::prepared::{self, FILES, PreparedManifest, Writer};
use super::progress::{Report, Step, Ticker};
use super::records::{self, RecordFormat};
use super::{DataError, lock};
use crate::corrupt::ImageShape;
use crate::spec::hex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

/// Images that one thread decodes before the results are written.
const BATCH: usize = 64;

/// Files that an archive was unpacked to, with their hashes; `None` where nothing was published.
type Listed = Option<BTreeMap<String, [u8; 32]>>;

/// Prepares both splits of a data set below `root`, unless they are there and whole.
/// To prepare them anew, remove `<root>/<name>/prepared`.
///
/// # Errors
/// If a published file is missing, is not the one that was unpacked from the verified archive,
/// or is malformed; if the numbers of images are not the published ones; if the disk is full.
pub fn prepare(
    info: &DatasetInfo,
    root: &Path,
    report: &mut Report,
) -> Result<PreparedManifest, DataError> {
    if info.format == Format::Idx {
        let (field, value) = ("data set".into(), info.name.into());
        return Err(DataError::Spec { field, value, problem: "is read as it is".into() });
    }
    let folder = root.join(info.name);
    let _lock = lock(&folder)?;
    if let Ok(manifest) = existing(info, &folder) {
        return Ok(manifest);
    }
    let listed = match info.archive {
        Some(archive) => Some(archive.list(&folder)?),
        None => None,
    };
    let file = [0, 1].map(|split| write_split(info, &folder, split, &listed, report));
    let [train, test] = file;
    let manifest = PreparedManifest { source: info.source(), file: vec![train?, test?] };
    manifest.write(&folder)?;
    Ok(manifest)
}

/// The manifest of splits that are there, whole, and made from the published archive.
fn existing(info: &DatasetInfo, folder: &Path) -> Result<PreparedManifest, DataError> {
    let manifest = PreparedManifest::read(folder)?;
    info.check_source(&manifest, folder)?;
    for entry in &manifest.file {
        prepared::open(folder, entry)?;
    }
    Ok(manifest)
}

fn write_split(
    info: &DatasetInfo,
    folder: &Path,
    split: usize,
    listed: &Listed,
    report: &mut Report,
) -> Result<FileEntry, DataError> {
    let unpacked = folder.join(info.archive.map_or("", |archive| archive.folder));
    let mut out = Out {
        root: &unpacked,
        listed,
        writer: Writer::create(folder, FILES[split], shape(info), info.classes)?,
    };
    let total = info.counts.map(|counts| counts[split]);
    let ticker = Ticker::new(report, Step::Prepare(FILES[split]), total);
    match info.format {
        Format::Idx => {}
        Format::Cifar10 => from_records(&records::CIFAR10, split, &mut out, ticker)?,
        Format::Cifar100 => from_records(&records::CIFAR100, split, &mut out, ticker)?,
        Format::Cinic10 => {
            let files = folders::cinic(&unpacked, ["train", "test"][split])?;
            from_images(&files, folders::decode_cinic, &mut out, ticker)?;
        }
        Format::RestrictedImagenet => {
            let files = folders::restricted_imagenet(&unpacked, ["train", "val"][split])?;
            from_images(&files, folders::decode_imagenet, &mut out, ticker)?;
        }
    }
    let found = out.writer.count();
    if let Some(expected) = total
        && found != expected
    {
        let problem = format!(
            "the {} split of {} has {found} images, the published one {expected}",
            ["training", "test"][split],
            info.name
        );
        return Err(DataError::format(&unpacked, problem));
    }
    out.writer.finish()
}

fn shape(info: &DatasetInfo) -> ImageShape {
    match info.format {
        Format::Idx | Format::Cifar10 | Format::Cifar100 => records::SHAPE,
        Format::Cinic10 => folders::CINIC_SHAPE,
        Format::RestrictedImagenet => folders::IMAGENET_SHAPE,
    }
}

/// Where images go, and what their files must be.
struct Out<'a> {
    root: &'a Path,
    listed: &'a Listed,
    writer: Writer,
}

impl Out<'_> {
    /// Compares a file with the list of what was unpacked.
    fn check(&self, path: &Path, sha256: [u8; 32]) -> Result<(), DataError> {
        let Some(listed) = self.listed else { return Ok(()) };
        let inner = path.strip_prefix(self.root).unwrap_or(path);
        match listed.get(&*inner.to_string_lossy()) {
            Some(expected) if *expected == sha256 => Ok(()),
            Some(expected) => Err(DataError::Hash {
                path: path.to_owned(),
                expected: hex(expected),
                found: hex(&sha256),
            }),
            None => Err(DataError::format(path, "is not among the files of the archive")),
        }
    }
}

fn from_records(
    format: &RecordFormat,
    split: usize,
    out: &mut Out,
    mut ticker: Ticker,
) -> Result<(), DataError> {
    for name in [format.train, format.test][split] {
        let path = out.root.join(name);
        let sha256 = format.read_file(&path, |label, pixels| {
            out.writer.push(label, pixels)?;
            ticker.advance(1)
        })?;
        out.check(&path, sha256)?;
    }
    Ok(())
}

/// Decodes files on every core, a bounded number at a time, and writes them in order.
fn from_images(
    files: &[ImageFile],
    decode: fn(&[u8]) -> Result<Vec<u8>, String>,
    out: &mut Out,
    mut ticker: Ticker,
) -> Result<(), DataError> {
    let load = |file: &ImageFile, out: &Out| {
        let bytes = folders::read(&file.path)?;
        out.check(&file.path, Sha256::digest(&bytes).into())?;
        decode(&bytes).map_err(|problem| DataError::format(&file.path, problem))
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    for chunk in files.chunks(BATCH * threads) {
        let whole: &Out = out;
        let decoded: Vec<Result<Vec<u8>, DataError>> = std::thread::scope(|scope| {
            let work = |part| {
                move || -> Vec<_> {
                    <[ImageFile]>::iter(part).map(|file| load(file, whole)).collect()
                }
            };
            let workers: Vec<_> = chunk.chunks(BATCH).map(|part| scope.spawn(work(part))).collect();
            let results = workers.into_iter().map(|worker| worker.join());
            results
                .flat_map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        for (file, image) in chunk.iter().zip(decoded) {
            out.writer.push(file.label, &image?)?;
            ticker.advance(1)?;
        }
    }
    Ok(())
}
