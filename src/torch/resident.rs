//! Images in a device's own memory: a batch is gathered there, by the draws of the host, to
//! the same bits as a batch that the host puts together.

use crate::backend::{Crop, PixelSet};
use crate::models::graph::Shape;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Most bytes of one split that are kept on a device; larger ones are fed from the host.
const RESIDENT_BYTES: usize = 24 << 30;
/// Images that are sent to the device at a time.
const CHUNK: usize = 4096;

/// A split in a device's memory.
pub struct Resident {
    /// Of the crops.
    shape: Shape,
    /// `[examples, height + 2 padding, width + 2 padding, channels]`, 8-bit, corrupted where
    /// the run corrupts.
    images: Tensor,
    /// `[examples]`
    labels: Tensor,
    /// `[channels * 256]`: what each 8-bit value becomes.
    table: Tensor,
}

/// Which pixels the examples of a pass take, in its order.
pub struct Gather {
    /// `[examples]`
    examples: Tensor,
    /// `[examples, height]`
    rows: Tensor,
    /// `[examples, width]`
    columns: Tensor,
}

impl Resident {
    /// Sends images to a device; `None` if they are too many for it.
    pub fn send(set: &PixelSet<'_>, device: Device) -> Option<Resident> {
        let padded = set.padded();
        if set.examples.checked_mul(padded.values())? > RESIDENT_BYTES {
            return None;
        }
        let size = |images: usize| {
            [images, padded.height, padded.width, padded.channels].map(|side| side as i64)
        };
        let images = Tensor::zeros(size(set.examples), (Kind::Uint8, device));
        let mut labels = Vec::with_capacity(set.examples);
        for first in (0..set.examples).step_by(CHUNK) {
            let last = set.examples.min(first + CHUNK);
            let mut bytes = vec![0; (last - first) * padded.values()];
            for (example, out) in (first..last).zip(bytes.chunks_exact_mut(padded.values())) {
                labels.push((set.read)(example, out));
            }
            let rows = Tensor::from_slice(&bytes).view(size(last - first));
            images.narrow(0, first as i64, (last - first) as i64).copy_(&rows);
        }
        Some(Resident {
            shape: set.crop,
            images,
            labels: Tensor::from_slice(&labels).to_device(device),
            table: Tensor::from_slice(&set.table).to_device(device),
        })
    }

    /// Sends what a pass needs.
    pub fn gather(&self, crops: &[Crop]) -> Gather {
        let device = self.images.device();
        let numbers = |of: fn(&Crop) -> i64| {
            let values: Vec<i64> = crops.iter().map(of).collect();
            Tensor::from_slice(&values).to_device(device)
        };
        let range = |side: usize| Tensor::arange(side as i64, (Kind::Int64, device)).unsqueeze(0);
        let along = range(self.shape.width);
        let back = along.flip([1]);
        let flips: Vec<bool> = crops.iter().map(|crop| crop.flip).collect();
        let flips = Tensor::from_slice(&flips).to_device(device).unsqueeze(1);
        let tops = numbers(|crop| i64::from(crop.top)).unsqueeze(1);
        let lefts = numbers(|crop| i64::from(crop.left)).unsqueeze(1);
        Gather {
            examples: numbers(|crop| i64::from(crop.example)),
            rows: tops + range(self.shape.height),
            columns: lefts + back.where_self(&flips, &along),
        }
    }

    /// Inputs `[batch, channels, height, width]` in channels-last memory and labels `[batch]`
    /// of the examples at these places of the pass.
    pub fn batch(&self, gather: &Gather, range: Range<usize>) -> (Tensor, Tensor) {
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
