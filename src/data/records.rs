//! The binary versions of CIFAR-10 and CIFAR-100 (Krizhevsky 2009): records of one or two
//! label bytes and 3,072 pixel values, red plane first, row by row. No header, no compression.

use super::{DataError, files};
use crate::digest::HashingReader;
use crate::image_shape::ImageShape;
use std::io::{BufReader, Read};
use std::path::Path;

/// Every image is `[3, 32, 32]`, in the order that the file has.
pub const SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };

/// What precedes the pixels of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFormat {
    /// Name and number of values of each label byte; the last one is the class.
    pub labels: &'static [(&'static str, u32)],
    /// Files of the training set, in order.
    pub train: &'static [&'static str],
    /// Files of the test set.
    pub test: &'static [&'static str],
}

/// 3,073-byte records.
pub const CIFAR10: RecordFormat = RecordFormat {
    labels: &[("label", 10)],
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
};

/// 3,074-byte records. The fine label is the class; the coarse one is checked and dropped.
pub const CIFAR100: RecordFormat = RecordFormat {
    labels: &[("coarse label", 20), ("fine label", 100)],
    train: &["train.bin"],
    test: &["test.bin"],
};

impl RecordFormat {
    /// Bytes of one record.
    pub fn bytes(&self) -> usize {
        self.labels.len() + SHAPE.values()
    }

    /// Hands every record of `reader` to `each` as a class and an image `[3, 32, 32]`, with
    /// the memory of one record. Returns how many there were.
    ///
    /// # Errors
    /// A message in words for a record that is cut short or a label that is out of range;
    /// whatever `each` or the reader fails with.
    pub fn read<E: From<RecordError>>(
        &self,
        mut reader: impl Read,
        mut each: impl FnMut(u8, &[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut record = vec![0; self.bytes()];
        for index in 0.. {
            match fill(&mut reader, &mut record).map_err(RecordError::Io)? {
                0 => return Ok(index),
                found if found < record.len() => {
                    let problem = format!(
                        "record {index} is truncated: {found} of its {} bytes",
                        record.len()
                    );
                    return Err(RecordError::Format(problem).into());
                }
                _ => {}
            }
            let (labels, pixels) = record.split_at(self.labels.len());
            for (&value, &(name, values)) in labels.iter().zip(self.labels) {
                if u32::from(value) >= values {
                    let problem = format!(
                        "{name} of record {index} is {value}, not one of 0 to {}",
                        values - 1
                    );
                    return Err(RecordError::Format(problem).into());
                }
            }
            each(labels[labels.len() - 1], pixels)?;
        }
        unreachable!("the loop has no last index")
    }

    /// Reads one file as [`RecordFormat::read`] does, and returns its SHA-256.
    ///
    /// # Errors
    /// If it is missing, empty, truncated, or holds a label out of range.
    pub fn read_file(
        &self,
        path: &Path,
        each: impl FnMut(u8, &[u8]) -> Result<(), DataError>,
    ) -> Result<[u8; 32], DataError> {
        let io = |e| DataError::io(path, e, "unpack the archive again: `bgm data fetch`");
        let mut reader = HashingReader::new(BufReader::new(files::open(path).map_err(io)?));
        let mut each = each;
        let count = self
            .read(&mut reader, |label, pixels| each(label, pixels).map_err(ReadError::Callback));
        match count {
            Ok(0) => Err(DataError::format(path, "is empty: no record at all")),
            Ok(_) => Ok(reader.finish()),
            Err(ReadError::Record(RecordError::Io(e))) => Err(io(e)),
            Err(ReadError::Record(RecordError::Format(problem))) => {
                Err(DataError::format(path, problem))
            }
            Err(ReadError::Callback(e)) => Err(e),
        }
    }
}

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("{0}")]
    Io(std::io::Error),
    #[error("{0}")]
    Format(String),
}

/// Whether a record was bad or the caller's function failed.
enum ReadError {
    Record(RecordError),
    Callback(DataError),
}

impl From<RecordError> for ReadError {
    fn from(error: RecordError) -> Self {
        ReadError::Record(error)
    }
}

/// Reads until `buffer` is full or the input ends; returns how much there was.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
