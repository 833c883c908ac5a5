//! The data sets that there are, where they are looked for, and their pinned facts.

use super::manifest::Manifest;
use super::{DataError, ImageSet, idx};
use crate::spec::{DataSpec, RunSpec};
use std::path::{Path, PathBuf};

/// How a data set is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Four IDX files, gzip-compressed, with the names of MNIST.
    Idx,
}

/// What is known of a data set before it is read.
#[derive(Clone, Copy, Debug)]
pub struct DatasetInfo {
    pub name: &'static str,
    pub format: Format,
    pub classes: u32,
    /// Mean of each channel on the scale [0, 1].
    pub mean: &'static [f32],
    /// Standard deviation of each channel on the same scale.
    pub std: &'static [f32],
    /// Licence and origin, for `bgm data list`.
    pub origin: &'static str,
    /// Where the files may also be, besides `<data>/<name>`.
    pub elsewhere: Option<&'static str>,
    /// SHA-256 of the files, where they were published with none of our own manifests.
    pub pinned: &'static [(&'static str, &'static str)],
}

/// Mean and deviation over all 60,000 training images of Fashion-MNIST, measured:
/// `bgm data check fashion-mnist` prints them again.
const FASHION_MEAN: &[f32] = &[0.2860406];
const FASHION_STD: &[f32] = &[0.3530242];

/// Names of the four IDX files: training images and labels, test images and labels.
pub const IDX_FILES: [&str; 4] = [
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
];

/// All data sets.
pub const DATASETS: &[DatasetInfo] = &[
    DatasetInfo {
        name: "fashion-mnist-subset",
        format: Format::Idx,
        classes: 10,
        mean: FASHION_MEAN,
        std: FASHION_STD,
        origin: "embedded: 2,000 + 2,000 images of Fashion-MNIST (Zalando SE, MIT licence)",
        elsewhere: None,
        pinned: &[],
    },
    DatasetInfo {
        name: "fashion-mnist",
        format: Format::Idx,
        classes: 10,
        mean: FASHION_MEAN,
        std: FASHION_STD,
        origin: "Debian package dataset-fashion-mnist (Zalando SE, MIT licence)",
        elsewhere: Some("/usr/share/datasets/fashion-mnist"),
        pinned: &[
            (IDX_FILES[0], "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"),
            (IDX_FILES[1], "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"),
            (IDX_FILES[2], "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"),
            (IDX_FILES[3], "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"),
        ],
    },
];

/// The data sets below one folder.
#[derive(Clone, Debug)]
pub struct Catalog {
    root: PathBuf,
}

impl Catalog {
    /// The data sets below `root` (`data/` of the repository).
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Catalog { root: root.into() }
    }

    /// What is known of the data set called `name`.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn info(&self, name: &str) -> Result<&'static DatasetInfo, DataError> {
        let found = DATASETS.iter().find(|info| info.name == name);
        found.ok_or_else(|| DataError::Unknown(name.to_owned()))
    }

    /// The folder with the files of a data set, if it is installed.
    pub fn folder(&self, info: &DatasetInfo) -> Option<PathBuf> {
        let own = self.root.join(info.name);
        let elsewhere = info.elsewhere.map(Path::new);
        [Some(own.as_path()), elsewhere].into_iter().flatten().find(|p| p.is_dir()).map(Path::to_owned)
    }

    /// Hashes of the files of a data set: pinned, or from the manifest beside them.
    ///
    /// # Errors
    /// If the manifest is missing or malformed.
    pub fn manifest(&self, info: &DatasetInfo) -> Result<Manifest, DataError> {
        if info.pinned.is_empty() {
            return Manifest::read(&self.root.join(info.name).join("manifest.toml"));
        }
        let entry = |&(path, sha256): &(&str, &str)| super::manifest::FileEntry {
            path: path.to_owned(),
            bytes: 0,
            sha256: sha256.to_owned(),
        };
        Ok(Manifest { origin: String::new(), file: info.pinned.iter().map(entry).collect() })
    }

    /// The hash of what a run's data is made of, for its key.
    ///
    /// # Errors
    /// If the data set is unknown or its manifest unreadable.
    pub fn content_hash(&self, spec: &RunSpec) -> Result<String, DataError> {
        match &spec.data {
            DataSpec::Toy(_) => Ok("generated from the spec".to_owned()),
            DataSpec::Images(images) => {
                Ok(self.manifest(self.info(&images.dataset)?)?.content_hash())
            }
        }
    }

    /// Training and test images, whole, their files checked against their hashes.
    ///
    /// # Errors
    /// If a file is missing, differs from its hash, or is malformed.
    pub fn read(&self, info: &DatasetInfo) -> Result<(ImageSet, ImageSet), DataError> {
        let missing = || {
            let hint = format!("install it first: {}", info.origin);
            let nowhere = std::io::Error::from(std::io::ErrorKind::NotFound);
            DataError::io(&self.root.join(info.name), nowhere, &hint)
        };
        let folder = self.folder(info).ok_or_else(missing)?;
        self.manifest(info)?.check(&folder)?;
        match info.format {
            Format::Idx => {
                let [train, train_labels, test, test_labels] = IDX_FILES.map(|f| folder.join(f));
                Ok((
                    idx::read_set(&train, &train_labels, info.classes)?,
                    idx::read_set(&test, &test_labels, info.classes)?,
                ))
            }
        }
    }
}
