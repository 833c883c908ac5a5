//! What `bgm plan --format snakemake` hands to an engine that schedules across machines.
//! `make cluster-test` lets such engines run it; here its structure is checked.

mod common;

use common::{Workplace, copy_folder, repository, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

/// Writes a plan with these options; the folder's jobs.json.
fn write(place: &Workplace, options: &[&str]) -> Value {
    let out = place.path("engine");
    let mut arguments = options.to_vec();
    arguments.extend(["plan", "--format", "snakemake", "--out", out.to_str().unwrap()]);
    let output = place.bgm(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    serde_json::from_slice(&std::fs::read(out.join("jobs.json")).unwrap()).unwrap()
}

/// The command that docs/clusters.md begins with, for a GPU that is elsewhere.
#[test]
fn the_documented_command_plans_for_a_gpu() {
    let page = std::fs::read_to_string(repository().join("docs/clusters.md")).unwrap();
    let command = page.lines().find_map(|line| line.strip_prefix("target/release/bgm ")).unwrap();
    let options = command.split_once(" plan --format snakemake").unwrap().0;
    // What stands between quotation marks is one argument.
    let options: Vec<&str> = options
        .split('"')
        .enumerate()
        .flat_map(|(place, part)| match place % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        })
        .collect();
    let plan = write(&Workplace::new(), &options);
    assert!(!jobs(&plan).is_empty());
    let without = ["--profile", "paper", "--device", "cuda", "plan"];
    let refused = Workplace::new().bgm(&without);
    // A machine that has a GPU needs no name for its numerics.
    if !refused.status.success() {
        assert_eq!(refused.status.code(), Some(4));
        assert!(text(&refused.stderr).contains("--numerics"), "{}", text(&refused.stderr));
    }
}

fn jobs(plan: &Value) -> BTreeMap<&str, &Value> {
    let jobs = plan["jobs"].as_object().unwrap();
    jobs.iter().map(|(name, job)| (name.as_str(), job)).collect()
}

fn needs(job: &Value) -> Vec<&str> {
    job["needs"].as_array().unwrap().iter().map(|need| need.as_str().unwrap()).collect()
}

fn key(name: &str) -> &str {
    let file = name.split_once('/').unwrap().1;
    file.strip_suffix(".measure").unwrap_or(file)
}

/// All jobs before a job, by way of others too.
fn before<'a>(jobs: &BTreeMap<&str, &'a Value>, name: &str, seen: &mut BTreeSet<&'a str>) {
    for need in needs(jobs[name]) {
        if seen.insert(need) {
            before(jobs, need, seen);
        }
    }
}

#[test]
fn every_run_is_one_job_that_waits_for_its_parent() {
    let place = Workplace::new();
    let smoke = ["--profile", "smoke"];
    let plan = write(&place, &[&smoke[..], &["--device", "cpu"]].concat());
    let mut arguments = smoke.to_vec();
    arguments.extend(["plan", "--format", "json"]);
    let listed: Value = serde_json::from_slice(&place.bgm(&arguments).stdout).unwrap();
    let jobs = jobs(&plan);
    let by_key: BTreeMap<&str, &str> = jobs.keys().map(|name| (key(name), *name)).collect();
    let runs = listed["runs"].as_array().unwrap();
    assert_eq!((by_key.len(), jobs.len()), (runs.len(), runs.len()));
    for run in runs {
        let name = by_key[run["key"].as_str().unwrap()];
        let parents: Vec<&str> = run["parents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|parent| by_key[parent.as_str().unwrap()])
            .collect();
        assert_eq!(needs(jobs[name]), parents);
        let mut earlier = BTreeSet::new();
        before(&jobs, name, &mut earlier);
        assert!(!earlier.contains(name), "{name} waits for itself");
        for number in ["mem_mb", "minutes", "seconds"] {
            assert!(jobs[name][number].as_f64().unwrap() > 0.0, "{number} of {name}");
        }
        let file = place.path("engine/jobs").join(format!("{}.json", key(name)));
        let job: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let starts_from_a_run = !job["spec"]["start"]["run"].is_null();
        assert_eq!(starts_from_a_run, !parents.is_empty());
    }
    assert_eq!(plan["gpus"], 0);
}

#[test]
fn rules_go_by_kind_and_by_length() {
    let place = Workplace::new();
    let all_long = [
        "--profile",
        "smoke",
        "--only",
        "table1_accuracy",
        "--device",
        "cuda:all",
        // Planned on a machine that has no such GPU.
        "--numerics",
        "libtorch 2.11.0 cuda NVIDIA A100",
    ];
    let out = place.path("engine");
    let output = place.bgm(
        &[
            &all_long[..],
            &["plan", "--format", "snakemake", "--group-below", "0", "--out"],
            &[out.to_str().unwrap()],
        ]
        .concat(),
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let read = std::fs::read(out.join("jobs.json")).unwrap();
    let plan: Value = serde_json::from_slice(&read).unwrap();
    let jobs = jobs(&plan);
    let waited_for: BTreeSet<&str> = jobs.values().flat_map(|job| needs(job)).collect();
    for name in jobs.keys() {
        let rule = if waited_for.contains(name) { "pretrain/" } else { "train/" };
        assert!(name.starts_with(rule), "{name}");
    }
    // Each job asks for one GPU, and sees it as the first.
    assert_eq!(plan["gpus"], 1);
    assert!(plan["store_options"].as_array().unwrap().contains(&"cuda:0".into()), "{plan}");

    let plan = write(&place, &["--profile", "smoke", "--only", "table1_accuracy"]);
    assert!(plan["jobs"].as_object().unwrap().keys().all(|name| name.starts_with("short/")));
    let snakefile = std::fs::read_to_string(out.join("Snakefile")).unwrap();
    for rule in ["pretrain", "train", "measure", "short", "verify", "report", "all"] {
        assert!(snakefile.contains(&format!("\nrule {rule}:\n")), "{rule}");
    }
    for profile in ["local", "slurm"] {
        assert!(out.join("profiles").join(profile).join("config.yaml").is_file());
    }
}

#[test]
fn a_measurement_waits_for_the_run_at_its_other_end_whether_or_not_a_table_shows_it() {
    let place = Workplace::new();
    let plan = write(&place, &["--profile", "smoke", "--only", "x1_interpolation", "--seeds", "2"]);
    let jobs = jobs(&plan);
    let measures: Vec<&str> =
        jobs.keys().copied().filter(|name| name.ends_with(".measure")).collect();
    // From a bad and from a good minimum, two seeds each.
    assert_eq!(measures.len(), 4);
    let seed = |name: &str| {
        let file = place.path("engine/jobs").join(format!("{}.json", key(name)));
        let job: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        (job["spec"]["seed"].as_u64().unwrap(), !job["spec"]["start"]["run"].is_null())
    };
    for name in measures {
        let (own, bad) = seed(name);
        let mut ends: Vec<_> = needs(jobs[name]).into_iter().map(seed).collect();
        ends.sort_unstable();
        let mut expected = vec![(own, bad), (own + 1, bad)];
        if bad {
            expected.push((own, false));
        }
        expected.sort_unstable();
        assert_eq!(ends, expected, "{name}");
    }
    // Seed 2 is in no table: two runs and the pretraining of one.
    let extra = jobs.keys().filter(|name| !name.ends_with(".measure") && seed(name).0 == 2);
    assert_eq!(extra.count(), 3);
}

/// Tables with a profile of runs that take a moment.
fn tiny(place: &Workplace) -> String {
    let tables = place.path("paper_tables");
    copy_folder(&repository().join("paper_tables"), &tables);
    let tiny = repository().join("tests/tiny");
    std::fs::copy(tiny.join("tiny.toml"), tables.join("tiny.toml")).unwrap();
    std::fs::copy(tiny.join("profile.toml"), tables.join("profiles/tiny.toml")).unwrap();
    tables.to_str().unwrap().to_owned()
}

/// Does a job as the Snakefile does: what it prints.
fn perform(place: &Workplace, name: &str) -> String {
    let file = name.split_once('/').unwrap().1;
    let job = std::fs::read(place.path("engine/jobs").join(format!("{file}.json"))).unwrap();
    let mut child = place.start_unfed();
    child.stdin.take().unwrap().write_all(&job).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn what_is_stored_is_done_and_what_is_no_longer_stored_is_not() {
    let place = Workplace::new();
    let tables = tiny(&place);
    let options = ["--tables", tables.as_str(), "--profile", "tiny"];
    let plan = write(&place, &options);
    let names: Vec<String> = jobs(&plan).keys().map(|name| (*name).to_owned()).collect();
    let done = |name: &str| place.path("engine/done").join(name);
    assert!(names.iter().all(|name| !done(name).exists()));

    let parent = jobs(&plan).values().flat_map(|job| needs(job)).next().unwrap().to_owned();
    let said = perform(&place, &parent);
    write(&place, &options);
    assert_eq!(std::fs::read_to_string(done(&parent)).unwrap(), said);
    assert_eq!(names.iter().filter(|name| done(name).exists()).count(), 1);

    for name in &names {
        perform(&place, name);
    }
    let unchanged = std::fs::metadata(done(&parent)).unwrap().modified().unwrap();
    write(&place, &options);
    assert!(names.iter().all(|name| done(name).exists()));
    // Nothing that was there is written again: its time says when it was done.
    assert_eq!(std::fs::metadata(done(&parent)).unwrap().modified().unwrap(), unchanged);

    // A run that is not measured is not done; nor is one that is gone, or damaged.
    let measured = names.iter().find(|name| place.path("runs/measured").join(key(name)).exists());
    let measured = measured.expect("tiny is measured");
    std::fs::remove_dir_all(place.path("runs/measured").join(key(measured))).unwrap();
    let weights = place.path("runs").join(key(&parent)).join("weights.safetensors");
    spoil(&weights);
    write(&place, &options);
    assert!(!done(measured).exists() && !done(&parent).exists());
    assert_eq!(names.iter().filter(|name| done(name).exists()).count(), names.len() - 2);
}

fn spoil(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_run_longer_than_a_job_may_be_gets_several() {
    let place = Workplace::new();
    let options = ["--profile", "smoke", "--only", "table1_accuracy"];
    let whole = write(&place, &options);
    let minutes = |plan: &Value| {
        let jobs = jobs(plan);
        jobs.values().map(|job| job["minutes"].as_u64().unwrap()).max().unwrap()
    };
    assert_eq!(whole["retries"], 3);
    let longest = minutes(&whole);
    let out = place.path("engine");
    let cut =
        ["plan", "--format", "snakemake", "--time-limit", "2", "--out", out.to_str().unwrap()];
    let output = place.bgm(&[&options[..], &cut].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let read = std::fs::read(place.path("engine/jobs.json")).unwrap();
    let plan: Value = serde_json::from_slice(&read).unwrap();
    assert_eq!(plan["retries"].as_u64().unwrap(), 3 + longest.div_ceil(2) - 1);
    assert_eq!(plan["most_minutes"], 2);
}

#[test]
fn what_cannot_be_planned_is_said() {
    let place = Workplace::new();
    for (arguments, word) in [
        (&["plan", "--format", "snakemake"][..], "--out"),
        (&["plan", "--time-limit", "0"], "--time-limit"),
        (&["plan", "--device-flops", "0"], "--device-flops"),
    ] {
        let output = place.bgm(&[&["--profile", "smoke"], arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr));
    }
}

#[test]
fn a_snakefile_of_somebody_else_stays() {
    let place = Workplace::new();
    let out = place.path("engine");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("Snakefile"), "rule all:\n").unwrap();
    let plan = || {
        let arguments = ["plan", "--format", "snakemake", "--out", out.to_str().unwrap()];
        place.bgm(&[&["--profile", "smoke"], &arguments[..]].concat())
    };
    let output = plan();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("Snakefile"), "{}", text(&output.stderr));
    let files: Vec<_> = std::fs::read_dir(&out).unwrap().collect();
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::read_to_string(out.join("Snakefile")).unwrap(), "rule all:\n");
    // So do the files beside it, where the Snakefile itself lies elsewhere.
    std::fs::remove_file(out.join("Snakefile")).unwrap();
    std::fs::create_dir_all(out.join("profiles/slurm")).unwrap();
    for file in ["jobs.json", "profiles/slurm/config.yaml"] {
        std::fs::write(out.join(file), "{}\n").unwrap();
        let output = plan();
        assert!(output.status.code() == Some(2) && text(&output.stderr).contains(file));
        std::fs::remove_file(out.join(file)).unwrap();
    }
    // One that was planned is planned again.
    for _ in 0..2 {
        assert_eq!(plan().status.code(), Some(0));
    }
}

#[test]
fn a_simulation_is_bounded_by_the_longest_chain() {
    let place = Workplace::new();
    let out = place.path("figure");
    let output = place.bgm(&[
        "--profile",
        "smoke",
        "plan",
        "--simulate",
        "--format",
        "json",
        "--out",
        out.to_str().unwrap(),
    ]);
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let simulation = &plan["simulation"];
    let number = |value: &Value| value.as_f64().unwrap();
    let (work, chain) =
        (number(&simulation["work_seconds"]), number(&simulation["critical_path_seconds"]));
    let clusters = simulation["clusters"].as_array().unwrap();
    assert_eq!(clusters.len(), 10);
    assert!((number(&clusters[0]["makespan_seconds"]) - work).abs() < 1e-6 * work);
    assert_eq!(number(&clusters[9]["makespan_seconds"]), chain);
    for cluster in clusters {
        // Sums in another order differ in their last digits.
        let (found, bound) =
            (number(&cluster["makespan_seconds"]), number(&cluster["bound_seconds"]));
        assert!(found >= bound * (1.0 - 1e-9), "{cluster}");
    }
    let flops = number(&plan["compute"]["floating_point_operations"]);
    let rate = number(&plan["compute"]["assumed_device_flops"]);
    let hours = number(&plan["compute"]["gpu_hours"]);
    assert!((hours - flops / rate / 3600.0).abs() <= 1e-9 * hours, "{hours}");
    for name in ["simulation.svg", "simulation.png"] {
        assert!(std::fs::metadata(out.join(name)).unwrap().len() > 5_000, "{name}");
    }
    let svg = std::fs::read_to_string(out.join("simulation.svg")).unwrap();
    for words in ["Makespan", "Workers", "Idle", "longest chain"] {
        assert!(svg.contains(words), "{words}");
    }
}
