//! README.md and docs/ tell the truth where a machine can check that.

mod common;

use bad_global_minima::verify::reference::Reference;
use common::{Workplace, repository, text};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The README is for somebody who has two minutes, then twenty; everything else is a page in docs/.
const MAX_README_LINES: usize = 220;

fn page(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// README.md and every page of docs/ and expected/, by path relative to the repository.
fn pages() -> BTreeMap<PathBuf, String> {
    let root = repository();
    let mut pages = vec![PathBuf::from("README.md"), PathBuf::from("expected/records/README.md")];
    for entry in std::fs::read_dir(root.join("docs")).unwrap().flatten() {
        let path = Path::new("docs").join(entry.file_name());
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.into_iter().map(|path| (path.clone(), page(path.to_str().unwrap()))).collect()
}

/// Stands in the place of a table of verdicts that there is none of; `scripts/readme.sh` writes it.
fn none_yet(profile: &str) -> String {
    format!("The profile `{profile}` has no blessed reference yet, so there are no verdicts.")
}

/// What lies between the markers `<!-- NAME -->` and `<!-- /NAME -->` of a page.
fn between(path: &str, marker: &str) -> String {
    let page = page(path);
    let (_, rest) = page
        .split_once(&format!("<!-- {marker} -->\n"))
        .unwrap_or_else(|| panic!("{path} has no marker {marker}"));
    let (inside, _) = rest
        .split_once(&format!("<!-- /{marker} -->"))
        .unwrap_or_else(|| panic!("{path}: the marker {marker} does not end"));
    inside.trim().to_owned()
}

/// A field of a reference's own, before its first table.
fn field(reference: &str, name: &str) -> String {
    let head = reference.split("\n[").next().unwrap();
    let prefix = format!("{name} = \"");
    let line = head.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
    line.strip_suffix('"').unwrap().to_owned()
}

/// `make readme` draws them, from the records in the repository; scripts/readme.sh says of what.
#[test]
fn the_figures_of_the_pages_are_those_of_the_blessed_runs() {
    let script = page("scripts/readme.sh");
    let figures: Vec<Vec<&str>> = script
        .lines()
        .filter_map(|line| Some(line.strip_prefix("figure ")?.split_whitespace().collect()))
        .collect();
    assert_eq!(figures.len(), 3, "{figures:?}");
    for figure in figures {
        let &[profile, only, name, picture] = figure.as_slice() else { panic!("{figure:?}") };
        let place = Workplace::new();
        std::fs::create_dir(place.path("runs")).unwrap();
        let out = place.path("report");
        let expected = repository().join("expected");
        let reference = Reference::of_profile(&expected, profile).unwrap().unwrap();
        let numerics = reference.platform.numerics.to_string();
        let only = ["--profile", profile, "--only", only, "--numerics", &numerics];
        let output = place.bgm(&[&only[..], &["report", "--out", out.to_str().unwrap()]].concat());
        assert!(out.join("report.html").exists(), "{}", text(&output.stderr));
        let drawn = std::fs::read_to_string(out.join(format!("figures/{name}.svg"))).unwrap();
        assert_eq!(drawn, page(&format!("docs/{picture}.svg")), "run `make readme`");
    }
}

/// The claims of `desk` that `all-claims` does not have.
const CONTROLS: [&str; 18] = [
    "R1", "R2", "R2b", "R3", "R4", "R5", "R6", "R7", "R7b", "R7c", "R8", "R9", "R10", "R11",
    "R11b", "N1", "N2", "N3",
];

/// `make readme` writes these tables; a new reference without it fails here.
#[test]
fn the_verdicts_are_the_blessed_ones() {
    let place = Workplace::new();
    for (path, marker, profile, only) in [
        ("README.md", "verdicts", "quick", &[][..]),
        ("README.md", "verdicts-all-claims", "all-claims", &["C3", "C4"]),
        ("README.md", "verdicts-cifar", "cifar", &[]),
        ("docs/gpu-box.md", "verdicts-gpu", "gpu", &[]),
        ("docs/controls.md", "verdicts-desk", "desk", &CONTROLS),
    ] {
        let output = place.bgm(&["--profile", profile, "report", "--verdicts"]);
        let file = repository().join(format!("expected/{profile}.toml"));
        assert_eq!(output.status.success(), file.exists(), "{}", text(&output.stderr));
        let expected = if file.exists() {
            let reference = std::fs::read_to_string(&file).unwrap();
            let id = |row: &str| row.split('|').nth(1).unwrap().trim().to_owned();
            let table = text(&output.stdout);
            let rows = table.lines().enumerate().filter(|(number, row)| {
                *number < 2 || only.is_empty() || only.contains(&id(row).as_str())
            });
            let rows: Vec<&str> = rows.map(|(_, row)| row).collect();
            let (date, reason) = (field(&reference, "date"), field(&reference, "reason"));
            let reason = reason.trim_end_matches('.');
            format!("{}\n\nBlessed on {date}: {reason}.", rows.join("\n").trim())
        } else {
            none_yet(profile)
        };
        let found = between(path, marker);
        assert_eq!(found, expected, "{path}, {marker}: run `make readme`");
    }
}

/// Of each profile that is named: what its reference says of the headline's claims.
#[test]
fn the_headlines_are_the_blessed_ones() {
    let found = between("README.md", "headlines");
    let rows: Vec<Vec<&str>> =
        found.lines().skip(2).map(|row| row.split('|').map(str::trim).collect()).collect();
    assert!(rows.len() >= 4, "{found}");
    for row in rows {
        let profile = row[2].trim_matches('`');
        let reference = Reference::of_profile(&repository().join("expected"), profile);
        let verdicts = reference.unwrap().unwrap().verdicts;
        let output = Workplace::new().bgm(&["--profile", profile, "report", "--verdicts"]);
        let table = text(&output.stdout);
        for (id, cell) in ["C1", "C2", "C6"].iter().zip(&row[4..]) {
            let line = table.lines().find(|line| line.starts_with(&format!("| {id} |"))).unwrap();
            let fields: Vec<&str> = line.split(" | ").collect();
            let icon = fields[1].split(' ').next().unwrap();
            let expected = format!("{icon} {} {}", fields[3], fields[4]);
            assert_eq!(*cell, expected, "{profile}, {id}: run `make readme`");
        }
        assert_eq!(row[3], verdicts["C1"].n.to_string(), "{profile}");
    }
}

#[test]
fn both_implementations_are_compared_as_blessed() {
    let output = Workplace::new().bgm(&["diff", "quick", "libtorch"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let kept = |row: &&str| {
        let begins = ["| Mean", "|---", "| C"].iter().any(|head| row.starts_with(head));
        let metrics = ["] test\\_accuracy ", "] distance\\_relative "];
        begins || row.is_empty() || metrics.iter().any(|metric| row.contains(metric))
    };
    let table = text(&output.stdout);
    let table: Vec<&str> = table.lines().filter(kept).collect();
    let found = between("docs/verification.md", "implementations");
    assert_eq!(found, table.join("\n").trim(), "run `make readme`");
}

#[test]
fn the_readme_is_short() {
    let lines = page("README.md").lines().count();
    assert!(lines <= MAX_README_LINES, "{lines} lines: move something to docs/");
}

#[test]
fn every_command_and_exit_code_is_there() {
    let readme = page("README.md");
    for word in [
        "make reproduce",
        "make test",
        "make report",
        "make smoke",
        "make crosscheck",
        "TORCH_PYTHON",
        "bgm check --sample",
        "bgm store prune",
    ] {
        assert!(readme.contains(word), "{word}");
    }
    let codes = page("docs/ci.md");
    for code in ["| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 4 |", "| 70 |", "| 75 |"] {
        assert!(codes.contains(code), "exit code {code}");
    }
}

/// Scripts and documents name make's targets; those that are gone must not be named.
#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = page("Makefile");
    let targets: Vec<&str> = makefile
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|line| line.split_once(':').map(|(target, _)| target))
        .collect();
    for (path, page) in pages() {
        for code in page.split('`').skip(1).step_by(2) {
            let Some(rest) = code.strip_prefix("make ") else { continue };
            let named = rest.split_whitespace().next().unwrap();
            assert!(targets.contains(&named), "{}: `make {named}`", path.display());
        }
    }
}

#[test]
fn every_experiment_and_profile_is_named() {
    let experiments = page("docs/experiments.md");
    for folder in ["paper_tables", "paper_tables/profiles"] {
        for entry in std::fs::read_dir(repository().join(folder)).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if let Some(id) = name.strip_suffix(".toml") {
                let named = experiments.contains(&format!("`{id}`"));
                assert!(named, "{folder}/{name} is not in docs/experiments.md");
            }
        }
    }
}

/// The targets of `[text](target)` and `![text](target)`, outside code.
fn links(markdown: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(markdown) {
        let mut rest = line.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else { break };
            links.push(target.to_owned());
            rest = after;
        }
    }
    links
}

/// The lines outside of fenced blocks, without `code`.
fn prose(markdown: &str) -> Vec<String> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push(line.split('`').step_by(2).collect());
        }
    }
    lines
}

/// The anchors of a page's headings, as GitHub makes them: lower case, without punctuation,
/// spaces as hyphens, and `-1`, `-2`, ... behind a repeated one.
fn anchors(markdown: &str) -> Vec<String> {
    let mut anchors = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut fenced = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let heading = line.trim_start_matches('#');
        if fenced || heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let anchor: String = heading.trim().to_lowercase().chars().filter(kept).collect();
        let anchor = anchor.replace(' ', "-");
        let before = seen.entry(anchor.clone()).or_default();
        anchors.push(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    anchors
}

/// Everything that is wrong with the relative links of a page at `path` below `root`.
fn broken(root: &Path, path: &Path, markdown: &str) -> Vec<String> {
    let mut broken = Vec::new();
    for link in links(markdown) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
        let target = if file.is_empty() {
            root.join(path)
        } else {
            root.join(path).parent().unwrap().join(file)
        };
        if !target.exists() {
            broken.push(format!("{}: {link}: no such file", path.display()));
        } else if !anchor.is_empty() {
            let page = std::fs::read_to_string(&target).unwrap_or_default();
            if !anchors(&page).iter().any(|known| known == anchor) {
                broken.push(format!("{}: {link}: no such heading", path.display()));
            }
        }
    }
    broken
}

#[test]
fn every_relative_link_leads_somewhere() {
    let (mut found, mut all) = (Vec::new(), 0);
    for (path, page) in pages() {
        found.extend(broken(&repository(), &path, &page));
        all += links(&page).len();
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(all > 40, "only {all} links were found: is the reader of links broken?");
}

/// The index of the README has every page.
#[test]
fn every_page_is_in_the_index() {
    let indexed = links(&page("README.md"));
    for path in pages().keys().filter(|path| path.starts_with("docs")) {
        let path = path.to_str().unwrap();
        assert!(indexed.iter().any(|link| link == path), "{path} is not in the README's index");
    }
}

/// The checker itself: it finds what is broken, and only that.
#[test]
fn broken_links_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let page = "# One *two*: `three`, 4x\n## Same\n## Same\n\
        [a](#one-two-three-4x) [b](#same-1) [c](other.md) [d](other.md#there) `[x](nowhere.md)`\n\
        [e](https://example.org/nowhere)\n```sh\n# [f](nowhere.md)\n```\n";
    std::fs::write(folder.path().join("other.md"), "## There\n").unwrap();
    std::fs::write(folder.path().join("page.md"), page).unwrap();
    let path = Path::new("page.md");
    assert_eq!(broken(folder.path(), path, page), Vec::<String>::new());
    for wrong in
        ["[a](gone.md)", "![a](gone.svg)", "[a](other.md#gone)", "[a](#gone)", "[a](#same-2)"]
    {
        let page = format!("{page}{wrong} [c](other.md)\n");
        std::fs::write(folder.path().join("page.md"), &page).unwrap();
        let found = broken(folder.path(), path, &page);
        assert_eq!(found.len(), 1, "{wrong}: {found:?}");
    }
}
