//! The data sets that there are, where they are looked for, and their pinned facts.

use super::archive::{Archive, Digest};
use super::manifest::Manifest;
use super::normalize::Normalization;
use super::prepared::{self, PreparedManifest};
use super::{DataError, ImageSet, idx};
use crate::spec::{DataSpec, RunSpec};
use std::path::{Path, PathBuf};

/// How a data set is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Four IDX files, gzip-compressed, with the names of MNIST.
    Idx,
    /// 3,073-byte records in an archive.
    Cifar10,
    /// 3,074-byte records in an archive.
    Cifar100,
    /// PNG folders in an archive. The paper's split is not known; ours trains on `train` and
    /// tests on `test`, 90,000 images each, and leaves `valid` alone.
    Cinic10,
    /// ImageNet's JPEG folders, `train/<wnid>` and `val/<wnid>`, below the data set's folder.
    RestrictedImagenet,
}

/// What is known of a data set before it is read.
#[derive(Clone, Copy, Debug)]
pub struct DatasetInfo {
    pub name: &'static str,
    pub format: Format,
    pub classes: u32,
    /// Mean of each channel on the scale [0, 1]. Empty: measured when the set is prepared.
    pub mean: &'static [f32],
    /// Standard deviation of each channel on the same scale.
    pub std: &'static [f32],
    /// Licence and origin, for `bgm data list`.
    pub origin: &'static str,
    /// Where the files may also be, besides `<data>/<name>`.
    pub elsewhere: Option<&'static str>,
    /// SHA-256 of the files, where they were published with none of our own manifests.
    pub pinned: &'static [(&'static str, &'static str)],
    /// What `bgm data fetch` downloads.
    pub archive: Option<Archive>,
    /// Published numbers of training and test images; preparing refuses other numbers.
    pub counts: Option<[u64; 2]>,
}

impl DatasetInfo {
    /// What prepared splits must have been made from: the digest of the published archive.
    pub(super) fn source(&self) -> String {
        self.archive.map_or_else(|| "folder".to_owned(), |archive| archive.digest.to_string())
    }

    /// Refuses splits that were prepared from something else.
    pub(super) fn check_source(
        &self,
        manifest: &PreparedManifest,
        folder: &Path,
    ) -> Result<(), DataError> {
        if manifest.source == self.source() {
            return Ok(());
        }
        let problem = format!(
            "was prepared from {}, not from {}: remove the folder and run `bgm data prepare`",
            manifest.source,
            self.source()
        );
        Err(DataError::format(&folder.join(prepared::FOLDER), problem))
    }
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

/// Unpacked CIFAR is 185 MB; the bounds leave room for what else an archive may hold.
const CIFAR_BYTES: u64 = 256 << 20;
const CIFAR_ENTRIES: usize = 64;

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
        archive: None,
        counts: None,
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
        archive: None,
        counts: Some([60_000, 10_000]),
    },
    DatasetInfo {
        name: "cifar-10",
        format: Format::Cifar10,
        classes: 10,
        // As in the authors' code.
        mean: &[0.4914, 0.4822, 0.4465],
        std: &[0.2023, 0.1994, 0.2010],
        origin: "https://www.cs.toronto.edu/~kriz/cifar.html, binary version (Krizhevsky 2009)",
        elsewhere: None,
        pinned: &[],
        archive: Some(Archive {
            file: "cifar-10-binary.tar.gz",
            url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            bytes: Some(170_052_171),
            digest: Digest::Sha256(
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
            folder: "cifar-10-batches-bin",
            most_bytes: CIFAR_BYTES,
            most_entries: CIFAR_ENTRIES,
        }),
        counts: Some([50_000, 10_000]),
    },
    DatasetInfo {
        name: "cifar-100",
        format: Format::Cifar100,
        classes: 100,
        // No constants of the paper are known: those of the training images, measured.
        mean: &[],
        std: &[],
        origin: "https://www.cs.toronto.edu/~kriz/cifar.html, binary version (Krizhevsky 2009)",
        elsewhere: None,
        pinned: &[],
        archive: Some(Archive {
            file: "cifar-100-binary.tar.gz",
            url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            bytes: None,
            digest: Digest::Sha256(
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ),
            folder: "cifar-100-binary",
            most_bytes: CIFAR_BYTES,
            most_entries: CIFAR_ENTRIES,
        }),
        counts: Some([50_000, 10_000]),
    },
    DatasetInfo {
        name: "cinic-10",
        format: Format::Cinic10,
        classes: 10,
        // Published with the data set, https://github.com/BayesWatch/cinic-10.
        mean: &[0.47889522, 0.47227842, 0.43047404],
        std: &[0.24205776, 0.23828046, 0.25874835],
        origin: "https://github.com/BayesWatch/cinic-10 (Darlow et al. 2018)",
        elsewhere: None,
        pinned: &[],
        archive: Some(Archive {
            file: "CINIC-10.tar.gz",
            // The address in the data set's own README.
            url: "https://datashare.is.ed.ac.uk/bitstream/handle/10283/3192/CINIC-10.tar.gz",
            bytes: Some(687_544_992),
            digest: Digest::Md5("6ee4d0c996905fe93221de577967a372"),
            folder: "CINIC-10",
            most_bytes: 2 << 30,
            most_entries: 300_000,
        }),
        counts: Some([90_000, 90_000]),
    },
    DatasetInfo {
        name: "restricted-imagenet",
        format: Format::RestrictedImagenet,
        classes: 9,
        mean: &[0.4717, 0.4499, 0.3837],
        std: &[0.2600, 0.2516, 0.2575],
        origin: "ImageNet (ILSVRC 2012) needs an account and its licence: https://image-net.org; \
                 lay it out as restricted-imagenet/train/<wnid>/*.JPEG and \
                 restricted-imagenet/val/<wnid>/*.JPEG with all 1,000 class folders (links will \
                 do), then run `bgm data prepare restricted-imagenet`",
        elsewhere: None,
        pinned: &[],
        archive: None,
        counts: None,
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

    /// The folder that data sets are below.
    pub fn root(&self) -> &Path {
        &self.root
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
        [Some(own.as_path()), elsewhere]
            .into_iter()
            .flatten()
            .find(|p| p.is_dir())
            .map(Path::to_owned)
    }

    /// Hashes of the files that a data set is read from: pinned, or from the manifest beside them.
    ///
    /// # Errors
    /// If the manifest is missing or malformed.
    pub fn manifest(&self, info: &DatasetInfo) -> Result<Manifest, DataError> {
        let folder = self.root.join(info.name);
        if info.format != Format::Idx {
            let prepared = PreparedManifest::read(&folder)?;
            return Ok(Manifest { origin: prepared.source, file: prepared.file });
        }
        if info.pinned.is_empty() {
            return Manifest::read(&folder.join("manifest.toml"));
        }
        let entry = |&(path, sha256): &(&str, &str)| super::manifest::FileEntry {
            path: path.to_owned(),
            bytes: 0,
            sha256: sha256.to_owned(),
        };
        Ok(Manifest { origin: String::new(), file: info.pinned.iter().map(entry).collect() })
    }

    /// The hash of what a run's data is made of, for its key: the digest of the published
    /// archive (so that keys are known before it is downloaded), else of the files themselves.
    ///
    /// # Errors
    /// If the data set is unknown or its manifest unreadable.
    pub fn content_hash(&self, spec: &RunSpec) -> Result<String, DataError> {
        match &spec.data {
            DataSpec::Toy(_) => Ok("generated from the spec".to_owned()),
            DataSpec::Images(images) => self.hash_of(self.info(&images.dataset)?),
        }
    }

    /// As [`Catalog::content_hash`], of a data set.
    ///
    /// # Errors
    /// If its manifest is missing or malformed.
    pub fn hash_of(&self, info: &DatasetInfo) -> Result<String, DataError> {
        match info.archive {
            Some(archive) => Ok(archive.digest.to_string()),
            // Nobody publishes a digest of ImageNet's nine super-classes. Until it has been
            // prepared here, runs on it can be planned under provisional keys; none can be
            // trained.
            None if info.format == Format::RestrictedImagenet && self.folder(info).is_none() => {
                Ok(format!("{} has not been prepared here", info.name))
            }
            None => Ok(self.manifest(info)?.content_hash()),
        }
    }

    /// Training and test images, whole, their files checked against their hashes. Sets other
    /// than IDX must have been prepared, and are mapped: see [`prepared::open`].
    ///
    /// # Errors
    /// If a file is missing, differs from its hash, or is malformed.
    pub fn read(&self, info: &DatasetInfo) -> Result<(ImageSet, ImageSet), DataError> {
        let missing = || {
            let hint = match info.archive {
                Some(_) => {
                    format!("run `bgm data fetch {0}` and `bgm data prepare {0}`", info.name)
                }
                None => format!("install it first: {}", info.origin),
            };
            let nowhere = std::io::Error::from(std::io::ErrorKind::NotFound);
            DataError::io(&self.root.join(info.name), nowhere, &hint)
        };
        let folder = self.folder(info).ok_or_else(missing)?;
        if info.format != Format::Idx {
            return self.read_prepared(info, &folder);
        }
        self.manifest(info)?.check(&folder)?;
        let [train, train_labels, test, test_labels] = IDX_FILES.map(|f| folder.join(f));
        Ok((
            idx::read_set(&train, &train_labels, info.classes)?,
            idx::read_set(&test, &test_labels, info.classes)?,
        ))
    }

    fn read_prepared(
        &self,
        info: &DatasetInfo,
        folder: &Path,
    ) -> Result<(ImageSet, ImageSet), DataError> {
        let manifest = PreparedManifest::read(folder)?;
        info.check_source(&manifest, folder)?;
        let open = |index: usize| {
            let (set, header) = prepared::open(folder, &manifest.file[index])?;
            let count = info.counts.map_or(header.count, |counts| counts[index]);
            if header.classes != info.classes || header.count != count {
                let problem = format!(
                    "has {} images of {} classes, not {count} of {}",
                    header.count, header.classes, info.classes
                );
                return Err(DataError::format(&folder.join(prepared::FILES[index]), problem));
            }
            Ok(set)
        };
        Ok((open(0)?, open(1)?))
    }

    /// How 8-bit values of a data set become inputs: the pinned constants, or those measured
    /// over all training images.
    ///
    /// # Errors
    /// If they are to be measured and the set is not prepared.
    pub fn normalization(&self, info: &DatasetInfo) -> Result<Normalization, DataError> {
        if !info.mean.is_empty() {
            return Ok(Normalization::new(info.mean, info.std));
        }
        let folder = self.root.join(info.name);
        let manifest = PreparedManifest::read(&folder)?;
        let (_, header) = prepared::open(&folder, &manifest.file[0])?;
        let (mean, std) = (header.stats.mean(), header.stats.std());
        if let Some(channel) = std.iter().position(|&deviation| deviation == 0.0) {
            let problem = format!("channel {channel} has the same value everywhere");
            return Err(DataError::format(&folder, problem));
        }
        Ok(Normalization::new(&mean, &std))
    }
}
