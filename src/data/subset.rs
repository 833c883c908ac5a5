//! Makes a small class-balanced subset of a data set: `bgm data subset`.

use super::manifest::Manifest;
use super::published::IDX_FILES;
use super::{DataError, ImageSet, idx};
use crate::rng::{Purpose, Stream};
use std::path::Path;

/// Takes `count` images, the same number of each class, in the order class 0, 1, ..., 0, 1, ...:
/// the first `n` are balanced too, for any `n` that the number of classes divides. Which images
/// of a class are taken is a pure function of `(seed, split, class)`.
///
/// # Errors
/// If `count` is not a multiple of the number of classes or a class has too few images.
pub fn balanced(
    set: &ImageSet,
    classes: u32,
    count: usize,
    (seed, split): (u64, u64),
) -> Result<ImageSet, DataError> {
    let refuse = |problem: String| DataError::Spec {
        field: "subset size".into(),
        value: count.to_string(),
        problem,
    };
    if count == 0 || !count.is_multiple_of(classes as usize) {
        return Err(refuse(format!("must be a multiple of the {classes} classes")));
    }
    let each = count / classes as usize;
    let mut chosen = Vec::new();
    for class in 0..classes {
        let mut members: Vec<usize> =
            (0..set.len()).filter(|&i| u32::from(set.labels[i]) == class).collect();
        if members.len() < each {
            return Err(refuse(format!("class {class} has only {} images", members.len())));
        }
        Stream::open(seed, Purpose::Subset, &[split, u64::from(class)]).shuffle(&mut members);
        members.truncate(each);
        chosen.push(members);
    }
    let order = (0..each).flat_map(|row| chosen.iter().map(move |members| members[row]));
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for index in order {
        pixels.extend_from_slice(set.image(index));
        labels.push(set.labels[index]);
    }
    Ok(ImageSet { shape: set.shape, pixels: pixels.into(), labels })
}

/// Writes training and test images as four IDX files and their manifest to `folder`.
///
/// # Errors
/// If the images have several channels, which the four files of MNIST cannot hold; if a file
/// cannot be written.
pub fn write(
    folder: &Path,
    train: &ImageSet,
    test: &ImageSet,
    origin: &str,
) -> Result<Manifest, DataError> {
    if train.shape.channels != 1 {
        return Err(DataError::Spec {
            field: "--from".into(),
            value: format!("a data set with {} channels", train.shape.channels),
            problem: "a subset is written as IDX files like MNIST's, which hold one channel".into(),
        });
    }
    let hint = "check that the folder can be made";
    std::fs::create_dir_all(folder).map_err(|e| DataError::io(folder, e, hint))?;
    for (set, names) in [(train, &IDX_FILES[..2]), (test, &IDX_FILES[2..])] {
        let sizes = [set.len(), set.shape.height, set.shape.width];
        idx::write_gz(&folder.join(names[0]), &sizes, &set.pixels)?;
        idx::write_gz(&folder.join(names[1]), &[set.len()], &set.labels)?;
    }
    let manifest = Manifest::of(folder, &IDX_FILES.map(str::to_owned), origin)?;
    let path = folder.join("manifest.toml");
    let text = toml::to_string(&manifest).expect("a manifest of plain strings is valid TOML");
    std::fs::write(&path, text).map_err(|e| DataError::io(&path, e, hint))?;
    Ok(manifest)
}
