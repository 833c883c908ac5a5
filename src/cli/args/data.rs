//! Arguments of `bgm data`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Data {
    #[command(subcommand)]
    pub command: DataCommand,
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// List the known data sets and which of them are installed.
    List,
    /// Download a data set (resuming a broken download), check it, unpack and prepare it.
    ///
    /// Without the feature `download`, it checks, unpacks and prepares an archive that was put there
    /// by hand.
    Fetch {
        /// Name of the data set, as in `bgm data list`.
        name: String,
        /// A mirror; what it serves must have the same digest.
        #[arg(long)]
        url: Option<String>,
    },
    /// Decode an unpacked data set into one memory-mapped file per split.
    Prepare {
        /// Name of the data set, as in `bgm data list`.
        name: String,
    },
    /// Make a data set from class folders of PNG or JPEG files.
    ///
    /// FROM holds train/<class>/ and test/<class>/, or <class>/ alone (then test images are
    /// drawn by the seed); or it is a .tar.gz or .tar of such a folder. Files that cannot be
    /// imported are named, and nothing is left behind. Profiles name the result like any other
    /// data set; keys carry the hash of its decoded pixels.
    Import {
        /// Name of the data set: lower-case letters, digits, '-', '_' and '.'.
        name: String,
        /// The folder or archive of images.
        from: PathBuf,
        /// Resize to this shorter side and crop the square at the centre [default: all images
        /// must have the same size]. No image is enlarged.
        #[arg(long, value_name = "PIXELS")]
        side: Option<u32>,
        /// 1 (grey) or 3 (colour; grey images are repeated) [default: 3 if any image is in
        /// colour].
        #[arg(long)]
        channels: Option<u8>,
        /// Share of each class that becomes test images [default: 20].
        #[arg(long, value_name = "PERCENT")]
        test_percent: Option<u32>,
        /// Decides the order of the images and which of them become test images.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// A note on the licence of the images, kept with them.
        #[arg(long, value_name = "TEXT")]
        licence: Option<String>,
    },
    /// Compare a data set with its hashes and measure mean and deviation.
    Check {
        /// Name of the data set, as in `bgm data list`.
        name: String,
    },
    /// Make a class-balanced subset of a data set.
    Subset {
        /// Data set to take from.
        #[arg(long, default_value = "fashion-mnist")]
        from: String,
        /// Training images to take.
        #[arg(long, default_value_t = 2000)]
        train: usize,
        /// Test images to take.
        #[arg(long, default_value_t = 2000)]
        test: usize,
        /// Which images of a class are taken.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Folder to write to.
        out: PathBuf,
    },
}
