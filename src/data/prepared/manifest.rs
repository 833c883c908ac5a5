//! The manifest of prepared splits: what they were made from, and their hashes.

use super::{FILES, FOLDER};
use crate::data::imported::Imported;
use crate::data::manifest::FileEntry;
use crate::data::{DataError, DatasetInfo, files};
use crate::digest::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

const MANIFEST: &str = "manifest.toml";

/// What was prepared, from what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreparedManifest {
    /// Digest of the published archive, `folder` where there is none, or `import`.
    pub source: String,
    /// What `bgm data import` was told and has found, where it has made the splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// [`FILES`], in that order.
    pub file: Vec<FileEntry>,
}

impl PreparedManifest {
    /// Reads the manifest of the data set in `folder`.
    ///
    /// # Errors
    /// If it was never prepared or the manifest is malformed.
    pub fn read(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(FOLDER).join(MANIFEST);
        let text = files::read_text(&path).map_err(|e| {
            DataError::io(
                &path,
                e,
                "prepare the data set first: `bgm data prepare` or `bgm data import`",
            )
        })?;
        PreparedManifest::parse(&text).map_err(|problem| DataError::format(&path, problem))
    }

    /// Whether the data set in `folder` was prepared to the end: the manifest comes last.
    pub fn exists(folder: &Path) -> bool {
        folder.join(FOLDER).join(MANIFEST).is_file()
    }

    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// If it is malformed or names other files.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: PreparedManifest = toml::from_str(text).map_err(|e| e.to_string())?;
        if manifest.file.iter().map(|entry| &entry.path).ne(FILES) {
            return Err(format!("must name exactly {FILES:?}"));
        }
        if let Some(imported) = &manifest.imported {
            imported.check()?;
        }
        Ok(manifest)
    }

    /// Writes it: the last step of preparing, the one that makes the splits count.
    pub(in crate::data) fn write(&self, folder: &Path) -> Result<(), DataError> {
        let path = folder.join(FOLDER).join(MANIFEST);
        let text = toml::to_string(self).map_err(|e| DataError::format(&path, e.to_string()))?;
        files::write_whole(&path, text.as_bytes())
    }

    /// One hash for both files, for run keys.
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        for entry in &self.file {
            hash.update(format!("{} {}\n", entry.sha256, entry.path));
        }
        hex(&hash.finalize())
    }

    /// Refuses splits that were prepared from something else than what is published of their
    /// data set, or whose images are not the pinned ones.
    pub(in crate::data) fn check_source(
        &self,
        info: &DatasetInfo,
        folder: &Path,
    ) -> Result<(), DataError> {
        let path = folder.join(FOLDER);
        if self.source == info.source() {
            return match info.content {
                Some(pinned) if self.content_hash() != pinned => {
                    let problem = format!(
                        "has the content hash {}, but {} has {pinned}: these are other images; \
                         remove the folder, and import them under another name",
                        self.content_hash(),
                        info.name
                    );
                    Err(DataError::format(&path, problem))
                }
                _ => Ok(()),
            };
        }
        let problem = format!(
            "was prepared from {}, not from {}: remove the folder and run `bgm data prepare`",
            self.source,
            info.source()
        );
        Err(DataError::format(&path, problem))
    }
}
