//! Image files of every kind, made by the tests themselves.
#![allow(dead_code)]

use image::{ExtendedColorType, ImageEncoder};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

/// A PNG file.
pub fn png(width: u32, height: u32, color: ExtendedColorType, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut out);
    encoder.write_image(bytes, width, height, color).unwrap();
    out
}

/// A PNG file of one colour.
pub fn flat(side: u32, rgb: [u8; 3]) -> Vec<u8> {
    png(side, side, ExtendedColorType::Rgb8, &rgb.repeat((side * side) as usize))
}

/// A baseline JPEG file of high quality without subsampling.
pub fn jpeg(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
    jpeg_as(width, height, ColorType::Rgb, |_| {}, pixel)
}

/// A JPEG file with a setting of its own: pixels are given in the colours of `color`.
pub fn jpeg_as<const N: usize>(
    width: u32,
    height: u32,
    color: ColorType,
    set: impl Fn(&mut Encoder<&mut Vec<u8>>),
    pixel: impl Fn(u32, u32) -> [u8; N],
) -> Vec<u8> {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let pixels: Vec<u8> = places.flat_map(|(x, y)| pixel(x, y)).collect();
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, 95);
    encoder.set_sampling_factor(SamplingFactor::R_4_4_4);
    set(&mut encoder);
    encoder.encode(&pixels, width as u16, height as u16, color).unwrap();
    out
}

/// The segment of an EXIF orientation: 1 is as stored, 2 to 8 are turned or mirrored.
pub fn orientation(value: u8) -> Vec<u8> {
    let directory = [1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, value, 0, 0, 0, 0, 0, 0, 0];
    [&b"II*\0\x08\0\0\0"[..], &directory].concat()
}
