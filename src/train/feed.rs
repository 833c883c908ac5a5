//! How batches reach the device. On a CPU each is put together in Rust when it is wanted; on
//! a GPU the raw images lie on the device and a batch is gathered there, by the same draws,
//! to the same bits.

use super::source::{Batch, Source, Split};
use crate::corrupt::ImageShape;
use std::cell::OnceCell;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Most bytes of one split that are kept on a device; larger ones are fed from the host.
const RESIDENT_BYTES: usize = 24 << 30;
/// Images that are sent to the device at a time.
const CHUNK: usize = 4096;

/// The batches of one run.
pub struct Feed<'a> {
    source: &'a Source,
    device: Device,
    resident: bool,
    train: OnceCell<Option<Resident>>,
    test: OnceCell<Option<Resident>>,
}

impl<'a> Feed<'a> {
    /// Feeds `device`, from its own memory if that is a GPU's.
    pub fn new(source: &'a Source, device: Device) -> Self {
        Feed::with_resident(source, device, device.is_cuda())
    }

    /// As [`Feed::new`], with images kept on the device or not as told.
    pub fn with_resident(source: &'a Source, device: Device, resident: bool) -> Self {
        Feed { source, device, resident, train: OnceCell::new(), test: OnceCell::new() }
    }

    /// Where the batches come from.
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// Where the batches go.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Prepares one pass over these examples of a split. On a GPU all that the pass needs is
    /// sent here, so that no batch waits for the host.
    pub fn pass(&self, split: Split, order: Vec<u32>) -> Pass<'_> {
        let cell = if split == Split::Test { &self.test } else { &self.train };
        let images = cell.get_or_init(|| self.resident.then(|| self.send(split)).flatten());
        let gather = images.as_ref().map(|images| images.gather(self.source, split, &order));
        Pass { feed: self, split, order, gather }
    }

    fn send(&self, split: Split) -> Option<Resident> {
        let shape = self.source.image_shape(split)?;
        let padding = self.source.padding(split);
        let padded = ImageShape {
            height: shape.height + 2 * padding,
            width: shape.width + 2 * padding,
            ..shape
        };
        let count = self.source.len(split);
        if count * padded.values() > RESIDENT_BYTES {
            return None;
        }
        let size = |images: usize| {
            [images, padded.height, padded.width, padded.channels].map(|side| side as i64)
        };
        let images = Tensor::zeros(size(count), (Kind::Uint8, self.device));
        let mut labels = Vec::with_capacity(count);
        for first in (0..count).step_by(CHUNK) {
            let last = count.min(first + CHUNK);
            let mut bytes = vec![0; (last - first) * padded.values()];
            for (example, out) in (first..last).zip(bytes.chunks_exact_mut(padded.values())) {
                let (image, label) = self.source.raw(split, example)?;
                labels.push(label);
                pad_channels_last(&image, shape, padding, out);
            }
            let rows = Tensor::from_slice(&bytes).view(size(last - first));
            images.narrow(0, first as i64, (last - first) as i64).copy_(&rows);
        }
        let table = Tensor::from_slice(&self.source.normalization()?.flat());
        Some(Resident {
            shape,
            images,
            labels: Tensor::from_slice(&labels).to_device(self.device),
            table: table.to_device(self.device),
        })
    }
}

/// `[channels, height, width]` into the middle of `[height, width, channels]`.
fn pad_channels_last(image: &[u8], shape: ImageShape, padding: usize, out: &mut [u8]) {
    let width = shape.width + 2 * padding;
    for (channel, plane) in image.chunks_exact(shape.pixels()).enumerate() {
        for (y, row) in plane.chunks_exact(shape.width).enumerate() {
            for (x, &value) in row.iter().enumerate() {
                out[((y + padding) * width + x + padding) * shape.channels + channel] = value;
            }
        }
    }
}

/// A split in a device's memory.
struct Resident {
    /// Of the crops, `[channels, height, width]`.
    shape: ImageShape,
    /// `[examples, height + 2 padding, width + 2 padding, channels]`, 8-bit, corrupted where
    /// the run corrupts.
    images: Tensor,
    /// `[examples]`
    labels: Tensor,
    /// `[channels * 256]`: what each 8-bit value becomes.
    table: Tensor,
}

/// Which pixels the examples of a pass take, in its order.
struct Gather {
    /// `[examples]`
    examples: Tensor,
    /// `[examples, height]`
    rows: Tensor,
    /// `[examples, width]`
    columns: Tensor,
}

impl Resident {
    fn gather(&self, source: &Source, split: Split, order: &[u32]) -> Gather {
        let device = self.images.device();
        let padding = source.padding(split) as i64;
        let (mut tops, mut lefts, mut flips) = (Vec::new(), Vec::new(), Vec::new());
        for &example in order {
            let draw = source.draw(split, example as usize);
            tops.push(draw.map_or(padding, |d| i64::from(d.top)));
            lefts.push(draw.map_or(padding, |d| i64::from(d.left)));
            flips.push(draw.is_some_and(|d| d.flip));
        }
        let column = |values: &[i64]| Tensor::from_slice(values).to_device(device).unsqueeze(1);
        let range = |side: usize| Tensor::arange(side as i64, (Kind::Int64, device)).unsqueeze(0);
        let (along, back) = {
            let along = range(self.shape.width);
            let back = along.flip([1]);
            (along, back)
        };
        let flips = Tensor::from_slice(&flips).to_device(device).unsqueeze(1);
        let order: Vec<i64> = order.iter().map(|&example| i64::from(example)).collect();
        Gather {
            examples: Tensor::from_slice(&order).to_device(device),
            rows: column(&tops) + range(self.shape.height),
            columns: column(&lefts) + back.where_self(&flips, &along),
        }
    }

    fn batch(&self, gather: &Gather, range: Range<usize>) -> (Tensor, Tensor) {
        let (first, count) = (range.start as i64, range.len() as i64);
        let part = |t: &Tensor| t.narrow(0, first, count);
        let examples = part(&gather.examples);
        let (rows, columns) = (part(&gather.rows), part(&gather.columns));
        let places =
            [Some(examples.view([-1, 1, 1])), Some(rows.unsqueeze(2)), Some(columns.unsqueeze(1))];
        let pixels = self.images.index(&places).to_kind(Kind::Int64);
        let channels = self.shape.channels as i64;
        let offsets = Tensor::arange(channels, (Kind::Int64, self.images.device())) * 256;
        let size = pixels.size();
        let values = self.table.index_select(0, &(pixels + offsets).view([-1]));
        let inputs = values.view(size.as_slice()).permute([0, 3, 1, 2]);
        (inputs, self.labels.index_select(0, &examples))
    }
}

/// One pass over some examples.
pub struct Pass<'f> {
    feed: &'f Feed<'f>,
    split: Split,
    order: Vec<u32>,
    gather: Option<Gather>,
}

impl Pass<'_> {
    /// Number of examples.
    pub fn examples(&self) -> usize {
        self.order.len()
    }

    /// The ranges of batches of `size` examples; the last may be shorter.
    pub fn ranges(&self, size: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let count = self.examples();
        (0..count).step_by(size).map(move |first| first..count.min(first + size))
    }

    /// Inputs `[batch, channels, height, width]` in channels-last memory and labels `[batch]`
    /// of the examples at these places of the pass.
    pub fn batch(&self, range: Range<usize>) -> (Tensor, Tensor) {
        let Feed { source, device, train, test, .. } = self.feed;
        let cell = if self.split == Split::Test { test } else { train };
        if let (Some(Some(images)), Some(gather)) = (cell.get(), &self.gather) {
            return images.batch(gather, range);
        }
        let examples = self.order[range].iter().map(|&example| example as usize);
        let batch: Batch = source.batch(self.split, examples);
        batch.tensors(source.signature(), *device)
    }
}
