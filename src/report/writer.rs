//! The files of a report: written, remembered, and removed once they are out of date.

use super::{ReportError, figures};
use crate::digest::sha256;
use std::path::{Path, PathBuf};

/// A written file: its path below the report's folder, with `/`, and its content's digest.
pub struct Artifact {
    pub path: String,
    pub size: usize,
    pub sha256: String,
}

impl Artifact {
    pub fn new(path: String, content: &[u8]) -> Artifact {
        Artifact { path, size: content.len(), sha256: sha256(content) }
    }

    pub fn media_type(&self) -> &'static str {
        match self.path.rsplit_once('.').map(|(_, ending)| ending) {
            Some("md") => "text/markdown",
            Some("tex") => "text/x-tex",
            Some("csv") => "text/csv",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            Some("html") => "text/html",
            _ => "application/octet-stream",
        }
    }
}

/// Writes files and remembers what they were.
pub struct Writer<'a> {
    pub out: &'a Path,
    pub artifacts: Vec<Artifact>,
    pub paths: Vec<PathBuf>,
}

impl Writer<'_> {
    pub fn file(&mut self, path: String, content: &[u8]) -> Result<(), ReportError> {
        let full = self.out.join(&path);
        let write = || {
            if let Some(folder) = full.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&full, content)
        };
        write().map_err(|source| ReportError::Write { path: full.clone(), source })?;
        self.artifacts.push(Artifact::new(path, content));
        self.paths.push(full);
        Ok(())
    }

    /// Removes what an earlier report in this folder wrote and this one did not: tables of
    /// another profile, say. Files that were changed since, or are somebody else's, stay.
    pub fn remove_stale(&self, before: &[Artifact]) -> Result<(), ReportError> {
        let is_stale =
            |old: &&Artifact| !self.artifacts.iter().any(|artifact| artifact.path == old.path);
        for old in before.iter().filter(is_stale) {
            let path = self.out.join(&old.path);
            let unchanged = std::fs::read(&path)
                .is_ok_and(|content| Artifact::new(String::new(), &content).sha256 == old.sha256);
            if unchanged {
                std::fs::remove_file(&path)
                    .map_err(|source| ReportError::Write { path, source })?;
            }
        }
        Ok(())
    }

    pub fn figure(&mut self, id: &str, svg: &str) -> Result<(), ReportError> {
        self.file(format!("figures/{id}.svg"), svg.as_bytes())?;
        let path = format!("figures/{id}.png");
        let png = figures::rasterize(svg)
            .map_err(|source| ReportError::Figure { path: self.out.join(&path), source })?;
        self.file(path, &png)
    }
}
