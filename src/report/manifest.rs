//! `ro-crate-metadata.json`: what the report consists of, for archives (RO-Crate 1.1).

use super::ReportContext;
use super::writer::Artifact;
use crate::data::files;
use serde_json::{Value, json};
use std::path::{Component, Path};

/// The manifest's file.
pub const NAME: &str = "ro-crate-metadata.json";

/// The files that the manifest in a folder lists; none if it is not there or not ours.
pub fn written(out: &Path) -> Vec<Artifact> {
    let text = files::read_text(&out.join(NAME)).unwrap_or_default();
    let manifest: Value = serde_json::from_str(&text).unwrap_or_default();
    let entries = manifest["@graph"].as_array().into_iter().flatten();
    let listed = entries.filter(|entry| entry["@type"] == "File").filter_map(|entry| {
        let path = entry["@id"].as_str()?;
        // Nothing outside of the folder, whatever the file says.
        let inside = |part| matches!(part, Component::Normal(_));
        Path::new(path).components().all(inside).then_some(())?;
        let size = entry["contentSize"].as_str()?.parse().ok()?;
        Some(Artifact { path: path.to_owned(), size, sha256: entry["sha256"].as_str()?.to_owned() })
    });
    listed.collect()
}

/// Label of the provenance row that dates the crate: the clock is never read.
const DATE_LABEL: &str = "commit date";

/// The manifest's text.
pub fn manifest(context: &ReportContext<'_>, artifacts: &[Artifact]) -> String {
    let name = |path: &str| {
        let stem = path.rsplit('/').next().unwrap_or(path).split('.').next().unwrap_or(path);
        let experiment = context.results.iter().find(|r| r.experiment.id == stem);
        experiment.map_or_else(|| path.to_owned(), |result| result.experiment.title.clone())
    };
    let parts: Vec<Value> = artifacts.iter().map(|a| json!({ "@id": a.path })).collect();
    let mut root = json!({
        "@id": "./",
        "@type": "Dataset",
        "name": format!(
            "Reproduction of \"Bad Global Minima Exist and SGD Can Reach Them\", profile {}",
            context.profile
        ),
        "description": "Tables, figures, verdicts and the run keys behind every number. \
                        The published paper: Liu, Papailiopoulos, Achlioptas, NeurIPS 2020.",
        "license": { "@id": "https://spdx.org/licenses/MIT" },
        "hasPart": parts,
        "mentions": { "@id": "#reproduction" },
        "citation": { "@id": "https://arxiv.org/abs/1906.02613" },
        "variableMeasured": provenance(context),
    });
    let date = context.provenance.iter().find(|(label, _)| label.eq_ignore_ascii_case(DATE_LABEL));
    // A program built outside of git knows no date.
    if let Some((_, date)) = date.filter(|(_, date)| date.starts_with(|c: char| c.is_ascii_digit()))
    {
        root["datePublished"] = json!(date);
    }
    let mut graph = vec![
        json!({
            "@id": NAME,
            "@type": "CreativeWork",
            "conformsTo": { "@id": "https://w3id.org/ro/crate/1.1" },
            "about": { "@id": "./" },
        }),
        root,
        json!({
            "@id": "#reproduction",
            "@type": "CreateAction",
            "name": "Train, verify, report",
            "description": format!("Redo with: {}", context.command),
            "instrument": { "@id": "#bgm" },
            "result": parts,
        }),
        json!({ "@id": "#bgm", "@type": "SoftwareApplication", "name": "bgm" }),
        json!({
            "@id": "https://arxiv.org/abs/1906.02613",
            "@type": "ScholarlyArticle",
            "name": "Bad Global Minima Exist and SGD Can Reach Them",
        }),
        json!({ "@id": "https://spdx.org/licenses/MIT", "@type": "CreativeWork", "name": "MIT" }),
    ];
    graph.extend(artifacts.iter().map(|artifact| {
        json!({
            "@id": artifact.path,
            "@type": "File",
            "name": name(&artifact.path),
            "encodingFormat": artifact.media_type(),
            "contentSize": artifact.size.to_string(),
            "sha256": artifact.sha256,
        })
    }));
    let labelled = context.provenance.iter().enumerate().map(|(place, (label, value))| {
        json!({
            "@id": format!("#provenance-{}", place + 1),
            "@type": "PropertyValue",
            "name": label,
            "value": value,
        })
    });
    graph.extend(labelled);
    let crate_ = json!({
        "@context": [
            "https://w3id.org/ro/crate/1.1/context",
            { "sha256": "https://schema.org/sha256" },
        ],
        "@graph": graph,
    });
    format!("{crate_:#}\n")
}

fn provenance(context: &ReportContext<'_>) -> Vec<Value> {
    (1..=context.provenance.len())
        .map(|place| json!({ "@id": format!("#provenance-{place}") }))
        .collect()
}
