//! From 8-bit values to network inputs: `(v / 255 - mean) / std` per channel.

/// Per-channel scaling as a table of 256 values a channel, so that it is a look-up and the
/// same everywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    table: Vec<[f32; 256]>,
    std: Vec<f32>,
}

impl Normalization {
    /// Scaling with these means and deviations on the scale [0, 1], one a channel.
    pub fn new(mean: &[f32], std: &[f32]) -> Self {
        assert_eq!(mean.len(), std.len());
        let channel =
            |(&m, &s): (&f32, &f32)| std::array::from_fn(|value| (value as f32 / 255.0 - m) / s);
        Normalization { table: mean.iter().zip(std).map(channel).collect(), std: std.to_vec() }
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.table.len()
    }

    /// Deviation of each channel on the scale [0, 1]: a step of `e` on that scale is one of
    /// `e / std` for the network.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// What black and white become, one value a channel each.
    pub fn input_range(&self) -> (Vec<f32>, Vec<f32>) {
        self.table.iter().map(|table| (table[0], table[255])).unzip()
    }

    /// The table itself, `[channels * 256]`: the value `v` of channel `c` becomes entry
    /// `256 c + v`.
    pub fn flat(&self) -> Vec<f32> {
        self.table.iter().flatten().copied().collect()
    }

    /// Appends one image, given as `[channels, height, width]`, as `[height, width, channels]`
    /// (libtorch's channels-last memory order).
    pub fn append_channels_last(&self, image: &[u8], out: &mut Vec<f32>) {
        let channels = self.channels();
        let pixels = image.len() / channels;
        if channels == 1 {
            let table = &self.table[0];
            out.extend(image.iter().map(|&value| table[value as usize]));
            return;
        }
        for pixel in 0..pixels {
            for (channel, table) in self.table.iter().enumerate() {
                out.push(table[image[channel * pixels + pixel] as usize]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_per_channel_and_reorders() {
        let scaling = Normalization::new(&[0.0, 0.5], &[1.0, 0.5]);
        let mut out = Vec::new();
        // Two pixels, two channels: [c0p0, c0p1, c1p0, c1p1].
        scaling.append_channels_last(&[255, 0, 255, 0], &mut out);
        assert_eq!(out, [1.0, 1.0, 0.0, -1.0]);
    }
}
