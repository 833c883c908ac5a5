//! `bgm store prune`: what no declaration needs goes, and nothing else.

mod common;

use bad_global_minima::spec::{DataSpec, Key, Numerics, RunSpec};
use bad_global_minima::store::lock::Silence;
use bad_global_minima::store::{Finished, Store, paths};
use common::{Workplace, repository, small_run, text, toy_chain, toy_run};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A store with all that a tiny experiment needs, and more.
struct Cluttered {
    place: Workplace,
    tables: String,
    needed: BTreeSet<Key>,
    /// Parent and child of a chain that nothing declares.
    clutter: [Key; 2],
}

impl Cluttered {
    fn new() -> Cluttered {
        let place = Workplace::new();
        // Nothing but the tiny experiment: profiles that inherit need the base of all.
        let (tables, tiny) = (place.path("tables"), repository().join("tests/tiny"));
        std::fs::create_dir_all(tables.join("profiles")).unwrap();
        std::fs::copy(tiny.join("tiny.toml"), tables.join("tiny.toml")).unwrap();
        let profile = std::fs::read_to_string(tiny.join("profile.toml")).unwrap();
        let shown = repository().join("paper_tables/profiles");
        for name in ["default.toml", "smoke.toml"] {
            std::fs::copy(shown.join(name), tables.join("profiles").join(name)).unwrap();
        }
        for name in std::fs::read_dir(repository().join("paper_tables")).unwrap().flatten() {
            if name.path().is_file() {
                std::fs::copy(name.path(), tables.join(name.file_name())).unwrap();
            }
        }
        common::copy_folder(&repository().join("paper_tables/shared"), &tables.join("shared"));
        std::fs::write(tables.join("profiles/tiny.toml"), profile).unwrap();
        let tables = tables.to_str().unwrap().to_owned();
        let out = place.path("out");
        // Another seed of a declared cell is needed, too.
        for seeds in ["1", "7..8"] {
            let made = place.bgm(&[
                "--tables",
                &tables,
                "--profile",
                "tiny",
                "--seeds",
                seeds,
                "reproduce",
                "--out",
                out.to_str().unwrap(),
            ]);
            assert!(matches!(made.status.code(), Some(0 | 3)), "{}", text(&made.stderr));
        }
        let needed = Store::open(place.path("runs")).unwrap().keys().unwrap().into_iter().collect();
        let chain = toy_chain(3, 4);
        let parent = place.run(&place.spec_file("parent.json", chain.parent().unwrap())).0;
        let child = place.run(&place.spec_file("child.json", &chain)).0;
        let clutter = [parent.parse().unwrap(), child.parse().unwrap()];
        Cluttered { place, tables, needed, clutter }
    }

    fn store(&self) -> Store {
        Store::open(self.place.path("runs")).unwrap()
    }

    fn keys(&self) -> BTreeSet<Key> {
        self.store().keys().unwrap().into_iter().collect()
    }

    /// Exit code, and what was said.
    fn prune(&self, options: &[&str]) -> (Option<i32>, String) {
        let arguments = [&["--tables", &self.tables, "store", "prune"], options].concat();
        let output = self.place.bgm(&arguments);
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Stores a run as if it had been made of data with this hash, by the numerics of its spec.
    fn stored(&self, spec: &RunSpec, data: &str) -> Key {
        let store = self.store();
        let made = store.read(&self.clutter[0]).unwrap();
        let key = Key::of(spec, &|_| data.to_owned());
        let finished = Finished {
            key: &key,
            spec,
            metrics: &made.metrics,
            weights: &made.weights(None).unwrap(),
            snapshots: &BTreeMap::new(),
            environment: &made.environment,
        };
        store.commit(&finished).unwrap();
        key
    }
}

/// What the toy's data are in a key.
const TOY: &str = "generated from the spec";

#[test]
fn what_nothing_needs_is_listed_first_and_goes_when_asked() {
    let here = Cluttered::new();
    let root = here.place.path("runs");
    // A run that was begun, a measurement that nobody asks for, a damaged run that was kept.
    let begun = toy_run(9);
    let key = Key::of(&begun, &|_| TOY.to_owned());
    here.store().begin(&key, &begun).unwrap();
    let measured = here.needed.iter().map(|key| paths::measured(&root, key));
    let measured: PathBuf = measured.into_iter().find(|folder| folder.exists()).unwrap();
    let kept: Vec<_> = std::fs::read_dir(&measured).unwrap().flatten().collect();
    let asked_for_once = measured.join("0123456789abcdef.json");
    std::fs::copy(kept[0].path(), &asked_for_once).unwrap();
    let aside = paths::damaged(&root, &here.clutter[0], 0);
    std::fs::create_dir_all(&aside).unwrap();
    std::fs::write(aside.join(paths::SPEC), "{}").unwrap();

    let all = here.keys();
    let (code, said) = here.prune(&[]);
    assert_eq!(code, Some(0), "{said}");
    let gone = [
        paths::run(&root, &here.clutter[0]),
        paths::run(&root, &here.clutter[1]),
        paths::partial(&root, &key),
        asked_for_once,
        aside,
    ];
    for path in &gone {
        assert!(said.contains(&path.display().to_string()) && path.exists(), "{said}");
    }
    assert!(said.contains("5 not needed") && said.contains("--yes"), "{said}");
    assert!(
        here.needed
            .iter()
            .all(|key| !said.contains(&format!("run  {}", root.join(key.as_str()).display())))
    );
    assert_eq!(here.keys(), all);

    let (code, said) = here.prune(&["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(gone.iter().all(|path| !path.exists()), "{said}");
    assert_eq!(here.keys(), here.needed);
    assert!(kept[0].path().exists());
    for key in &here.needed {
        here.store().read(key).unwrap();
    }
    let (code, said) = here.prune(&["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("everything is needed"), "{said}");
    // Nothing of its own is left.
    let left = std::fs::read_dir(&root).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|n| n.ends_with(".partial") || n.ends_with(".lock")), "{left:?}");
}

#[test]
fn a_run_that_somebody_works_on_and_the_one_before_it_are_left_alone() {
    let here = Cluttered::new();
    let store = here.store();
    let [parent, child] = &here.clutter;
    let guard = store.try_lock(child, &mut Silence::default()).unwrap().unwrap();
    let (code, said) = here.prune(&["--yes"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains(child.as_str()) && said.contains(parent.as_str()), "{said}");
    assert!(store.read(parent).is_ok() && store.read(child).is_ok());
    drop(guard);
    assert_eq!(here.prune(&["--yes"]).0, Some(0));
    assert_eq!(here.keys(), here.needed);
}

#[test]
fn what_another_process_has_removed_meanwhile_is_passed_over() {
    let here = Cluttered::new();
    let store = here.store();
    let listed: Vec<_> = store
        .parts()
        .unwrap()
        .into_iter()
        .filter(|part| here.clutter.contains(&part.key))
        .collect();
    let bytes: u64 = listed.iter().map(|part| part.bytes).sum();
    let nobody = |_: &Key| Vec::new();
    let first = store.prune(&listed, &nobody).unwrap();
    assert_eq!((first.removed, first.bytes), (listed.len(), bytes));
    let second = store.prune(&listed, &nobody).unwrap();
    assert_eq!((second.removed, second.bytes, second.busy.len()), (0, 0, 0));
    let left = std::fs::read_dir(here.place.path("runs")).unwrap().flatten();
    assert!(left.map(|e| e.file_name()).all(|name| !name.to_string_lossy().ends_with(".partial")));
}

#[test]
fn runs_of_other_numerics_go_only_when_asked() {
    let here = Cluttered::new();
    let store = here.store();
    let gpu: Numerics = "libtorch 2.11.0 cuda X".parse().unwrap();
    let declared = store.read(here.needed.iter().next().unwrap()).unwrap().spec;
    let needed = here.stored(&declared.with_numerics(&gpu), TOY);
    let clutter = here.stored(&toy_run(3).with_numerics(&gpu), TOY);
    let (code, said) = here.prune(&["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("other numerics ('libtorch 2.11.0 cuda X')"), "{said}");
    assert!(here.keys().contains(&needed) && here.keys().contains(&clutter));
    let (code, said) = here.prune(&["--yes", "--other-numerics"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(here.keys().contains(&needed), "a declared cell's, whoever computed it");
    assert!(!here.keys().contains(&clutter));
}

#[test]
fn runs_go_whose_data_are_others_and_stay_where_the_data_are_not_known() {
    let here = Cluttered::new();
    let declared = here.store().read(here.needed.iter().next().unwrap()).unwrap().spec;
    let outdated = here.stored(&declared, "other points");
    let mut far = small_run();
    if let DataSpec::Images(images) = &mut far.data {
        images.dataset = "cifar-10".to_owned(); // its hash is known once it is prepared
    }
    let far = here.stored(&far, "the images of another machine");
    let (code, said) = here.prune(&["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("cannot be told without their data, 'cifar-10'"), "{said}");
    assert!(here.keys().contains(&far) && !here.keys().contains(&outdated), "{said}");
}
