//! Writes prepared splits.

use super::{FOLDER, HEADER_BYTES, Header};
use crate::data::manifest::FileEntry;
use crate::data::stats::ChannelStats;
use crate::data::{DataError, files};
use crate::disk;
use crate::image_shape::ImageShape;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Writes one split, image by image.
pub(in crate::data) struct Writer {
    path: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    labels: Vec<u8>,
    header: Header,
}

impl Writer {
    /// Starts split `name` of the data set in `folder`.
    pub(in crate::data) fn create(
        folder: &Path,
        name: &str,
        shape: ImageShape,
        classes: u32,
    ) -> Result<Writer, DataError> {
        let folder = folder.join(FOLDER);
        let (path, temporary) = (folder.join(name), folder.join(name).with_extension("bgm.tmp"));
        let create = || {
            std::fs::create_dir_all(&folder)?;
            let mut out = BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
            out.write_all(&[0; HEADER_BYTES])?;
            Ok(out)
        };
        let out = create().map_err(|e| DataError::io(&temporary, e, "is the folder writable?"))?;
        let header = Header { shape, classes, count: 0, stats: ChannelStats::new(shape.channels) };
        Ok(Writer { path, temporary, out, labels: Vec::new(), header })
    }

    /// Images so far.
    pub(in crate::data) fn count(&self) -> u64 {
        self.header.count
    }

    /// What the head of the file will say of the images so far.
    pub(in crate::data) fn header(&self) -> &Header {
        &self.header
    }

    /// Appends an image `[channels, height, width]`.
    pub(in crate::data) fn push(&mut self, label: u8, image: &[u8]) -> Result<(), DataError> {
        debug_assert_eq!(image.len(), self.header.shape.values());
        debug_assert!(u32::from(label) < self.header.classes);
        self.out
            .write_all(image)
            .map_err(|e| DataError::io(&self.temporary, e, "is the disk full?"))?;
        self.header.stats.add(image);
        self.header.count += 1;
        self.labels.push(label);
        Ok(())
    }

    /// Puts labels and header in place and gives the file its name. The header comes first and is
    /// known last, so that the hash cannot be taken while the file is written.
    pub(in crate::data) fn finish(mut self) -> Result<FileEntry, DataError> {
        let out = &mut self.out;
        let mut write = || {
            out.write_all(&self.labels)?;
            out.seek(SeekFrom::Start(0))?;
            out.write_all(&self.header.to_bytes())?;
            out.flush()?;
            out.get_ref().sync_all()
        };
        write().map_err(|e| DataError::io(&self.temporary, e, "is the disk full?"))?;
        let (bytes, sha256) = files::hash_file(&self.temporary)?;
        disk::rename(&self.temporary, &self.path)
            .map_err(|e| DataError::io(&self.path, e, "is the folder writable?"))?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(FileEntry { path: name, bytes, sha256 })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Left over only if something failed: half a split is of no use to anyone.
        let _ = std::fs::remove_file(&self.temporary);
    }
}
