//! Batches: gather, corrupt, crop, flip, normalize. All of it in Rust, each example a pure
//! function of (seed, epoch, example).

use crate::augment::{self, AugmentSpec, Draw};
use crate::backend::Examples;
use crate::corrupt::{self, CorruptionSpec};
use crate::data::normalize::Normalization;
use crate::data::toy::Points;
use crate::data::{Catalog, DataError, ImageSet, RunImages, toy};
use crate::image_shape::ImageShape;
use crate::models::graph::{Shape, Signature};
use crate::planted;
use crate::rng::{Purpose, Stream};
use crate::spec::{DataSpec, RunSpec};

/// Inputs and labels of some examples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Inputs in channels-last order, `[batch, height, width, channels]` flattened.
    pub inputs: Vec<f32>,
    /// One class an example.
    pub labels: Vec<i64>,
}

impl Batch {
    /// As a device takes them.
    pub fn examples(&self) -> Examples<'_> {
        Examples { inputs: &self.inputs, labels: &self.labels }
    }
}

/// Which examples a batch is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The training set with its augmentation for this epoch (epochs count from 1).
    Train { epoch: u64 },
    /// The training set as it is memorized: corrupted where the run corrupts, not augmented.
    TrainPlain,
    /// The images that accuracy is measured on.
    Test,
}

/// Everything a run learns from and is tested on.
pub struct Source {
    seed: u64,
    kind: SourceKind,
    /// Test images of an evaluation before the last; `None` for all.
    test_along: Option<usize>,
    corruption: Option<CorruptionSpec>,
}

enum SourceKind {
    Images { images: Box<RunImages>, augmentation: Option<AugmentSpec> },
    Toy { train: Points, test: Points },
}

/// Shape of a toy point as an image.
const POINT: ImageShape = ImageShape { channels: 2, height: 1, width: 1 };

impl Source {
    /// Loads the data of a run.
    ///
    /// # Errors
    /// If files are missing, damaged or malformed.
    pub fn open(spec: &RunSpec, catalog: &Catalog) -> Result<Source, DataError> {
        let seed = if planted::seed_reused() { 0 } else { spec.seed };
        let kind = match &spec.data {
            DataSpec::Images(images) => SourceKind::Images {
                images: Box::new(catalog.load_images(images, seed)?),
                augmentation: spec.train.augmentation.clone(),
            },
            DataSpec::Toy(toy_spec) => {
                let mut train = toy::points(toy_spec, seed, 0);
                if let Some(noise) = &spec.train.noise_copies {
                    add_noise_copies(&mut train, seed, noise.copies, noise.std);
                }
                SourceKind::Toy { train, test: toy::points(toy_spec, seed, 1) }
            }
        };
        let test_along = match &spec.data {
            DataSpec::Images(images) => images.test_along.map(|count| count as usize),
            DataSpec::Toy(_) => None,
        };
        Ok(Source { seed, kind, test_along, corruption: spec.train.corruption.clone() })
    }

    /// Seed of every stream of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What the network takes and gives.
    pub fn signature(&self) -> Signature {
        match &self.kind {
            SourceKind::Images { images, .. } => {
                let ImageShape { channels, height, width } = images.train.shape;
                let input = Shape::new(channels, height, width);
                Signature { input, outputs: images.classes as usize }
            }
            SourceKind::Toy { .. } => Signature { input: Shape::new(2, 1, 1), outputs: 1 },
        }
    }

    /// How 8-bit values become inputs; toy points stay as they are.
    pub fn normalization(&self) -> Option<&Normalization> {
        match &self.kind {
            SourceKind::Images { images, .. } => Some(&images.normalization),
            SourceKind::Toy { .. } => None,
        }
    }

    /// Training points of the toy, with the labels of the true classes.
    pub fn toy_points(&self) -> Option<(&Points, &Points)> {
        match &self.kind {
            SourceKind::Images { .. } => None,
            SourceKind::Toy { train, test } => Some((train, test)),
        }
    }

    /// Number of examples; the training set counts every corrupted copy.
    pub fn len(&self, split: Split) -> usize {
        let (train, test) = match &self.kind {
            SourceKind::Images { images, .. } => (images.train.len(), images.test.len()),
            SourceKind::Toy { train, test } => (train.labels.len(), test.labels.len()),
        };
        match split {
            Split::Test => test,
            Split::Train { .. } | Split::TrainPlain => train * self.copies(),
        }
    }

    /// Number of examples of the test set that an evaluation is on, the first ones: all of
    /// them at the end of training, as many as the spec says before.
    pub fn evaluated(&self, is_last: bool) -> usize {
        let all = self.len(Split::Test);
        self.test_along.filter(|_| !is_last).unwrap_or(all)
    }

    /// Corrupted copies of each training image: the replication factor, or 1.
    pub fn copies(&self) -> usize {
        self.corruption.as_ref().map_or(1, |c| c.replication as usize)
    }

    /// Order of the training examples in one epoch.
    pub fn order(&self, epoch: u64) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len(Split::TrainPlain) as u32).collect();
        Stream::open(self.seed, Purpose::Shuffle, &[epoch]).shuffle(&mut order);
        order
    }

    /// Puts together the examples with these numbers. Training example `e` is copy
    /// `e % R` of image `e / R`.
    pub fn batch(&self, split: Split, examples: impl Iterator<Item = usize>) -> Batch {
        let mut batch = Batch::default();
        self.fill_batch(split, examples, &mut batch);
        batch
    }

    /// As [`Source::batch`], into a batch that was used before.
    pub fn fill_batch(
        &self,
        split: Split,
        examples: impl Iterator<Item = usize>,
        batch: &mut Batch,
    ) {
        batch.inputs.clear();
        batch.labels.clear();
        let mut scratch = Scratch::default();
        for example in examples {
            self.append(split, example, batch, &mut scratch);
        }
    }

    fn append(&self, split: Split, example: usize, batch: &mut Batch, scratch: &mut Scratch) {
        match &self.kind {
            SourceKind::Images { images, augmentation } => {
                let label = self.fill(images, split, example, &mut scratch.image);
                let shape = images.train.shape;
                let pixels = match (augmentation, self.draw(split, example)) {
                    (Some(spec), Some(draw)) => {
                        scratch.crop.resize(shape.values(), 0);
                        let (from, to) = (&scratch.image, &mut scratch.crop);
                        augment::apply(draw, spec.crop_padding, from, shape, to);
                        &scratch.crop
                    }
                    _ => &scratch.image,
                };
                images.normalization.append_channels_last(pixels, &mut batch.inputs);
                batch.labels.push(label);
            }
            SourceKind::Toy { train, test } => {
                let points = if split == Split::Test { test } else { train };
                let (image, copy) = self.place(split, example);
                let mut label = true_label(&points.labels, image, split);
                if let (Some(spec), true) = (&self.corruption, split != Split::Test) {
                    let place = (image as u64, copy as u32);
                    label =
                        corrupt::corrupt(spec, self.seed, place, &mut [0; 2], POINT, (label, 2));
                }
                batch.inputs.extend_from_slice(&points.coordinates[image]);
                batch.labels.push(label);
            }
        }
    }

    /// Number of the image and of its corrupted copy.
    fn place(&self, split: Split, example: usize) -> (usize, usize) {
        match split {
            Split::Test => (example, 0),
            _ => (example / self.copies(), example % self.copies()),
        }
    }

    /// Writes an example as it is before augmentation to `out`; returns its label.
    fn fill(&self, images: &RunImages, split: Split, example: usize, out: &mut Vec<u8>) -> i64 {
        let (image, copy) = self.place(split, example);
        let set = if split == Split::Test { &images.test } else { &images.train };
        out.clear();
        out.extend_from_slice(set.image(image));
        let label = true_label(&set.labels, image, split);
        match &self.corruption {
            Some(spec) if split != Split::Test => {
                let (place, labels) = ((image as u64, copy as u32), (label, images.classes));
                corrupt::corrupt(spec, self.seed, place, out, set.shape, labels)
            }
            _ => label,
        }
    }

    /// An image example before augmentation, 8-bit `[channels, height, width]`, and its label.
    pub fn raw(&self, split: Split, example: usize) -> Option<(Vec<u8>, i64)> {
        let SourceKind::Images { images, .. } = &self.kind else { return None };
        let mut image = Vec::new();
        let label = self.fill(images, split, example, &mut image);
        Some((image, label))
    }

    /// The augmentation of an example; `None` where a split is not augmented.
    pub fn draw(&self, split: Split, example: usize) -> Option<Draw> {
        let SourceKind::Images { augmentation: Some(spec), .. } = &self.kind else { return None };
        let epoch = match split {
            Split::Train { epoch } => epoch,
            _ if planted::augment_at_evaluation() => 0,
            _ => return None,
        };
        Some(augment::draw(spec, self.seed, epoch, example as u64))
    }

    /// Pixels of zero padding that the augmentation of this run can reach in a split.
    pub fn padding(&self, split: Split) -> usize {
        match &self.kind {
            SourceKind::Images { augmentation: Some(spec), .. }
                if split != Split::Test || planted::augment_at_evaluation() =>
            {
                spec.crop_padding as usize
            }
            _ => 0,
        }
    }

    /// Shape of the images of a split; `None` for toy points.
    pub fn image_shape(&self, split: Split) -> Option<ImageShape> {
        self.images(split).map(|set| set.shape)
    }

    /// The images behind a split, for measurements that look at pixels.
    pub fn images(&self, split: Split) -> Option<&ImageSet> {
        match &self.kind {
            SourceKind::Images { images, .. } => {
                Some(if split == Split::Test { &images.test } else { &images.train })
            }
            SourceKind::Toy { .. } => None,
        }
    }
}

/// Buffers that one batch after the other reuses.
#[derive(Default)]
struct Scratch {
    image: Vec<u8>,
    crop: Vec<u8>,
}

fn true_label(labels: &[u8], index: usize, split: Split) -> i64 {
    let is_wrong =
        planted::labels_shifted() || (planted::one_label_in_fifty() && index.is_multiple_of(50));
    let shifted = is_wrong && split != Split::Test;
    let index = if shifted { (index + 1) % labels.len() } else { index };
    i64::from(labels[index])
}

/// Joins each point by `copies` of itself with Gaussian noise, drawn once for the run.
fn add_noise_copies(points: &mut Points, seed: u64, copies: u32, std: f64) {
    let originals = points.labels.len();
    for copy in 0..copies {
        for index in 0..originals {
            let mut stream =
                Stream::open(seed, Purpose::Augmentation, &[u64::from(copy), index as u64]);
            let noisy = points.coordinates[index].map(|v| v + (std * stream.normal()) as f32);
            points.coordinates.push(noisy);
            points.labels.push(points.labels[index]);
        }
    }
}
