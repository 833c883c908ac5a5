//! The IDX format of MNIST and its successors: a magic number, big-endian sizes, raw bytes;
//! plain or gzip-compressed.

use super::{DataError, ImageSet, files};
use crate::image_shape::ImageShape;
use flate2::{Compression, GzBuilder, bufread::GzDecoder};
use std::io::{BufReader, Read, Write};
use std::path::Path;

/// Maximum size of a decompressed file: bounds the memory that reading one takes.
const MAX_IDX_BYTES: u64 = 1 << 30;

/// Reads images and labels and checks that they belong together.
///
/// # Errors
/// If a file is missing, malformed, truncated, or holds a label of `classes` or above.
pub fn read_set(images: &Path, labels: &Path, classes: u32) -> Result<ImageSet, DataError> {
    let (sizes, pixels) = read(images, 3)?;
    let (label_sizes, label_values) = read(labels, 1)?;
    if sizes[0] != label_sizes[0] {
        let problem = format!(
            "holds {} labels, but {} holds {} images",
            label_sizes[0],
            images.display(),
            sizes[0]
        );
        return Err(DataError::format(labels, problem));
    }
    if let Some(at) = label_values.iter().position(|&label| u32::from(label) >= classes) {
        let problem = format!(
            "label {} of example {at} is not one of the {classes} classes (0 to {})",
            label_values[at],
            classes - 1
        );
        return Err(DataError::format(labels, problem));
    }
    let shape = ImageShape { channels: 1, height: sizes[1], width: sizes[2] };
    Ok(ImageSet { shape, pixels: pixels.into(), labels: label_values })
}

/// Reads one file of unsigned bytes with `dimensions` dimensions.
fn read(path: &Path, dimensions: u8) -> Result<(Vec<usize>, Vec<u8>), DataError> {
    let hint = "restore the file, or see `bgm data list` for where data sets are looked for";
    let file = files::open(path).map_err(|e| DataError::io(path, e, hint))?;
    let reader = BufReader::new(file);
    let zipped = path.extension().is_some_and(|ending| ending == "gz");
    let bytes = if zipped { bounded(GzDecoder::new(reader)) } else { bounded(reader) };
    let bytes = bytes.map_err(|e| DataError::io(path, e, hint))?;
    parse(&bytes, dimensions).map_err(|problem| DataError::format(path, problem))
}

fn bounded(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_IDX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parses an IDX file of unsigned bytes: its sizes and its values.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(bytes: &[u8], dimensions: u8) -> Result<(Vec<usize>, Vec<u8>), String> {
    if bytes.len() as u64 > MAX_IDX_BYTES {
        return Err(format!("is larger than {MAX_IDX_BYTES} bytes"));
    }
    let header = 4 + 4 * usize::from(dimensions);
    if bytes.len() < header {
        return Err(format!("is truncated: {} bytes, the header alone has {header}", bytes.len()));
    }
    if bytes[..4] != [0, 0, 8, dimensions] {
        return Err(format!(
            "is no IDX file of bytes with {dimensions} dimensions (magic number {:02x?})",
            &bytes[..4]
        ));
    }
    let sizes: Vec<usize> = bytes[4..header]
        .chunks_exact(4)
        .map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]]) as usize)
        .collect();
    let expected = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    let found = bytes.len() - header;
    if expected != Some(found) {
        return Err(format!("promises {sizes:?} values but holds {found}: truncated or damaged"));
    }
    if sizes.contains(&0) {
        return Err(format!("is empty: sizes {sizes:?}"));
    }
    Ok((sizes, bytes[header..].to_vec()))
}

/// Writes values as a gzip-compressed IDX file with no time stamp, so that the same values
/// give the same bytes.
///
/// # Errors
/// If the file cannot be written.
pub fn write_gz(path: &Path, sizes: &[usize], values: &[u8]) -> Result<(), DataError> {
    let hint = "check that the folder exists and is writable";
    let write = || -> std::io::Result<()> {
        let file = std::fs::File::create(path)?;
        let mut out = GzBuilder::new().mtime(0).write(file, Compression::best());
        out.write_all(&[0, 0, 8, sizes.len() as u8])?;
        for &size in sizes {
            out.write_all(&(size as u32).to_be_bytes())?;
        }
        out.write_all(values)?;
        out.finish()?.sync_all()
    };
    write().map_err(|e| DataError::io(path, e, hint))
}
