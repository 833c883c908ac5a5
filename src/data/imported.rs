//! What the manifest of an imported data set says about it.

use super::published::{DATASETS, DatasetInfo, Format};
use crate::image_shape::ImageShape;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Most classes: a label is one byte.
pub const MAX_CLASSES: usize = 256;
/// Least and most pixels a side. The networks halve an image three times.
pub const SIDES: std::ops::RangeInclusive<usize> = 8..=1024;

/// How a data set was made from class folders, and what is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    /// The user's note on the licence.
    pub licence: String,
    /// Names of the class folders; class `i` is the `i`-th.
    pub classes: Vec<String>,
    /// Of every image: channels, height, width.
    pub shape: [usize; 3],
    /// Training and test images.
    pub images: [u64; 2],
    /// Mean of each channel over the training images on the scale [0, 1], measured: what
    /// inputs are normalized with.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel over the same values.
    pub std: Vec<f32>,
    /// Images were resized to this shorter side and cropped to its square; absent: they all
    /// had the same size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<u32>,
    /// Percentage of each class that was drawn as test images; absent: there were folders
    /// `train` and `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_percent: Option<u32>,
    /// Decides the order of the images, and the split where one was drawn.
    pub seed: u64,
    /// Grey images whose values were repeated in three channels.
    pub grey_images: u64,
    /// CMYK and YCCK images, converted to RGB without a colour profile.
    pub cmyk_images: u64,
    /// Images with an EXIF orientation, which was not applied.
    pub turned_images: u64,
}

impl Imported {
    /// What the catalog says of a data set with this manifest.
    pub fn info(&self, name: &str) -> DatasetInfo {
        let [channels, height, width] = self.shape;
        DatasetInfo {
            name: Cow::Owned(name.to_owned()),
            format: Format::Imported,
            shape: ImageShape { channels, height, width },
            classes: self.classes.len() as u32,
            mean: &[],
            std: &[],
            origin: Cow::Owned(format!("imported class folders; licence: {}", self.licence)),
            elsewhere: None,
            pinned: &[],
            archive: None,
            counts: Some(self.images),
            content: None,
        }
    }

    /// Refuses what `bgm data import` would not have written.
    pub(super) fn check(&self) -> Result<(), String> {
        let [channels, height, width] = self.shape;
        if !matches!(channels, 1 | 3) || !SIDES.contains(&height) || !SIDES.contains(&width) {
            return Err(format!("imported.shape = {:?} is not possible", self.shape));
        }
        if !(2..=MAX_CLASSES).contains(&self.classes.len()) {
            return Err(format!("imported.classes names {} classes", self.classes.len()));
        }
        let texts = self.classes.iter().chain([&self.licence]);
        if let Some(text) = texts.into_iter().find(|text| text.contains(char::is_control)) {
            return Err(format!("{text:?} holds a control character"));
        }
        Ok(())
    }
}

/// Checks the name of a data set that is to be imported, and so the name of its folder.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) || name.starts_with('.') {
        return Err("must be 1 to 64 lower-case letters, digits, '-', '_' and '.', and not begin \
                    with '.'"
            .to_owned());
    }
    if name == "toy" {
        return Err("is the name of the paper's two-dimensional toy".to_owned());
    }
    match DATASETS.iter().find(|info| info.name == name) {
        Some(info) if info.format != Format::Imported => {
            Err("is a data set that this program knows; choose another name".to_owned())
        }
        _ => Ok(()),
    }
}
