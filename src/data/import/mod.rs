//! `bgm data import`: class folders of PNG or JPEG files become a data set like any other.
//!
//! Two passes over the files: the first reads headers and names everything that cannot be
//! imported, the second decodes. Everything is written to a scratch folder beside the final one
//! and renamed into place once it is complete.

mod plan;
mod problems;
mod scan;
mod source;

use super::decode::{Head, Opened};
use super::folders::ImageFile;
use super::imported::{Imported, SIDES, check_name};
use super::prepared::{self, FILES, Header, PreparedManifest, Writer};
use super::progress::{Report, Step, Ticker};
use super::published::{DATASETS, DatasetInfo};
use super::unpack::Bounds;
use super::{DataError, lock, workers};
use crate::disk;
use crate::image_shape::ImageShape;
use problems::Problems;
use source::{PACKED, Source};
use std::path::{Path, PathBuf};

/// Options of `bgm data import`.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportOptions {
    /// Pixels: the shorter side is resized to this and the square at the centre is cropped.
    /// Smaller images are refused. Without it, all images must have the same size.
    pub side: Option<u32>,
    /// 1 or 3; without it, 3 if any image is in colour.
    pub channels: Option<u8>,
    /// Percentage (1 to 99) of each class that becomes test images if there are no folders `train`
    /// and `test`; 20 by default.
    pub test_percent: Option<u32>,
    /// Seed of the shuffle of each class, and so of the split if one is drawn.
    pub seed: u64,
    /// A note on the licence of the images.
    pub licence: Option<String>,
}

impl ImportOptions {
    /// The default options.
    pub const DEFAULT: Self =
        ImportOptions { side: None, channels: None, test_percent: None, seed: 0, licence: None };

    fn check(&self) -> Result<(), DataError> {
        let refuse = |field: &str, value: String, problem: &str| {
            Err(DataError::Spec { field: field.into(), value, problem: problem.into() })
        };
        let licence = self.licence.as_deref().unwrap_or_default();
        match *self {
            Self { side: Some(side), .. } if !SIDES.contains(&(side as usize)) => {
                let range = format!("must be {} to {} pixels", SIDES.start(), SIDES.end());
                refuse("--side", side.to_string(), &range)
            }
            Self { channels: Some(channels), .. } if !matches!(channels, 1 | 3) => {
                refuse("--channels", channels.to_string(), "must be 1 (grey) or 3 (colour)")
            }
            Self { test_percent: Some(percent), .. } if !(1..=99).contains(&percent) => {
                refuse("--test-percent", percent.to_string(), "must be 1 to 99")
            }
            _ if licence.contains(char::is_control) || licence.len() > 1000 => {
                let problem = "must be one line of at most 1,000 bytes";
                refuse("--licence", format!("{licence:?}"), problem)
            }
            _ => Ok(()),
        }
    }
}

/// Default of [`ImportOptions::test_percent`].
const TEST_PERCENT: u32 = 20;
/// Bytes of decoded images that one thread holds until they are written (at least one image).
const BATCH_BYTES: usize = 8 << 20;
/// Maximum number of files that one thread reads or decodes before the results are used.
const MAX_BATCH: usize = 64;
/// Limits of an archive (unpacked bytes, entries): far above any data set that this program reads.
const BOUNDS: Bounds = Bounds { bytes: 512 << 30, entries: 4_000_000 };

/// Imports the class folders below `from` (a folder, or a `.tar` or `.tar.gz` of one) as data
/// set `name` below `root`. If `name` is declared in [`DATASETS`] and already installed, its
/// manifest is returned and nothing is imported.
///
/// # Errors
/// If the name is taken or invalid, a file cannot be imported (headers of all files are checked
/// before any is decoded; the first ten problems are listed), the content hash is not the pinned
/// one, the disk is full, or `report` asks to stop. After an error, nothing is left on the disk.
pub fn import(
    root: &Path,
    name: &str,
    from: &Path,
    options: &ImportOptions,
    report: &mut Report,
) -> Result<PreparedManifest, DataError> {
    let declared = DATASETS.iter().find(|info| info.name == name);
    import_as(root, (name, declared), from, options, report)
}

/// As [`import`], but the caller passes the entry of [`DATASETS`] for `name`, if there is one, so
/// that tests can pass entries with a content hash of their own.
///
/// # Errors
/// As [`import`].
pub fn import_as(
    root: &Path,
    (name, declared): (&str, Option<&DatasetInfo>),
    from: &Path,
    options: &ImportOptions,
    report: &mut Report,
) -> Result<PreparedManifest, DataError> {
    let refuse = |field: &str, problem: String| DataError::Spec {
        field: field.into(),
        value: name.into(),
        problem,
    };
    check_name(name).map_err(|problem| refuse("data set", problem))?;
    options.check()?;
    if declared.is_some() && *options != ImportOptions::DEFAULT {
        let problem = "must be imported without options, because its content hash is pinned";
        return Err(refuse("data set", problem.into()));
    }
    let target = root.join(name);
    if let Some(info) = declared
        && let Ok(manifest) = super::prepare::existing(info, &target)
    {
        return Ok(manifest);
    }
    if target.symlink_metadata().is_ok() {
        let problem = format!("{} is there already: remove it first", target.display());
        return Err(refuse("data set", problem));
    }
    let scratch = Scratch::new(root.join(format!(".importing-{name}")))?;
    let manifest = build(&scratch.folder, from, options, report)?;
    let found = manifest.content_hash();
    if let Some(pinned) = declared.and_then(|info| info.content)
        && found != pinned
    {
        let problem = format!(
            "these are not the images of {name}: their content hash is {found}, not {pinned}; \
             import them under another name"
        );
        return Err(DataError::format(from, problem));
    }
    manifest.write(&scratch.folder)?;
    disk::rename(&scratch.folder, &target)
        .map_err(|e| DataError::io(&target, e, "is the folder writable?"))?;
    Ok(manifest)
}

/// The scratch folder of one import, locked against other imports. Dropping it removes the folder,
/// unless it has been renamed into place.
struct Scratch {
    folder: PathBuf,
    _lock: std::fs::File,
}

impl Scratch {
    /// Creates and locks `folder`, or takes it over from a killed process, whose files are removed.
    fn new(folder: PathBuf) -> Result<Self, DataError> {
        let scratch = Scratch { _lock: lock(&folder)?, folder };
        remove_if_exists(&scratch.folder.join(prepared::FOLDER), |path| {
            std::fs::remove_dir_all(path)
        })?;
        remove_if_exists(&scratch.folder.join(PACKED), |path| std::fs::remove_file(path))?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Fails after the rename, when the folder no longer exists under this name.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Removes a file or folder by `how`; one that does not exist is not an error.
fn remove_if_exists(
    path: &Path,
    how: impl Fn(&Path) -> std::io::Result<()>,
) -> Result<(), DataError> {
    match how(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(DataError::io(path, e, "remove it by hand"))
        }
        _ => Ok(()),
    }
}

/// The import itself: lists and checks the files, chooses shape and split, and writes both splits
/// below `scratch`. Returns their manifest, which is not written yet.
fn build(
    scratch: &Path,
    from: &Path,
    options: &ImportOptions,
    report: &mut Report,
) -> Result<PreparedManifest, DataError> {
    let source = Source::open(from, scratch, report)?;
    let root = source.root();
    let mut problems = Problems::new(root);
    let folders = scan::scan(&source, &mut problems)?;
    let split_given = folders.splits.len() == 2;
    if let (Some(percent), true) = (options.test_percent, split_given) {
        let problem = "there are folders train and test".to_owned();
        let (field, value) = ("--test-percent".into(), percent.to_string());
        return Err(DataError::Spec { field, value, problem });
    }
    let paths: Vec<&PathBuf> = folders.splits.iter().flatten().flatten().collect();
    let heads = read_heads(&source, &paths, &mut problems, report)?;
    // Files that are not images must not influence the size and the channels: report them first.
    problems.check()?;
    let shape = plan::shape(root, &heads, options, &mut problems)?;
    problems.check()?;
    let count = |wanted: fn(&Head) -> bool| heads.iter().filter(|(_, h)| wanted(h)).count() as u64;
    let [grey, cmyk, turned] = [count(|h| h.channels == 1), count(|h| h.cmyk), count(|h| h.turned)];
    // Frees one header for each file of the data set.
    drop(heads);
    let percent = options.test_percent.unwrap_or(TEST_PERCENT);
    let splits = plan::order(root, folders.splits, percent, options.seed)?;
    let classes = folders.classes.len() as u32;
    let mut file = Vec::new();
    let mut headers = Vec::new();
    for (name, images) in FILES.into_iter().zip(&splits) {
        let mut writer = Writer::create(scratch, name, shape, classes)?;
        let ticker = Ticker::new(report, Step::Prepare(name), Some(images.len() as u64));
        decode_and_write(
            &source,
            &mut writer,
            images,
            (shape, options.side),
            &mut problems,
            ticker,
        )?;
        headers.push(writer.header().clone());
        file.push(writer.finish()?);
    }
    remove_if_exists(&scratch.join(PACKED), |path| std::fs::remove_file(path))?;
    let [train, test] = [&headers[0], &headers[1]];
    let imported = Imported {
        licence: options.licence.clone().unwrap_or_else(|| "not stated".to_owned()),
        classes: folders.classes,
        shape: [shape.channels, shape.height, shape.width],
        images: [train.count, test.count],
        mean: train.stats.mean(),
        std: standard_deviations(root, train)?,
        side: options.side,
        test_percent: (!split_given).then_some(percent),
        seed: options.seed,
        grey_images: if shape.channels == 3 { grey } else { 0 },
        cmyk_images: cmyk,
        turned_images: turned,
    };
    Ok(PreparedManifest { source: "import".to_owned(), imported: Some(imported), file })
}

/// Standard deviation of each channel on the scale `[0, 1]`. `root` is named in the error.
///
/// # Errors
/// If one is zero: inputs are divided by it.
fn standard_deviations(root: &Path, header: &Header) -> Result<Vec<f32>, DataError> {
    let std = header.stats.std();
    match std.iter().position(|&deviation| deviation == 0.0) {
        None => Ok(std),
        Some(channel) => {
            let problem = format!("channel {channel} has the same value in all training images");
            Err(DataError::format(root, problem))
        }
    }
}

/// Reads the headers of all files. Files that are not readable images go to `problems`.
fn read_heads<'a>(
    source: &Source,
    paths: &[&'a PathBuf],
    problems: &mut Problems,
    report: &mut Report,
) -> Result<Vec<(&'a PathBuf, Head)>, DataError> {
    let mut heads = Vec::with_capacity(paths.len());
    let mut ticker = Ticker::new(report, Step::Inspect, Some(paths.len() as u64));
    let read = |path: &&PathBuf| {
        let bytes = source.read(path).map_err(without_path)?;
        Opened::new(&bytes).map(|opened| opened.head())
    };
    workers::in_order(paths, MAX_BATCH, read, |path, head| {
        match head {
            Ok(head) => heads.push((*path, head)),
            Err(problem) => problems.add(path, problem),
        }
        ticker.advance(1)
    })?;
    Ok(heads)
}

/// The message of an error without the path of the file, which [`Problems::add`] puts before it.
fn without_path(error: DataError) -> String {
    match error {
        DataError::Io { source, .. } => source.to_string(),
        DataError::Format { problem, .. } => problem,
        other => other.to_string(),
    }
}

/// Decodes `images` in parallel and writes them in order.
///
/// # Errors
/// If any cannot be decoded or has changed since its header was read (all are reported together),
/// or the disk is full.
fn decode_and_write(
    source: &Source,
    writer: &mut Writer,
    images: &[ImageFile],
    (shape, side): (ImageShape, Option<u32>),
    problems: &mut Problems,
    mut ticker: Ticker,
) -> Result<(), DataError> {
    let decode = |file: &ImageFile| {
        let bytes = source.read(&file.path).map_err(without_path)?;
        let picture = Opened::new(&bytes)?.decode()?;
        if picture.transparent {
            return Err("has transparent pixels: flatten it onto a background".to_owned());
        }
        // A smaller picture than the first pass saw is caught by its size below.
        let picture = match side {
            Some(side) if picture.width.min(picture.height) >= side => picture.centre(side, side),
            _ => picture,
        };
        let size = (picture.height as usize, picture.width as usize);
        if size != (shape.height, shape.width) || picture.channels > shape.channels {
            return Err("was changed while it was imported".to_owned());
        }
        Ok(picture.planes(shape.channels))
    };
    let batch = (BATCH_BYTES / shape.values()).clamp(1, MAX_BATCH);
    workers::in_order(images, batch, decode, |file, image| {
        match image {
            Ok(image) => writer.push(file.label, &image)?,
            Err(problem) => problems.add(&file.path, problem),
        }
        ticker.advance(1)
    })?;
    problems.check()
}
