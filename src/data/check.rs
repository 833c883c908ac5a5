//! `bgm data check`: verifies the installed files of a data set and recomputes its statistics.

use super::catalog::Catalog;
use super::files::hash_file;
use super::prepared::{self, PreparedManifest};
use super::progress::{Report, Step, Ticker};
use super::published::{DatasetInfo, Format};
use super::stats::ChannelStats;
use super::{DataError, ImageSet};
use crate::digest::hex;
use crate::image_shape::ImageShape;

/// Result of [`check`]: what was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Verified digest of the archive (`sha256:...` or `md5:...`); `None` if it is not installed.
    pub archive: Option<String>,
    /// Number of unpacked files whose hash was verified.
    pub unpacked: usize,
    pub train: SplitFacts,
    pub test: SplitFacts,
}

/// Shape, class counts and pixel statistics of one split.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitFacts {
    pub shape: ImageShape,
    /// Number of images of each class.
    pub classes: Vec<u64>,
    /// Statistics recomputed from all pixels. They may differ from the pinned `DatasetInfo::mean`
    /// and `DatasetInfo::std`, which are the constants that the paper uses: for CIFAR-10, the
    /// authors' code, like much other code, does not use the standard deviations over all values.
    pub stats: ChannelStats,
}

impl SplitFacts {
    /// Number of images.
    pub fn len(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Verifies the archive (if it is there), the unpacked files (those that the archive's list names)
/// and the splits of a data set against their hashes, and recomputes the statistics of both splits.
///
/// # Errors
/// The first file that is missing, damaged or inconsistent; [`DataError::Interrupted`] if
/// `report` asks to stop.
pub fn check(
    info: &DatasetInfo,
    catalog: &Catalog,
    report: &mut Report,
) -> Result<Checked, DataError> {
    let folder = catalog.folder(info).unwrap_or_else(|| catalog.root().join(&*info.name));
    let (mut archive_found, mut unpacked) = (None, 0);
    if let Some(archive) = info.archive {
        let path = folder.join(archive.file);
        if path.exists() {
            archive.verify(&path, report)?;
            archive_found = Some(archive.digest.to_string());
        }
        let base = folder.join(archive.folder);
        // Once the splits are prepared the unpacked files may be removed to save space.
        let files = if base.exists() { archive.list(&folder)? } else { Default::default() };
        let mut ticker = Ticker::new(report, Step::Verify, None);
        for (name, sha256) in &files {
            let path = base.join(name);
            let (bytes, found) = hash_file(&path)?;
            let expected = hex(sha256);
            if found != expected {
                return Err(DataError::Hash { path, expected, found });
            }
            ticker.advance(bytes)?;
        }
        unpacked = files.len();
    }
    let (train, test) = catalog.read(info)?;
    let checked = Checked {
        archive: archive_found,
        unpacked,
        train: split_facts(&train, info.classes, report)?,
        test: split_facts(&test, info.classes, report)?,
    };
    // IDX files are read as published; only prepared splits store sums in their header.
    if info.format != Format::Idx {
        let manifest = PreparedManifest::read(&folder)?;
        for (entry, facts) in manifest.file.iter().zip([&checked.train, &checked.test]) {
            let (_, header) = prepared::open(&folder, entry)?;
            if header.stats != facts.stats {
                let path = folder.join(prepared::FOLDER).join(&entry.path);
                return Err(DataError::format(
                    &path,
                    "has channel sums in its header that differ from those of its pixels: remove \
                     its folder and prepare or import the data set again",
                ));
            }
        }
    }
    Ok(checked)
}

/// Counts the classes of a split, whose labels are below `classes`, and sums up its pixels.
fn split_facts(set: &ImageSet, classes: u32, report: &mut Report) -> Result<SplitFacts, DataError> {
    let mut counts = vec![0; classes as usize];
    set.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
    let mut stats = ChannelStats::new(set.shape.channels);
    let mut ticker = Ticker::new(report, Step::Verify, Some(set.pixels.len() as u64));
    for index in 0..set.len() {
        stats.add(set.image(index));
        ticker.advance(set.shape.values() as u64)?;
    }
    Ok(SplitFacts { shape: set.shape, classes: counts, stats })
}
