//! From headers to decisions: channels, size, split and order.

use super::{ImportOptions, Problems};
use crate::data::DataError;
use crate::data::decode::Head;
use crate::data::folders::{ImageFile, interleave};
use crate::data::imported::SIDES;
use crate::image_shape::ImageShape;
use crate::rng::{Purpose, Stream};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The shape that every image gets: the stated side or the size that most images have, and
/// the stated channels or three as soon as one image is in colour. Images that do not fit
/// go to `problems`.
///
/// # Errors
/// If the size that most images have cannot be trained on.
pub(super) fn shape(
    root: &Path,
    heads: &[(&PathBuf, Head)],
    options: &ImportOptions,
    problems: &mut Problems,
) -> Result<ImageShape, DataError> {
    let colour = heads.iter().any(|(_, head)| head.channels == 3);
    let channels = options.channels.map_or(if colour { 3 } else { 1 }, usize::from);
    let mut sizes: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    for (_, head) in heads {
        *sizes.entry((head.width, head.height)).or_default() += 1;
    }
    let common = sizes.into_iter().max_by_key(|&((w, h), count)| (count, w.min(h), w));
    let common = common.map_or((0, 0), |(size, _)| size);
    let (width, height) = options.side.map_or(common, |side| (side, side));
    let possible = |side: u32| SIDES.contains(&(side as usize));
    if !possible(width) || !possible(height) {
        let problem = format!(
            "holds images of {width}x{height} pixels; a side must have {} to {} pixels: --side N \
             resizes and crops larger images",
            SIDES.start(),
            SIDES.end()
        );
        return Err(DataError::format(root, problem));
    }
    for (path, head) in heads {
        let size = (head.width, head.height);
        match options.side {
            None if size != (width, height) => problems.add(
                path,
                format!(
                    "is {}x{} pixels, most images are {width}x{height}; --side N resizes and \
                     crops all images",
                    size.0, size.1
                ),
            ),
            Some(side) if size.0.min(size.1) < side => problems.add(
                path,
                format!(
                    "is {}x{} pixels and would be enlarged to --side {side}; choose a smaller one",
                    size.0, size.1
                ),
            ),
            _ if channels < head.channels => {
                problems.add(path, "is in colour, but --channels 1 was given".to_owned());
            }
            _ => {}
        }
    }
    Ok(ImageShape { channels, height: height as usize, width: width as usize })
}

/// Training and test images in the order in which they are stored: the images of a class
/// shuffled, classes taking turns in proportion to their sizes, so that the first `n` images
/// are balanced as the whole split is. With one split, the first `test_percent` of each
/// shuffled class, rounded, at least one and not all, become test images.
///
/// # Errors
/// If a class has fewer than two images to split.
pub(super) fn order(
    root: &Path,
    splits: Vec<Vec<Vec<PathBuf>>>,
    test_percent: u32,
    seed: u64,
) -> Result<[Vec<ImageFile>; 2], DataError> {
    // Where the split is drawn, its stream is another than those of given splits.
    let drawn = splits.len() == 1;
    let mut ordered: [Vec<Vec<ImageFile>>; 2] = Default::default();
    for (split, classes) in splits.into_iter().enumerate() {
        for (class, mut paths) in classes.into_iter().enumerate() {
            let index = if drawn { 2 } else { split as u64 };
            Stream::open(seed, Purpose::Import, &[index, class as u64]).shuffle(&mut paths);
            let file = |path| ImageFile { path, label: class as u8 };
            let mut files: Vec<ImageFile> = paths.into_iter().map(file).collect();
            if !drawn {
                ordered[split].push(files);
                continue;
            }
            let count = files.len();
            if count < 2 {
                let problem = format!("has {count} image of class {class}: too few to split");
                return Err(DataError::format(root, problem));
            }
            let share = (count * test_percent as usize + 50) / 100;
            let train = files.split_off(share.clamp(1, count - 1));
            ordered[0].push(train);
            ordered[1].push(files);
        }
    }
    Ok(ordered.map(interleave))
}
