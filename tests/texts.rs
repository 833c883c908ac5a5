//! Texts, names and sizes of declarations: what would damage a report, a terminal or the
//! machine is refused when it is read, by the name of the file and the field.

mod common;

use common::{Workplace, copy_folder, repository, text, toy_run};
use serde_json::{Value, json};
use std::fs;
use std::process::Output;

/// The repository's declarations and claims with one file changed or added.
struct Declared {
    place: Workplace,
}

impl Declared {
    fn new() -> Declared {
        let place = Workplace::new();
        for folder in ["paper_tables", "expected"] {
            copy_folder(&repository().join(folder), &place.path(folder));
        }
        fs::copy(repository().join("tests/tiny/tiny.toml"), place.path("paper_tables/tiny.toml"))
            .unwrap();
        let profile = repository().join("tests/tiny/profile.toml");
        fs::copy(profile, place.path("paper_tables/profiles/tiny.toml")).unwrap();
        Declared { place }
    }

    fn with(self, name: &str, content: &str) -> Declared {
        fs::write(self.place.path(name), content).unwrap();
        self
    }

    /// Changes a file where it says `from`.
    fn changed(self, name: &str, from: &str, to: &str) -> Declared {
        let text = fs::read_to_string(self.place.path(name)).unwrap();
        assert!(text.contains(from), "{name}");
        self.with(name, &text.replacen(from, to, 1))
    }

    fn bgm(&self, arguments: &[&str]) -> Output {
        let mut command = self.place.command(&["--profile", "tiny"]);
        command.arg("--tables").arg(self.place.path("paper_tables"));
        command.arg("--expected").arg(self.place.path("expected"));
        command.args(arguments).output().expect("bgm starts")
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], words: &[&str]) {
        let output = self.bgm(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for word in words {
            assert!(said.contains(word), "'{word}' is not in: {said}");
        }
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!said.contains(control), "it reaches the terminal: {said:?}");
    }
}

const TINY: &str = "paper_tables/tiny.toml";
const PROFILE: &str = "paper_tables/profiles/tiny.toml";

#[test]
fn control_characters_are_refused_when_they_are_read() {
    let plan = &["plan"][..];
    Declared::new()
        .changed(TINY, "\"Tiny\"", "\"Ti\\u0007ny\"")
        .refused(plan, &["tiny.toml", "title", "U+0007"]);
    Declared::new()
        .changed(TINY, "\"Adversarial\"", "\"\\u001b[2J\"")
        .refused(plan, &["tiny.toml", "axis[0].level[1].label", "U+001B"]);
    Declared::new()
        .changed(PROFILE, "Toy runs", "Toy\\u009bruns")
        .refused(plan, &["profiles/tiny.toml", "summary", "U+009B"]);
    let claims = Declared::new().changed("expected/claims.toml", "From an", "\\u001b[31mFrom an");
    fs::create_dir(claims.place.path("runs")).unwrap();
    claims.refused(&["verify"], &["claims.toml", "claim[0].statement", "U+001B"]);
}

#[test]
fn messages_escape_what_they_quote() {
    let only = "\u{1b}[31mred";
    Declared::new().refused(&["plan", "--only", only], &["\\u{1b}[31mred"]);
}

#[test]
fn an_experiment_is_called_as_files_and_labels_can_be() {
    for name in ["claims", "a%b", "a b", "ä", "a\\b"] {
        let declaration = fs::read_to_string(repository().join("tests/tiny/tiny.toml")).unwrap();
        let path = format!("paper_tables/{name}.toml");
        Declared::new()
            .with(&path, &declaration)
            .refused(&["plan", "--only", name], &[&format!("{name}.toml")]);
    }
}

#[test]
fn folders_that_are_not_there_are_named() {
    let place = Workplace::new();
    let nowhere = place.path("nowhere");
    let output = place.bgm(&["plan", "--tables", nowhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("nowhere/profiles"), "{}", text(&output.stderr));
    fs::create_dir(place.path("runs")).unwrap();
    let output = place.bgm(&["verify", "--expected", nowhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("nowhere/claims.toml"), "{}", text(&output.stderr));
}

#[test]
fn a_grid_too_large_for_the_memory_is_refused_before_it_is_made() {
    let mut declaration = "title = ''\nsummary = ''\nsource = ''\nbase = 'toy'\n".to_owned();
    for axis in 0..12 {
        declaration += &format!("[[axis]]\nname = 'a{axis}'\nlabel = 'a'\n");
        for level in 0..10 {
            declaration += &format!("[[axis.level]]\nid = 'l{level}'\nlabel = ''\n");
        }
    }
    declaration += "[[metric]]\nname = 'test_loss'\nlabel = ''\n[render]\nkind = 'table'\n";
    Declared::new()
        .with("paper_tables/huge.toml", &declaration)
        .refused(&["plan", "--only", "huge"], &["huge.toml", "1000000000000 cells"]);
}

#[test]
fn a_field_too_deep_for_the_stack_is_refused() {
    let deep = format!("\"{}x\"", "x.".repeat(200_000));
    Declared::new()
        .changed(TINY, "\"init.kind\"", &deep)
        .refused(&["plan"], &["tiny.toml", "16 parts"]);
}

#[test]
fn numbers_too_large_for_the_memory_are_refused_by_field() {
    let refused = |change: &dyn Fn(&mut Value), words: &[&str]| {
        let place = Workplace::new();
        let mut spec = serde_json::to_value(toy_run(2)).unwrap();
        change(&mut spec);
        let path = place.path("spec.json");
        fs::write(&path, spec.to_string()).unwrap();
        let output = place.bgm(&["run", path.to_str().unwrap()]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for word in words {
            assert!(said.contains(word), "'{word}' is not in: {said}");
        }
    };
    let most = u32::MAX;
    refused(
        &|s| s["data"]["toy"]["points_per_class"] = json!(most),
        &["data.toy.points_per_class"],
    );
    refused(
        &|s| s["train"]["corruption"]["replication"] = json!(most),
        &["train.corruption.replication", "at most 1000"],
    );
    refused(
        &|s| s["train"]["noise_copies"] = json!({ "copies": most, "std": 0.1 }),
        &["train.noise_copies.copies", "at most 1000"],
    );
    refused(
        &|s| {
            s["data"]["toy"]["points_per_class"] = json!(1_000_000);
            s["train"]["corruption"]["replication"] = json!(1000);
        },
        &["2000000 examples, 1000 copies of each", "100 million"],
    );
}

/// A batch larger than the data set is the whole data set.
#[test]
fn a_batch_larger_than_the_data_takes_no_more_memory_than_the_data() {
    let place = Workplace::new();
    let mut spec = toy_run(2);
    spec.train.batch_size = u32::MAX;
    place.run(&place.spec_file("spec.json", &spec));
}

#[test]
fn runs_of_two_precisions_have_two_keys() {
    let tf32 = "set = { \"precision\" = \"tf32\", \"init.kind\" = \"random\" }";
    let declared = Declared::new().changed(TINY, "set = { \"init.kind\" = \"adversarial\" }", tf32);
    let output = declared.bgm(&["plan", "--format", "json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["runs"].as_array().unwrap().len(), 2);
}
