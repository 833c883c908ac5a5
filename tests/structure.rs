//! The files of `src/` import each other in one direction only, and none grows without end.
//!
//! Read from the text alone: `use` lines and all other paths, outside of comments, texts and test
//! modules. A name that a module passes on (`pub use`) also leads to the file that it comes from.
//! A module and the files below it may use each other: arrows between them count in one
//! direction at a time. A path in a module within a file is read as if it stood in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 400;

/// A file and what it uses.
struct Source {
    name: String,
    lines: usize,
    /// From the root of the crate, as in `["data", "files"]`.
    module: Vec<String>,
    /// Paths from the root of the crate. One of another crate begins with the own module.
    uses: Vec<Vec<String>>,
    /// What names of `use` lines stand for.
    aliases: BTreeMap<String, Vec<String>>,
}

/// Words, `::` and single characters of code, without comments, texts and test modules.
fn tokens(code: &str) -> Vec<String> {
    let c: Vec<char> = code.chars().collect();
    let at = |i: usize| c.get(i).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut out, mut i): (Vec<String>, usize) = (Vec::new(), 0);
    while i < c.len() {
        let hashes = (i + 1..).take_while(|&j| at(j) == '#').count();
        if at(i) == '/' && at(i + 1) == '/' {
            i += (i..c.len()).take_while(|&j| at(j) != '\n').count();
        } else if at(i) == '/' && at(i + 1) == '*' {
            let end = (i..c.len()).find(|&j| at(j) == '*' && at(j + 1) == '/');
            i = end.unwrap_or(c.len()) + 2;
        } else if at(i) == 'r' && at(i + 1 + hashes) == '"' && (i == 0 || !is_word(at(i - 1))) {
            let closes = |j: usize| at(j) == '"' && (1..=hashes).all(|k| at(j + k) == '#');
            i = (i + 2 + hashes..c.len()).find(|&j| closes(j)).unwrap_or(c.len()) + 1 + hashes;
        } else if at(i) == '"' || at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            let quote = at(i);
            i += 1;
            while i < c.len() && at(i) != quote {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
        } else if is_word(at(i)) {
            let length = (i..c.len()).take_while(|&j| is_word(at(j))).count();
            out.push(c[i..i + length].iter().collect());
            i += length;
        } else if at(i) == ':' && at(i + 1) == ':' {
            out.push("::".into());
            i += 2;
        } else {
            if !at(i).is_whitespace() {
                out.push(at(i).into());
            }
            i += 1;
        }
    }
    let test = ["#", "[", "cfg", "(", "test", ")", "]"];
    while let Some(start) = out.windows(test.len()).position(|w| w == test) {
        let (mut end, mut depth) = (start + test.len(), 0);
        while end < out.len() {
            depth += (out[end] == "{") as i32 - (out[end] == "}") as i32;
            end += 1;
            if depth == 0 && matches!(out[end - 1].as_str(), "}" | ";") {
                break;
            }
        }
        out.drain(start..end);
    }
    out
}

/// Reads what follows `before` at token `i`: a path, or a tree of them in braces. Gives each with
/// its name here, and where they end.
fn tree(
    tokens: &[String],
    mut i: usize,
    before: &[String],
    out: &mut Vec<(String, Vec<String>)>,
) -> usize {
    let get = |i: usize| tokens.get(i).map_or("", String::as_str);
    let mut path = before.to_vec();
    loop {
        match get(i) {
            "{" => {
                while !matches!(get(i), "}" | "") {
                    i = tree(tokens, i + 1, &path, out);
                }
                return i + 1;
            }
            "self" => {}
            word if word.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                path.push(word.to_owned());
            }
            other => {
                out.push((String::new(), path));
                return i + usize::from(other == "*");
            }
        }
        if get(i + 1) != "::" {
            let is_renamed = get(i + 1) == "as";
            let name = if is_renamed { get(i + 2) } else { path.last().map_or("", |s| s) };
            out.push((name.to_owned(), path));
            return i + if is_renamed { 3 } else { 1 };
        }
        i += 2;
    }
}

impl Source {
    fn read(name: String, module: Vec<String>, code: &str) -> Source {
        let tokens = tokens(code);
        let get = |i: usize| tokens.get(i).map_or("", String::as_str);
        let (mut uses, mut aliases, mut i) = (Vec::new(), BTreeMap::new(), 0);
        while i < tokens.len() {
            let is_use = get(i) == "use";
            i += usize::from(is_use);
            if !is_use && get(i + 1) != "::" {
                i += 1;
                continue;
            }
            let (start, mut base, mut found) = (i, module.clone(), Vec::new());
            if get(i) == "crate" {
                base.clear();
            }
            while matches!(get(i), "crate" | "self" | "super") {
                if get(i) == "super" {
                    base.pop();
                }
                i += 2;
            }
            i = tree(&tokens, i, &base, &mut found).max(start + 1);
            uses.extend(found.iter().map(|(_, path)| path.clone()));
            aliases.extend(found.into_iter().filter(|(name, _)| is_use && !name.is_empty()));
        }
        Source { name, lines: code.lines().count(), module, uses, aliases }
    }

    fn is_above(&self, other: &Source) -> bool {
        self.module.len() < other.module.len() && other.module.starts_with(&self.module)
    }
}

/// All files below `folder`, sorted by name.
fn read_all(folder: &Path) -> Vec<Source> {
    let (mut folders, mut sources) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder of sources") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(folder).expect("below").display().to_string();
                let stem = name.trim_end_matches(".rs").trim_end_matches("/mod");
                let module = stem.split('/').filter(|s| *s != "lib").map(str::to_owned).collect();
                let code = std::fs::read_to_string(&path).expect("a source");
                sources.push(Source::read(name, module, &code));
                if path.ends_with("tests.rs") {
                    sources.last_mut().expect("it").uses.clear();
                }
            }
        }
    }
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    sources
}

/// The files that a path leads through: that of its module, and those that this one has the name
/// from.
fn targets(sources: &[Source], mut path: Vec<String>) -> Vec<usize> {
    let mut files = Vec::new();
    while files.len() < 8 {
        let file = |length: usize| sources.iter().position(|s| s.module == path[..length]);
        let Some(length) = (0..=path.len()).rev().find(|&n| file(n).is_some()) else { break };
        files.extend(file(length));
        let source = &sources[files[files.len() - 1]];
        let onward = path.get(length).and_then(|name| source.aliases.get(name));
        let Some(onward) = onward else { break };
        path = [onward, &path[length + 1..]].concat();
    }
    files
}

/// Which file takes which names from which.
fn arrows(sources: &[Source]) -> BTreeMap<(usize, usize), BTreeSet<&str>> {
    let mut arrows: BTreeMap<(usize, usize), BTreeSet<&str>> = BTreeMap::new();
    for (from, source) in sources.iter().enumerate() {
        for path in &source.uses {
            for to in targets(sources, path.clone()).into_iter().filter(|&to| to != from) {
                arrows.entry((from, to)).or_default().extend(path.last().map(String::as_str));
            }
        }
    }
    arrows
}

/// Each circle in words: its files, and what ties them.
fn circles(sources: &[Source]) -> BTreeSet<String> {
    let all = arrows(sources);
    let down = |&(from, to): &(usize, usize)| !sources[to].is_above(&sources[from]);
    let up = |&(from, to): &(usize, usize)| !sources[from].is_above(&sources[to]);
    let mut circles = BTreeSet::new();
    for counts in [&down as &dyn Fn(&(usize, usize)) -> bool, &up] {
        let kept: Vec<_> = all.keys().copied().filter(counts).collect();
        let reached = |start: usize| {
            let (mut seen, mut todo) = (BTreeSet::new(), vec![start]);
            while let Some(file) = todo.pop() {
                let next = kept.iter().filter(|(from, _)| *from == file).map(|&(_, to)| to);
                todo.extend(next.filter(|&to| seen.insert(to)));
            }
            seen
        };
        let reached: Vec<BTreeSet<usize>> = (0..sources.len()).map(reached).collect();
        for start in (0..sources.len()).filter(|start| reached[*start].contains(start)) {
            let tied =
                |file: usize| reached[start].contains(&file) && reached[file].contains(&start);
            let ties = kept.iter().filter(|&&(from, to)| tied(from) && tied(to));
            let line = |&(from, to): &(usize, usize)| {
                let names: Vec<&str> = all[&(from, to)].iter().copied().collect();
                format!("\n  {} -> {}: {}", sources[from].name, sources[to].name, names.join(", "))
            };
            circles.insert(ties.map(line).collect());
        }
    }
    circles
}

fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| ".".into(), PathBuf::from)
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources = read_all(&root().join("src"));
    assert!(arrows(&sources).len() > 500, "the imports are not read");
    let circles: Vec<String> = circles(&sources).into_iter().collect();
    assert!(circles.is_empty(), "files that import each other:\n{}", circles.join("\n"));
}

/// The list of floors in `src/lib.rs`: each imports only what is listed after it.
#[test]
fn floors_import_only_what_is_below_them() {
    let sources = read_all(&root().join("src"));
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let (_, list) = text.split_once("listed after it:").expect("a list of floors");
    let list = list.split_once('.').expect("its end").0;
    let floors: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    let floor = |file: usize| {
        floors.iter().position(|f| sources[file].module.first().is_some_and(|m| m == f))
    };
    for (file, source) in sources.iter().enumerate() {
        let is_listed = floor(file).is_some() || ["lib.rs", "main.rs"].contains(&&*source.name);
        assert!(is_listed, "{} stands on no floor of src/lib.rs", source.name);
    }
    for ((from, to), names) in arrows(&sources) {
        let (above, below) = (&sources[from].name, &sources[to].name);
        assert!(
            floor(from) <= floor(to),
            "{above} imports {names:?} from {below}, a floor above it"
        );
    }
}

#[test]
fn no_file_is_too_long() {
    let sources = read_all(&root().join("src"));
    let long = sources.iter().filter(|source| source.lines > MAX_LINES);
    let long: Vec<String> = long.map(|s| format!("{}: {} lines", s.name, s.lines)).collect();
    assert!(long.is_empty(), "split what has more than {MAX_LINES} lines: {long:?}");
}

#[test]
fn unsafe_code_is_in_three_places_only() {
    let cargo = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let cargo: toml::Table = cargo.parse().expect("Cargo.toml is TOML");
    assert_eq!(cargo["lints"]["rust"]["unsafe_code"].as_str(), Some("deny"));
    let sources = read_all(&root().join("src"));
    let is_excepted = |source: &&Source| {
        let text = std::fs::read_to_string(root().join("src").join(&source.name));
        text.expect("a source file").contains("(unsafe_code)")
    };
    let excepted: Vec<&str> = sources.iter().filter(is_excepted).map(|s| &*s.name).collect();
    // The processor's vectors, mapped files, and calls of libtorch.
    assert_eq!(excepted, ["data/map.rs", "engine/kernels/mod.rs", "torch/ffi.rs"]);
}

#[test]
fn a_circle_is_found_and_nothing_else() {
    let folder = std::env::temp_dir().join(format!("bgm-structure-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("b")).expect("a temporary folder");
    let write = |name: &str, code: &str| {
        std::fs::write(folder.join(name), code).expect("a temporary file");
    };
    write("lib.rs", "pub mod a; pub mod b; pub mod c;");
    // What `a` takes from `b` comes from `b/deep.rs`.
    write("a.rs", "use crate::{c, b::{\n    self, Thing as Other}};\npub const A: u8 = c::C;");
    write("b.rs", "mod deep;\npub use deep::Thing;\npub struct Own;");
    write("b/deep.rs", "use super::Own;\npub struct Thing(Own);");
    let harmless = "/* use crate::a::A; */ pub const C: u8 = b'\"'; // crate::a\n\
                    const T: [&str; 2] = [r#\"\"crate::a::A\"#, \"\\\"crate::a::A\"];\n\
                    #[cfg(test)]\nmod tests { use crate::a::A; fn f() { let _ = A; } }\n";
    write("c.rs", harmless);
    let none = circles(&read_all(&folder));
    write("b/deep.rs", "pub struct Thing([u8; crate::a::A as usize]);");
    let one = circles(&read_all(&folder));
    std::fs::remove_dir_all(&folder).expect("the temporary folder");
    assert!(none.is_empty(), "{none:?}");
    let all: String = one.into_iter().collect();
    assert!(all.contains("a.rs -> b/deep.rs: Thing"), "{all}");
    assert!(all.contains("b/deep.rs -> a.rs: A"), "{all}");
}
