//! A new experiment is one TOML file in `paper_tables/` and no code.

mod common;

use common::{Workplace, code_blocks, copy_folder, repository, text};

/// The one of docs/extend.md.
fn file() -> String {
    code_blocks("extend.md", "toml").swap_remove(0)
}

#[test]
fn one_file_is_enough() {
    let place = Workplace::new();
    let tables = place.path("paper_tables");
    copy_folder(&repository().join("paper_tables"), &tables);
    std::fs::write(tables.join("batch_size.toml"), file()).unwrap();
    let out = place.path("out");
    let output = place.bgm(&[
        "--tables",
        tables.to_str().unwrap(),
        "--profile",
        "smoke",
        "--only",
        "batch_size",
        "reproduce",
        "--out",
        out.to_str().unwrap(),
    ]);
    // Not blessed yet, so not complete.
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let table = std::fs::read_to_string(out.join("tables/batch_size.csv")).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(out.join("figures/batch_size.png").exists());
    let report = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(report.contains("Test accuracy over the batch size"));
}

#[test]
fn mistakes_in_the_file_are_named() {
    for (from, to, words) in [
        ("render =", "rendering =", &["batch_size.toml", "rendering"][..]),
        (
            "\"train.batch_size\" = 10",
            "\"train.batchsize\" = 10",
            &["batch_size.toml", "batchsize"],
        ),
        ("\"train.batch_size\" = 10", "\"train.batch_size\" = 0", &["batch_size", "at least 1"]),
        (
            "render = { kind = \"line\", x = \"batch\" }",
            "render = { kind = \"profile\", panel = [{ title = \"One\", measure = \"course\", \
             only = \"nowhere\", x = \"epoch\", x_label = \"\", y = \"test_loss\", y_label = \"\" }] }",
            &["batch_size", "'One'", "only"],
        ),
        ("base = \"image\"", "base = \"sound\"", &["base.sound"]),
    ] {
        let place = Workplace::new();
        let tables = place.path("paper_tables");
        copy_folder(&repository().join("paper_tables"), &tables);
        std::fs::write(tables.join("batch_size.toml"), file().replace(from, to)).unwrap();
        let tables = tables.to_str().unwrap();
        let output = place.bgm(&["--tables", tables, "--only", "batch_size", "plan"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        for word in words {
            assert!(said.contains(word), "'{word}' is not in: {said}");
        }
    }
}
