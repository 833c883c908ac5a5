//! The shape of an image.

/// Shape of one image, stored as `[channels, height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl ImageShape {
    /// Number of channel values: `channels * height * width`.
    pub fn values(self) -> usize {
        self.channels * self.pixels()
    }

    /// Number of pixels: `height * width`.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }
}
