//! Tables, figures and the report, all made from the same results, and byte for byte the
//! same for the same results: nothing here reads a clock, the environment or the terminal.

mod beside;
mod escape;
pub mod figures;
mod html;
mod layout;
mod manifest;
mod summary;
mod tables;
mod words;
mod writer;

use crate::experiments::results::ExperimentResult;
use crate::verify::outcome::Verification;
use layout::Numbers;
use std::path::{Path, PathBuf};
use writer::Writer;

pub use beside::{both_verdicts_markdown, differences_markdown};
pub use figures::FigureError;
pub use summary::{terminal_summary, verdict_line};
pub use tables::verdicts_markdown;

/// What a report is made from.
pub struct ReportContext<'a> {
    pub profile: &'a str,
    pub results: &'a [ExperimentResult],
    pub verification: &'a Verification,
    /// Label and value, in the order in which they are shown: device, libtorch, commit, data
    /// hashes, semantics number, ... A row `commit date` dates the manifest.
    pub provenance: &'a [(String, String)],
    /// Command that redoes everything.
    pub command: &'a str,
    /// What to say of records that the numbers come from; empty where there are none.
    pub records: &'a str,
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("write {}: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("draw {}: {source}", path.display())]
    Figure { path: PathBuf, source: FigureError },
    #[error("fill in {}: {source}", path.display())]
    Template { path: PathBuf, source: askama::Error },
}

/// An SVG that the page shows inline, by the experiment that it belongs to.
struct Drawing {
    experiment: String,
    svg: String,
}

/// Writes tables (Markdown, LaTeX, CSV), figures (SVG, PNG), `report.html` and the manifest
/// `ro-crate-metadata.json` into `out`, and gives their paths in the order of writing.
///
/// # Errors
/// If a file cannot be written or a figure not be drawn; the error names the file.
pub fn write(out: &Path, context: &ReportContext<'_>) -> Result<Vec<PathBuf>, ReportError> {
    let before = manifest::written(out);
    let mut writer = Writer { out, artifacts: Vec::new(), paths: Vec::new() };
    for result in context.results {
        let numbers = Numbers::new(result, context.verification);
        let id = &result.experiment.id;
        writer.file(format!("tables/{id}.md"), tables::markdown(&numbers).as_bytes())?;
        writer.file(format!("tables/{id}.tex"), tables::latex(&numbers).as_bytes())?;
        writer.file(format!("tables/{id}.csv"), tables::csv(&numbers).as_bytes())?;
    }
    let mut drawings = Vec::new();
    for result in context.results {
        let numbers = Numbers::new(result, context.verification);
        let id = &result.experiment.id;
        if let Some(svg) = figures::draw(&numbers) {
            writer.figure(id, &svg)?;
            drawings.push(Drawing { experiment: id.clone(), svg });
        }
    }
    let claims = &context.verification.claims;
    let forest = if claims.is_empty() {
        None
    } else {
        let forest = figures::forest(claims, context.profile);
        writer.figure("claims", &forest)?;
        Some(forest)
    };
    let page = html::page(context, &drawings, forest)
        .map_err(|source| ReportError::Template { path: out.join("report.html"), source })?;
    writer.file("report.html".to_owned(), page.as_bytes())?;
    let manifest = manifest::manifest(context, &writer.artifacts);
    writer.file(manifest::NAME.to_owned(), manifest.as_bytes())?;
    writer.remove_stale(&before)?;
    Ok(writer.paths)
}

#[cfg(test)]
mod tests;
