//! How batches reach the device. Most devices are given each batch from the host; one that
//! keeps the images in its own memory is told which crops a pass takes, and gathers them
//! there by the same draws, to the same bits.

use super::source::{self, Source, Split};
use crate::backend::{Backend, BackendError, Batch, Crop, PixelSet, Side};
use crate::image_shape::ImageShape;
use crate::models::graph::Shape;
use std::ops::Range;

/// The batches of one run on one device.
pub struct Feed<'a> {
    source: &'a Source,
    /// Whether the device keeps the images of each side; `None` before it was asked.
    kept: [Option<bool>; 2],
}

impl<'a> Feed<'a> {
    pub fn new(source: &'a Source) -> Self {
        Feed { source, kept: [None; 2] }
    }

    /// Where the batches come from.
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// Prepares one pass over these examples of a split. A device that keeps the images is
    /// given all that the pass needs here, so that no batch waits for the host.
    ///
    /// # Errors
    /// If the device fails.
    pub fn pass(
        &mut self,
        backend: &mut dyn Backend,
        split: Split,
        order: Vec<u32>,
    ) -> Result<Pass<'a>, BackendError> {
        let side = if split == Split::Test { Side::Test } else { Side::Train };
        let kept = match self.kept[side as usize] {
            Some(kept) => kept,
            None => self.send(backend, side, split)?,
        };
        self.kept[side as usize] = Some(kept);
        if kept {
            backend.open_pass(side, &self.crops(split, &order))?;
        }
        Ok(Pass { source: self.source, split, order, kept, batch: source::Batch::default() })
    }

    fn send(
        &self,
        backend: &mut dyn Backend,
        side: Side,
        split: Split,
    ) -> Result<bool, BackendError> {
        let (Some(shape), Some(normalization)) =
            (self.source.image_shape(split), self.source.normalization())
        else {
            return Ok(false);
        };
        let padding = self.source.padding(split);
        let read = |example: usize, out: &mut [u8]| {
            let (image, label) = self.source.raw(split, example).unwrap_or_default();
            pad_channels_last(&image, shape, padding, out);
            label
        };
        let set = PixelSet {
            examples: self.source.len(split),
            crop: Shape::new(shape.channels, shape.height, shape.width),
            padding,
            table: normalization.flat(),
            read: &read,
        };
        backend.keep(side, &set)
    }

    fn crops(&self, split: Split, order: &[u32]) -> Vec<Crop> {
        let middle = self.source.padding(split) as u16;
        let crop = |&example: &u32| {
            let draw = self.source.draw(split, example as usize);
            let (top, left) = draw.map_or((middle, middle), |d| (d.top as u16, d.left as u16));
            Crop { example, top, left, flip: draw.is_some_and(|d| d.flip) }
        };
        order.iter().map(crop).collect()
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

/// One pass over some examples.
pub struct Pass<'a> {
    source: &'a Source,
    split: Split,
    order: Vec<u32>,
    kept: bool,
    /// Reused from batch to batch.
    batch: source::Batch,
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

    /// The examples at these places of the pass.
    pub fn batch(&mut self, range: Range<usize>) -> Batch<'_> {
        if self.kept {
            return Batch::Resident(range);
        }
        self.fill(range);
        Batch::Host(self.batch.examples())
    }

    /// The same, put together on the host wherever the device takes them from.
    pub fn host_batch(&mut self, range: Range<usize>) -> &source::Batch {
        self.fill(range);
        &self.batch
    }

    fn fill(&mut self, range: Range<usize>) {
        let examples = self.order[range].iter().map(|&example| example as usize);
        self.source.fill_batch(self.split, examples, &mut self.batch);
    }
}
