//! JPEG files, by `jpeg-decoder` without its vector code: that gives other values in a few
//! places, and is chosen when the program runs. (`zune-jpeg` 0.5.15 is as portable, but decodes
//! baseline files with a scan for each channel to garbage without an error.)
//!
//! Beside Pillow 13, on 1,015 photograph-like images of 20 kinds that were then resized and
//! cropped: 0.1 to 0.3 of 255 on average, 4 at most (`docs/data.md`).

use super::{Decoder, FileFormat, Head, MAX_PIXELS, Opened, unreadable};
use exif::{In, Tag};
use jpeg_decoder::PixelFormat;

/// A JPEG file whose header has been read.
pub(super) struct Jpeg<'a> {
    decoder: jpeg_decoder::Decoder<&'a [u8]>,
    format: PixelFormat,
}

pub(super) fn open(bytes: &[u8]) -> Result<Opened<'_>, String> {
    if !ends(bytes) {
        return Err(unreadable("it ends too early"));
    }
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(4 * MAX_PIXELS as usize);
    decoder.read_info().map_err(unreadable)?;
    let info = decoder.info().ok_or_else(|| unreadable("it has no frame"))?;
    let turned = decoder.exif_data().is_some_and(is_turned);
    let format = info.pixel_format;
    let head = Head {
        format: FileFormat::Jpeg,
        width: info.width.into(),
        height: info.height.into(),
        channels: match format {
            PixelFormat::L8 => 1,
            PixelFormat::RGB24 | PixelFormat::CMYK32 => 3,
            PixelFormat::L16 => return Err(unreadable("it has 16 bits a value")),
        },
        cmyk: format == PixelFormat::CMYK32,
        turned,
    };
    Ok(Opened { head, decoder: Decoder::Jpeg(Box::new(Jpeg { decoder, format })) })
}

/// Whether EXIF data asks for one of the seven ways to turn or mirror an image (1 is none).
fn is_turned(exif: &[u8]) -> bool {
    let read = exif::Reader::new().read_raw(exif.to_vec());
    let field = read.as_ref().ok().and_then(|data| data.get_field(Tag::Orientation, In::PRIMARY));
    field.and_then(|field| field.value.get_uint(0)).is_some_and(|way| (2..=8).contains(&way))
}

impl Jpeg<'_> {
    /// Values `[height, width, channels]`.
    pub(super) fn decode(mut self) -> Result<Vec<u8>, String> {
        let values = self.decoder.decode().map_err(unreadable)?;
        Ok(if self.format == PixelFormat::CMYK32 { rgb(&values) } else { values })
    }
}

/// Cyan, magenta, yellow and black to red, green and blue, as Pillow's `convert("RGB")` does
/// without a colour profile: what neither the colour nor black absorbs.
fn rgb(cmyk: &[u8]) -> Vec<u8> {
    let rest = |ink: u8| u32::from(u8::MAX - ink);
    let pixel = |inks: &[u8]| {
        let value = |ink: u8| ((rest(ink) * rest(inks[3]) + 127) / 255) as u8;
        [value(inks[0]), value(inks[1]), value(inks[2])]
    };
    cmyk.chunks_exact(4).flat_map(pixel).collect()
}

/// Whether a JPEG file has its end marker: decoders make up what is missing.
fn ends(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    // A marker is 0xff and a byte; in compressed data 0xff is followed by 0.
    while let Some(at) = rest.windows(2).position(|p| p[0] == 0xff && !matches!(p[1], 0 | 0xff)) {
        let marker = rest[at + 1];
        rest = &rest[at + 2..];
        match marker {
            0xd9 => return true,
            // Start of the image, restarts: they stand alone.
            0x01 | 0xd0..=0xd8 => {}
            _ => {
                let [high, low, ..] = *rest else { return false };
                let Some(after) = rest.get(usize::from(u16::from_be_bytes([high, low]))..) else {
                    return false;
                };
                rest = after;
            }
        }
    }
    false
}
