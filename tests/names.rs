//! Nothing passes for nothing: a name that matches nothing, a number out of its range and a
//! thing that stands twice are errors that name the file and the field, and what was blessed
//! and is judged no longer leaves a verification incomplete.

mod common;

use common::{Workplace, copy_folder, repository, text};

const EXPERIMENT: &str = r#"
title = "Tiny"
summary = "For tests."
source = "tests/names.rs"
base = "toy"
axis = [{ name = "lr", label = "Rate", level = [
    { id = "low", label = "0.01", value = 0.01, set = { "train.learning_rate" = 0.01 } },
    { id = "high", label = "0.1", value = 0.1, set = { "train.learning_rate" = 0.1 } },
] }]
metric = [
    { name = "test_accuracy", label = "Test accuracy", unit = "%" },
    { name = "test_loss", label = "Test loss" },
]
render = { kind = "line", x = "lr" }

[[published]]
cell = { lr = "low" }
metric = "test_accuracy"
value = 80.0
source = "made up"
"#;

const PROFILE: &str = r#"
inherits = "smoke"
experiments = ["tiny"]
seeds = { toy = 3 }
[base.toy.train]
epochs = 20
"#;

const CLAIMS: &str = r#"
[[claim]]
id = "T1"
statement = "A low rate leaves a higher loss."
source = "tests/names.rs"
counts = "about_a_control"
experiment = "tiny"
metric = "test_loss"
statistic = "low - high, test loss"
level = 0.95
margin = 0.01
margin_reason = "Made up."
require = [{ cell = { lr = "low" }, metric = "test_accuracy", at_least = 0.0 }]
[[claim.part]]
test.above = { a = { lr = "low" }, b = { lr = "high" } }
"#;

/// Declarations, profile `t`, claims and, if any, a reference.
struct Files {
    place: Workplace,
}

impl Files {
    fn new() -> Files {
        let place = Workplace::new();
        copy_folder(&repository().join("paper_tables"), &place.path("tables"));
        std::fs::create_dir_all(place.path("expected")).unwrap();
        let files = Files { place };
        files.write("tables/tiny.toml", EXPERIMENT);
        files.write("tables/profiles/t.toml", PROFILE);
        files.write("expected/claims.toml", CLAIMS);
        files
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.place.path(path), text).unwrap();
    }

    fn replace(&self, path: &str, from: &str, to: &str) {
        let before = std::fs::read_to_string(self.place.path(path)).unwrap();
        assert!(before.contains(from), "'{from}' is not in {path}");
        self.write(path, &before.replacen(from, to, 1));
    }

    /// Exit code and everything that was said.
    fn bgm(&self, arguments: &[&str]) -> (i32, String) {
        let (tables, expected) = (self.place.path("tables"), self.place.path("expected"));
        let folders = ["--tables", tables.to_str().unwrap(), "--expected"];
        let profile = ["--profile", "t", "--quiet"];
        let all = [&folders[..], &[expected.to_str().unwrap()], &profile, arguments].concat();
        let output = self.place.bgm(&all);
        let said = text(&output.stderr) + &text(&output.stdout);
        (output.status.code().expect("an exit code"), said)
    }

    /// Trains, and blesses what came out.
    fn blessed() -> Files {
        let files = Files::new();
        let out = files.place.path("out");
        let reproduce = ["reproduce", "--out", out.to_str().unwrap()];
        assert_eq!(files.bgm(&reproduce).0, 3, "not blessed yet");
        let (code, said) = files.bgm(&["bless", "--reason", "test", "--write"]);
        assert_eq!(code, 0, "{said}");
        let (code, said) = files.bgm(&["verify"]);
        assert_eq!(code, 0, "{said}");
        files
    }
}

#[test]
fn shared_axes_are_taken_by_name() {
    let files = Files::new();
    let shared = "tables/shared/axes.toml";
    let own = EXPERIMENT.split_once("axis = ").unwrap().1.split_once("\nmetric = ").unwrap().0;
    let all = std::fs::read_to_string(files.place.path(shared)).unwrap();
    let levels = own.split_once("level = ").unwrap().1.trim_end().strip_suffix(" }]").unwrap();
    let rate = format!("\n[[axis]]\nname = \"lr\"\nlabel = \"Rate\"\nlevel = {levels}\n");
    let plan = |files: &Files| {
        let (code, said) = files.bgm(&["plan", "--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        (code, said, json["runs"].clone())
    };
    let (code, said, expected) = plan(&files);
    assert_eq!(code, 0, "{said}");
    files.replace("tables/tiny.toml", own, "[{ use = \"lr\" }]");
    let (code, said, _) = plan(&files);
    assert_eq!(code, 2, "{said}");
    for word in ["tiny.toml", "'lr'", "axes.toml", "init, optimizer"] {
        assert!(said.contains(word), "'{word}' is not in: {said}");
    }
    files.write(shared, &(all.clone() + &rate));
    let (code, said, runs) = plan(&files);
    assert!(code == 0 && runs == expected, "the same runs: {said}");
    files.replace("tables/tiny.toml", "use = \"lr\"", "use = \"lr\", label = \"Rate\"");
    let (code, said, _) = plan(&files);
    assert!(code == 2 && said.contains("stands alone"), "{said}");
    files.write("tables/tiny.toml", &EXPERIMENT.replace("label = \"Rate\", ", ""));
    let (code, said, _) = plan(&files);
    assert!(code == 2 && said.contains("'lr' has no label"), "{said}");
    // A shared axis that is malformed names its own file.
    files.write("tables/tiny.toml", EXPERIMENT);
    files.replace("tables/tiny.toml", own, "[{ use = \"lr\" }]");
    files.write(shared, &all.replacen("name = \"init\"", "name = \"optimizer\"", 1));
    let (code, said, _) = plan(&files);
    assert!(code == 2 && said.contains("axes.toml") && said.contains("twice"), "{said}");
    std::fs::remove_file(files.place.path(shared)).unwrap();
    let (code, said, _) = plan(&files);
    assert!(code == 2 && said.contains("axes.toml"), "{said}");
}

/// Each edit of a file must make `verify` end with 2 and say all of the words.
fn refused(path: &str, edits: &[(&str, &str, &[&str])]) {
    for (from, to, words) in edits {
        let files = Files::new();
        files.replace(path, from, to);
        let (code, said) = files.bgm(&["verify"]);
        assert_eq!(code, 2, "{from} -> {to}: {said}");
        let file = path.rsplit('/').next().unwrap();
        for word in words.iter().chain([&file]) {
            assert!(said.contains(word), "{from} -> {to}: '{word}' is not in: {said}");
        }
    }
}

#[test]
fn names_and_numbers_of_a_claim() {
    refused(
        "expected/claims.toml",
        &[
            ("experiment = \"tiny\"", "experiment = \"tinny\"", &["T1", "experiment", "tinny"]),
            ("metric = \"test_loss\"", "metric = \"tset_loss\"", &["T1", "metric", "tset_loss"]),
            ("metric = \"test_accuracy\"", "metric = \"trian\"", &["T1", "require", "trian"]),
            ("at_least = 0.0", "at_least = nan", &["T1", "require", "at_least", "finite"]),
            ("cell = { lr = \"low\" }", "cell = { lr = \"lo\" }", &["require", "'lr'", "'lo'"]),
            ("cell = { lr = \"low\" }", "cell = { rl = \"low\" }", &["require", "'rl'"]),
            ("a = { lr = \"low\" }", "a = { lr = \"lo\" }", &["part 1", "a:", "'lo'"]),
            ("a = { lr = \"low\" }", "a = { }", &["part 1", "a:", "'lr'"]),
            ("a = { lr = \"low\" }", "a = { lr = \"high\" }", &["part 1", "same cell"]),
            ("[[claim.part]]", "[[claim.part]]\neach = [\"rate\"]", &["part 1", "each", "rate"]),
            ("[[claim.part]]", "[[claim.part]]\nmetric = \"x\"", &["part 1", "metric", "'x'"]),
            ("level = 0.95", "level = 95.0", &["T1", "level", "95", "between 0.5 and 1"]),
            ("level = 0.95", "level = 1.5", &["T1", "level", "1.5"]),
            ("level = 0.95", "level = 0.0", &["T1", "level = 0"]),
            ("level = 0.95", "level = nan", &["T1", "level", "NaN"]),
            ("margin = 0.01", "margin = nan", &["T1", "margin", "NaN"]),
            ("margin = 0.01", "margin = inf", &["T1", "margin", "inf"]),
            ("margin = 0.01", "margin = -0.01", &["T1", "margin", "at least 0"]),
            ("margin = 0.01", "margin = 0\nscale = \"ratio\"", &["T1", "margin", "above 0"]),
        ],
    );
    let test = |effect: &str| format!("test.above = {{ {effect} }}");
    let contrast = |rest: &str| test(&format!("contrast = {{ axis = \"lr\", {rest} }}"));
    let above = "test.above = { a = { lr = \"low\" }, b = { lr = \"high\" } }";
    refused(
        "expected/claims.toml",
        &[
            ("counts = \"about_a_control\"", "counts = \"for\"", &["counts", "for_the_paper"][..]),
            (", at_least = 0.0", "", &["require", "at_least"]),
            ("[[claim.part]]", "[[claim.part]]\nbeside = true", &["beside"]),
            (above, &contrast("weights = { low = 1.0, high = -0.5 }"), &["contrast", "sum to 0"]),
            (above, &contrast("weights = { low = 1.0, hi = -1.0 }"), &["contrast", "'hi'"]),
            (above, &contrast("weights = { low = 0.0, high = 0.0 }"), &["contrast", "'high'"]),
            (
                above,
                &test("a = { lr = \"low\" }, against = [{ lr = \"hi\" }]"),
                &["against", "'hi'"],
            ),
            (above, &test("a = { lr = \"low\" }, against = [{ lr = \"low\" }]"), &["same cell"]),
            (above, "test.best = { a = { lr = \"low\" }, over = [] }", &["best", "over"]),
            (above, "test.best = { a = { lr = \"low\" }, over = [\"rl\"] }", &["best", "'rl'"]),
        ],
    );
    let trend = "test.trend = { axis = \"rate\", at = {} }";
    let equivalent = "test.equivalent = { a = { lr = \"low\" }, b = { lr = \"high\" } }";
    refused("expected/claims.toml", &[(above, trend, &["part 1", "trend", "rate"])]);
    let files = Files::new();
    files.replace("expected/claims.toml", above, equivalent);
    files.replace("expected/claims.toml", "margin = 0.01", "margin = 0.0");
    let (code, said) = files.bgm(&["verify"]);
    assert!(code == 2 && said.contains("equivalence"), "{code} {said}");
    let files = Files::new();
    files.write("expected/claims.toml", &CLAIMS.repeat(2));
    let (code, said) = files.bgm(&["verify"]);
    assert!(code == 2 && said.contains("T1") && said.contains("twice"), "{code} {said}");
    let files = Files::new();
    let start = CLAIMS.find("[[claim.part]]").unwrap();
    files.write("expected/claims.toml", &(CLAIMS[..start].to_owned() + "part = []\n"));
    let (code, said) = files.bgm(&["verify"]);
    assert!(code == 2 && said.contains("part is empty"), "{code} {said}");
}

#[test]
fn names_of_a_declaration() {
    refused(
        "tables/tiny.toml",
        &[
            ("cell = { lr = \"low\" }", "cell = { lr = \"lo\" }", &["published", "'lr'", "'lo'"]),
            ("cell = { lr = \"low\" }", "cell = { rl = \"low\" }", &["published", "'rl'"]),
            ("cell = { lr = \"low\" }", "cell = { }", &["published", "'lr'"]),
            ("metric = \"test_accuracy\"", "metric = \"tset\"", &["published", "tset"]),
            ("id = \"high\"", "id = \"low\"", &["'lr'", "'low'", "twice"]),
            ("id = \"high\"", "id = \"very high\"", &["'lr'", "'very high'"]),
            ("name = \"test_loss\"", "name = \"test_accuracy\"", &["test_accuracy", "twice"]),
            ("name = \"test_loss\"", "name = \"tset_loss\"", &["metric", "tset_loss"]),
            ("name = \"test_loss\"", "name = \"b.length\"", &["metric", "measure.b"]),
            ("name = \"test_loss\"", "name = \"course.tset_loss\"", &["metric", "'tset_loss'"]),
            ("[[published]]", "measure.course = { kind = \"norms\" }\n[[published]]", &["course"]),
            ("name = \"test_loss\"", "name = \"whole_course.epochs\"", &["metric", "'epochs'"]),
            ("name = \"test_loss\"", "name = \"gap.test_loss\"", &["metric", "contrast"]),
            ("x = \"lr\"", "x = \"rl\"", &["render", "x = 'rl'"]),
            ("x = \"lr\"", "series = \"rl\"", &["render", "series", "'rl'"]),
            (
                "[[published]]",
                "contrast = { axis = \"lr\", of = \"low\", minus = \"hi\" }\n[[published]]",
                &["contrast", "'hi'"],
            ),
        ],
    );
    let files = Files::new();
    let measure = "measure.b = { kind = \"boundary\", columns = 9, reach = 3.0 }\n[[published]]";
    files.replace("tables/tiny.toml", "[[published]]", measure);
    files.replace("tables/tiny.toml", "name = \"test_loss\"", "name = \"b.lenght\"");
    let (code, said) = files.bgm(&["verify"]);
    assert!(code == 2 && said.contains("lenght") && said.contains("boundary_length"), "{said}");
}

#[test]
fn names_and_numbers_of_a_profile() {
    refused(
        "tables/profiles/t.toml",
        &[
            ("toy = 3", "toy = 0", &["at least one seed"]),
            ("toy = 3", "toys = 3", &["[seeds] toys"]),
            ("[\"tiny\"]", "[\"tinny\"]", &["experiments", "tinny"]),
            ("[\"tiny\"]", "[\"tiny\", \"tiny\"]", &["experiments", "tiny", "twice"]),
            ("[base.toy.train]", "[override.tinny]\n[base.toy.train]", &["override", "tinny"]),
            ("[base.toy.train]", "[network.resnet19]\n[base.toy.train]", &["resnet19"]),
            // What no cell of the profile uses is checked as well.
            (
                "[base.toy.train]",
                "[network.vgg16]\n\"train.epcohs\" = 3\n[base.toy.train]",
                &["network.vgg16", "epcohs"],
            ),
            (
                "[base.toy.train]",
                "[override.tiny]\n\"train.epochs.a\" = 3\n[base.toy.train]",
                &["override.tiny", "epochs.a"],
            ),
            ("[base.toy.train]", "override.tiny = 3\n[base.toy.train]", &["override.tiny"]),
            ("[base.toy.train]", "[levels.tinny]\n[base.toy.train]", &["levels", "tinny"]),
            ("[base.toy.train]", "[levels.tiny]\nrl = [\"low\"]\n[base.toy.train]", &["'rl'"]),
            ("[base.toy.train]", "[levels.tiny]\nlr = [\"lo\"]\n[base.toy.train]", &["'lo'"]),
            ("[base.toy.train]", "[levels.tiny]\nlr = []\n[base.toy.train]", &["no level"]),
            (
                "[base.toy.train]",
                "[levels.tiny]\nlr = [\"low\", \"low\"]\n[base.toy.train]",
                &["'low'", "twice"],
            ),
            ("[base.toy.train]", "[set.tinny.lr.low]\n[base.toy.train]", &["set", "tinny"]),
            ("[base.toy.train]", "[set.tiny.rl.low]\n[base.toy.train]", &["set", "'rl'"]),
            ("[base.toy.train]", "[set.tiny.lr.lo]\n[base.toy.train]", &["set", "'lo'"]),
            ("epochs = 20", "epcohs = 20", &["base.toy", "epcohs"]),
            ("inherits = \"smoke\"", "inherits = \"smok\"", &["inherits", "smok"]),
            ("inherits = \"smoke\"", "inherits = \"t\"", &["t -> t"]),
        ],
    );
    let files = Files::new();
    files.write("tables/profiles/u.toml", "inherits = \"t\"\n");
    files.replace("tables/profiles/t.toml", "inherits = \"smoke\"", "inherits = \"u\"");
    let (code, said) = files.bgm(&["verify"]);
    assert!(code == 2 && said.contains("t -> u -> t"), "{code} {said}");
    // A command with another profile is not harmed.
    let tables = files.place.path("tables");
    let output =
        files.place.bgm(&["--tables", tables.to_str().unwrap(), "--profile", "smoke", "plan"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn numbers_of_a_reference() {
    let files = Files::blessed();
    let reference = std::fs::read_to_string(files.place.path("expected/t.toml")).unwrap();
    let change = |edit: &dyn Fn(&str) -> String| {
        files.write("expected/t.toml", &edit(&reference));
        files.bgm(&["verify"])
    };
    let values = reference.lines().find(|line| line.starts_with("values = ")).unwrap();
    let (code, said) = change(&|text| text.replacen(values, "values = [nan, nan, nan]", 1));
    assert!(code == 2 && said.contains("t.toml") && said.contains("no number"), "{code} {said}");
    let (code, said) = change(&|text| text.replacen("[0, 1, 2]", "[0, 1, 1]", 1));
    assert!(code == 2 && said.contains("seeds") && said.contains("twice"), "{code} {said}");
    let (code, said) = change(&|text| text.replacen("profile = \"t\"", "profile = \"u\"", 1));
    assert!(code == 2 && said.contains("profile"), "{code} {said}");
    let block = reference.rsplit("[[value]]").next().unwrap();
    let (code, said) = change(&|text| format!("{text}\n[[value]]{block}"));
    assert!(code == 2 && said.contains("twice"), "{code} {said}");
}

#[test]
fn what_was_blessed_and_is_judged_no_longer_is_named() {
    let files = Files::blessed();
    let incomplete = |files: &Files, words: &[&str]| {
        let (code, said) = files.bgm(&["verify", "--format", "json"]);
        assert_eq!(code, 3, "{said}");
        for word in words {
            assert!(said.contains(word), "'{word}' is not in: {said}");
        }
    };
    files.write("expected/claims.toml", "");
    incomplete(&files, &["claim T1", "no longer"]);
    // Another experiment alone: nothing of this one is asked for.
    let (_, said) = files.bgm(&["--only", "fig1_toy", "verify"]);
    assert!(!said.contains("T1"), "{said}");
    files.write("expected/claims.toml", CLAIMS);

    files.replace(
        "tables/tiny.toml",
        "{ name = \"test_accuracy\", label = \"Test accuracy\", unit = \"%\" },",
        "",
    );
    let text = std::fs::read_to_string(files.place.path("tables/tiny.toml")).unwrap();
    files.write("tables/tiny.toml", &text[..text.find("[[published]]").unwrap()]);
    files.replace("expected/claims.toml", "metric = \"test_accuracy\"", "metric = \"test_loss\"");
    incomplete(&files, &["test_accuracy", "missing", "no longer"]);
    files.write("expected/claims.toml", CLAIMS);
    files.write("tables/tiny.toml", EXPERIMENT);

    files
        .write("tables/profiles/t.toml", &(PROFILE.to_owned() + "[levels.tiny]\nlr = [\"low\"]\n"));
    incomplete(&files, &["lr=high", "missing", "no longer"]);
    // Another run stands in the level's place, which the reference does not know.
    let set = "[set.tiny.lr.low]\n\"train.learning_rate\" = 0.02\n";
    files.write("tables/profiles/t.toml", &(PROFILE.to_owned() + set));
    incomplete(&files, &["lr=low", "missing"]);
    let other = PROFILE.replace("[\"tiny\"]", "[\"fig1_toy\"]");
    files.write("tables/profiles/t.toml", &other);
    incomplete(&files, &["claim T1", "lr=low", "no longer"]);
}

#[test]
fn a_run_that_diverged_is_never_within_and_is_blessed_as_excluded() {
    let files = Files::new();
    files.replace(
        "tables/tiny.toml",
        "\"train.learning_rate\" = 0.1 }",
        "\"train.learning_rate\" = 0.1, \"train.epochs\" = 24, \"train.evaluate_every\" = 10, \
         \"train.schedule\" = { multi_step = { milestones = [0.85], gamma = 1e30 } } }",
    );
    let out = files.place.path("out");
    files.bgm(&["reproduce", "--out", out.to_str().unwrap()]);
    let (code, said) = files.bgm(&["bless", "--reason", "test", "--write"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("excluded") && said.contains("lr=high"), "{said}");
    let reference = std::fs::read_to_string(files.place.path("expected/t.toml")).unwrap();
    assert!(reference.contains("excluded = [0, 1, 2]"), "{reference}");
    for reference in [&reference, &reference.replace("numerics = \"", "numerics = \"not ")] {
        files.write("expected/t.toml", reference);
        let (code, said) = files.bgm(&["verify", "--format", "json"]);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("\"excluded\"") && said.contains("diverged"), "{said}");
        let (code, _) = files.bgm(&["verify", "--strict"]);
        assert_eq!(code, 3);
    }
}

#[test]
fn values_of_another_platform_are_not_relabelled() {
    let files = Files::blessed();
    files.replace("tables/profiles/t.toml", "[\"tiny\"]", "[\"tiny\", \"tiny2\"]");
    files.write("tables/tiny2.toml", EXPERIMENT);
    files.replace("expected/t.toml", "numerics = \"", "numerics = \"other than ");
    let out = files.place.path("out");
    files.bgm(&["reproduce", "--out", out.to_str().unwrap()]);
    let only = ["--only", "tiny2", "bless", "--reason", "test", "--write"];
    let (code, said) = files.bgm(&only);
    assert!(code == 3 && said.contains("one platform") && said.contains("tiny"), "{code} {said}");
}
