//! The main job on the smoke profile: jobs side by side, a second call, interruption.

mod common;

use common::{Workplace, repository, text};

const ONLY: [&str; 4] = ["--profile", "smoke", "--only", "table1_accuracy"];

fn reproduce(place: &Workplace, jobs: &str) -> std::process::Output {
    let out = place.path("reproduction");
    let mut arguments = ONLY.to_vec();
    arguments.extend(["reproduce", "--jobs", jobs, "--out", out.to_str().unwrap()]);
    place.bgm(&arguments)
}

fn verification(place: &Workplace) -> String {
    let mut arguments = ONLY.to_vec();
    arguments.extend(["verify", "--format", "json"]);
    text(&place.bgm(&arguments).stdout)
}

#[test]
fn one_job_and_two_give_the_same_verification_and_a_second_call_trains_nothing() {
    let (one, two) = (Workplace::new(), Workplace::new());
    let first = reproduce(&one, "1");
    assert!(matches!(first.status.code(), Some(0 | 1 | 3)), "{}", text(&first.stderr));
    // The first claim is judged as soon as its runs are there, and those are made first.
    let said = text(&first.stderr);
    let early: Vec<&str> = said.lines().filter(|line| line.starts_with('C')).collect();
    let of = |id: &str| early.iter().filter(|line| line.starts_with(id)).collect::<Vec<_>>();
    let [c1] = of("C1 ")[..] else { panic!("C1 is judged once while runs are made: {said}") };
    assert!(c1.contains("must be above 3, n = 5"), "{c1}");
    assert_eq!((early[0], of("C2 ").len()), (*c1, 1), "{said}");
    reproduce(&two, "2");
    let (a, b) = (verification(&one), verification(&two));
    assert_eq!(a, b);
    let parsed: serde_json::Value = serde_json::from_str(&a).expect("verify prints JSON alone");
    assert_eq!(parsed["profile"], "smoke");
    let claims = parsed["claims"].as_array().unwrap();
    assert!(claims.iter().any(|c| c["id"] == "C1"), "{a}");
    assert!(!parsed["regression"].as_array().unwrap().is_empty(), "{a}");

    let started = std::time::Instant::now();
    let again = reproduce(&two, "2");
    assert!(!text(&again.stderr).contains("runs to do"), "{}", text(&again.stderr));
    assert!(started.elapsed().as_secs() < 20);
    for name in ["report.html", "tables/table1_accuracy.csv", "figures/table1_accuracy.svg"] {
        assert!(two.path("reproduction").join(name).exists(), "{name}");
    }

    // The stores are equal run by run, and `diff` says so.
    let (left, right) = (one.path("runs"), two.path("runs"));
    let mut arguments = ONLY.to_vec();
    arguments.extend(["diff", left.to_str().unwrap(), right.to_str().unwrap()]);
    let diff = one.bgm(&arguments);
    assert_eq!(diff.status.code(), Some(0), "{}", text(&diff.stdout));
    assert!(text(&diff.stdout).contains("25 runs equal, 0 different"), "{}", text(&diff.stdout));
}

#[test]
fn the_runs_of_whichever_claim_comes_first_are_made_first() {
    let claims = std::fs::read_to_string(repository().join("expected/claims.toml")).unwrap();
    let claim = |id: &str| {
        let all = claims.split("[[claim]]\n").skip(1);
        let own = all.clone().find(|text| text.starts_with(&format!("id = \"{id}\"")));
        format!("[[claim]]\n{}", own.unwrap())
    };
    for order in [["C1", "C2"], ["C2", "C1"]] {
        let place = Workplace::new();
        let (expected, out) = (place.path("expected"), place.path("reproduction"));
        std::fs::create_dir(&expected).unwrap();
        std::fs::write(expected.join("claims.toml"), order.map(claim).concat()).unwrap();
        let mut arguments = ONLY.to_vec();
        arguments.extend(["--seeds", "1", "--expected", expected.to_str().unwrap()]);
        arguments.extend(["reproduce", "--jobs", "1", "--out", out.to_str().unwrap()]);
        let said = text(&place.bgm(&arguments).stderr);
        let early = said.lines().filter(|line| line.starts_with('C')).map(|line| &line[..2]);
        assert_eq!(early.take(2).collect::<Vec<_>>(), order, "{said}");
    }
}
