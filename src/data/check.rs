//! Re-verifies what is installed of a data set and measures it: `bgm data check`.

use super::catalog::Catalog;
use super::files::hash_file;
use super::prepared::{self, PreparedManifest};
use super::progress::{Report, Step, Ticker};
use super::published::{DatasetInfo, Format};
use super::stats::ChannelStats;
use super::{DataError, ImageSet};
use crate::corrupt::ImageShape;
use crate::digest::hex;
use std::path::Path;

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The archive is there and has its pinned digest (`None`: it is not there).
    pub archive: Option<String>,
    /// Unpacked files that have their hash.
    pub unpacked: usize,
    pub train: SplitFacts,
    pub test: SplitFacts,
}

/// One split, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitFacts {
    pub shape: ImageShape,
    /// Images of each class.
    pub classes: Vec<u64>,
    /// Recomputed from every pixel. The pinned constants of the training set are the paper's;
    /// they need not be these: for CIFAR-10 many codes, the authors' too, use deviations
    /// that are not those over all values.
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

/// Verifies every file of the data set below `root` that has a hash, reads both splits and
/// recomputes mean and deviation.
///
/// # Errors
/// The first thing that is missing or wrong.
pub fn check(info: &DatasetInfo, root: &Path, report: &mut Report) -> Result<Checked, DataError> {
    let folder = root.join(&*info.name);
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
    let (train, test) = Catalog::new(root).read(info)?;
    let checked = Checked {
        archive: archive_found,
        unpacked,
        train: measure(&train, info.classes, report)?,
        test: measure(&test, info.classes, report)?,
    };
    if info.format != Format::Idx {
        let manifest = PreparedManifest::read(&folder)?;
        for (entry, facts) in manifest.file.iter().zip([&checked.train, &checked.test]) {
            let (_, header) = prepared::open(&folder, entry)?;
            if header.stats != facts.stats {
                let path = folder.join(prepared::FOLDER).join(&entry.path);
                return Err(DataError::format(
                    &path,
                    "has sums in its header that are not its own",
                ));
            }
        }
    }
    Ok(checked)
}

fn measure(set: &ImageSet, classes: u32, report: &mut Report) -> Result<SplitFacts, DataError> {
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
