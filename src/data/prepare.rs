//! Turns the published files of a data set into prepared splits, with the memory of a few images.

use super::folders::{self, ImageFile};
use super::manifest::FileEntry;
use super::prepared::{self, FILES, PreparedManifest, Writer};
use super::progress::{Report, Step, Ticker};
use super::published::{DatasetInfo, Format};
use super::records::{self, RecordFormat};
use super::{DataError, lock, workers};
use crate::digest::hex;
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
    let refuse = |problem: &str| {
        let (field, value) = ("data set".into(), info.name.to_string());
        Err(DataError::Spec { field, value, problem: problem.into() })
    };
    match info.format {
        Format::Idx => return refuse("is read as it is"),
        Format::Imported => return refuse("comes from `bgm data import`"),
        _ => {}
    }
    let folder = root.join(&*info.name);
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
    let file = vec![train?, test?];
    let manifest = PreparedManifest { source: info.source(), imported: None, file };
    manifest.write(&folder)?;
    Ok(manifest)
}

/// The manifest of splits that are there, whole, and made from the published archive.
pub(super) fn existing(info: &DatasetInfo, folder: &Path) -> Result<PreparedManifest, DataError> {
    let manifest = PreparedManifest::read(folder)?;
    manifest.check_source(info, folder)?;
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
        from: Published { root: &unpacked, listed },
        writer: Writer::create(folder, FILES[split], info.shape, info.classes)?,
    };
    let total = info.counts.map(|counts| counts[split]);
    let ticker = Ticker::new(report, Step::Prepare(FILES[split]), total);
    match info.format {
        Format::Idx | Format::Imported => {}
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

/// What the files of a data set must be.
#[derive(Clone, Copy)]
struct Published<'a> {
    root: &'a Path,
    listed: &'a Listed,
}

/// Where images come from and go to.
struct Out<'a> {
    from: Published<'a>,
    writer: Writer,
}

impl Published<'_> {
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
        let path = out.from.root.join(name);
        let sha256 = format.read_file(&path, |label, pixels| {
            out.writer.push(label, pixels)?;
            ticker.advance(1)
        })?;
        out.from.check(&path, sha256)?;
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
    let Out { from, writer } = out;
    let load = |file: &ImageFile| {
        let bytes = folders::read(&file.path)?;
        from.check(&file.path, Sha256::digest(&bytes).into())?;
        decode(&bytes).map_err(|problem| DataError::format(&file.path, problem))
    };
    workers::in_order(files, BATCH, load, |file, image| {
        writer.push(file.label, &image?)?;
        ticker.advance(1)
    })
}
