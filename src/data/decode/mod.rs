//! PNG and JPEG files to 8-bit values, the same values on every processor.
//!
//! The format is taken from the content, never from the name. Orientation (EXIF) and colour
//! profiles are not applied, as torchvision's `ImageFolder` does not apply them.

mod jpeg;

use image::codecs::png::PngDecoder;
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageDecoder, RgbImage};
use std::io::Cursor;

/// Largest image that is decoded, in pixels.
pub const MAX_PIXELS: u64 = 128 << 20;
/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// File formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    Png,
    Jpeg,
}

/// What the header of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub format: FileFormat,
    pub width: u32,
    pub height: u32,
    /// Of the decoded image, without transparency: 1 (grey) or 3 (colour).
    pub channels: usize,
    /// Whether the file stores CMYK or YCCK, which is converted to RGB without a colour profile.
    pub cmyk: bool,
    /// Whether its EXIF data asks for it to be turned or mirrored before it is shown.
    pub turned: bool,
}

/// A decoded image.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// `[height, width, channels]`
    pub values: Vec<u8>,
    /// Whether some pixel is not opaque. Transparency itself is dropped.
    pub transparent: bool,
}

/// A file whose header has been read.
pub struct Opened<'a> {
    head: Head,
    decoder: Decoder<'a>,
}

enum Decoder<'a> {
    Png(Box<PngDecoder<Cursor<&'a [u8]>>>),
    Jpeg(Box<jpeg::Jpeg<'a>>),
}

impl<'a> Opened<'a> {
    /// Reads the header of an image file.
    ///
    /// # Errors
    /// What is wrong with it, in words: another format, truncated, animated, larger than
    /// [`MAX_PIXELS`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let opened = match format(bytes)? {
            FileFormat::Png => open_png(bytes)?,
            FileFormat::Jpeg => jpeg::open(bytes)?,
        };
        let Head { width, height, .. } = opened.head;
        if width == 0 || height == 0 || u64::from(width) * u64::from(height) > MAX_PIXELS {
            return Err(format!("is {width}x{height} pixels: not an image of a data set"));
        }
        Ok(opened)
    }

    /// What the header says.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Decodes the image.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn decode(self) -> Result<Picture, String> {
        let (values, transparent) = match self.decoder {
            Decoder::Jpeg(jpeg) => (jpeg.decode()?, false),
            Decoder::Png(png) => decode_png(*png, self.head.channels)?,
        };
        let Head { width, height, channels, .. } = self.head;
        Ok(Picture { width, height, channels, values, transparent })
    }
}

/// The format by the first bytes of a file.
fn format(bytes: &[u8]) -> Result<FileFormat, String> {
    let other = match bytes {
        [0x89, b'P', b'N', b'G', ..] => return Ok(FileFormat::Png),
        [0xff, 0xd8, 0xff, ..] => return Ok(FileFormat::Jpeg),
        [] => "it is empty",
        [b'G', b'I', b'F', b'8', ..] => "it is a GIF",
        [b'B', b'M', ..] => "it is a BMP",
        [b'R', b'I', b'F', b'F', ..] => "it is a WebP or another RIFF file",
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "it is a TIFF",
        [0x1f, 0x8b, ..] => "it is a gzip archive",
        [b'P', b'K', ..] => "it is a ZIP archive",
        _ => "its first bytes are neither those of a PNG nor of a JPEG file",
    };
    Err(unreadable(other))
}

fn unreadable(problem: impl std::fmt::Display) -> String {
    format!("is no readable image: {problem}")
}

fn open_png(bytes: &[u8]) -> Result<Opened<'_>, String> {
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_PIXELS * 6);
    let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(unreadable)?;
    if decoder.is_apng().map_err(unreadable)? {
        return Err("is an animated PNG".to_owned());
    }
    let (width, height) = decoder.dimensions();
    let channels = if decoder.color_type().has_color() { 3 } else { 1 };
    let format = FileFormat::Png;
    let head = Head { format, width, height, channels, cmyk: false, turned: false };
    Ok(Opened { head, decoder: Decoder::Png(Box::new(decoder)) })
}

/// Values `[height, width, channels]` and whether some pixel is transparent.
fn decode_png(
    decoder: PngDecoder<Cursor<&[u8]>>,
    channels: usize,
) -> Result<(Vec<u8>, bool), String> {
    let alpha = decoder.color_type().has_alpha();
    let image = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    let transparent = alpha && image.to_rgba8().pixels().any(|pixel| pixel[3] != u8::MAX);
    let grey = channels == 1;
    let values = if grey { image.into_luma8().into_raw() } else { image.into_rgb8().into_raw() };
    Ok((values, transparent))
}

impl Picture {
    /// The centre `side` x `side` of the image resized so that its shorter side has `shorter`
    /// pixels (triangle filter, widened when shrinking, as PIL's bilinear resizing is; the
    /// longer side is rounded down; of an odd margin the smaller half is above and to the left).
    pub fn centre(&self, shorter: u32, side: u32) -> Picture {
        let short = u64::from(self.width.min(self.height));
        let scaled = |side: u32| (u64::from(side) * u64::from(shorter) / short) as u32;
        let (width, height) = (scaled(self.width), scaled(self.height));
        let (left, top) = ((width - side) / 2, (height - side) / 2);
        // Resizing to the same size would change nothing but cost time.
        let same = (width, height) == (self.width, self.height);
        let values = self.values.clone();
        let filter = FilterType::Triangle;
        let wrong = "the values of a picture fill it";
        let values = if self.channels == 1 {
            let image = GrayImage::from_raw(self.width, self.height, values).expect(wrong);
            let image = if same { image } else { imageops::resize(&image, width, height, filter) };
            imageops::crop_imm(&image, left, top, side, side).to_image().into_raw()
        } else {
            let image = RgbImage::from_raw(self.width, self.height, values).expect(wrong);
            let image = if same { image } else { imageops::resize(&image, width, height, filter) };
            imageops::crop_imm(&image, left, top, side, side).to_image().into_raw()
        };
        Picture { width: side, height: side, values, ..*self }
    }

    /// The values as `[channels, height, width]`; a grey image fills three channels alike.
    pub fn planes(&self, channels: usize) -> Vec<u8> {
        let plane =
            |channel: usize| self.values.iter().skip(channel).step_by(self.channels).copied();
        (0..channels).flat_map(|channel| plane(channel.min(self.channels - 1))).collect()
    }
}
