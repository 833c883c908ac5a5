//! How often `bgm verify` ends with 1 although nothing changed, and how often because
//! something did: by drawing references and verifications from a stored pool of seeds.
//!
//! ```text
//! bgm --profile smoke --only fig1_toy --seeds 0..120 --store pool reproduce
//! cargo run --release --example calibrate -- pool smoke fig1_toy 120 [FAULTY_STORE]
//! ```
//!
//! Each verification draws 8 seeds to bless and 5 others to verify (the reference's numerics
//! are called other ones, so that bits do not decide) and counts the exit code, claims and
//! all. With the store of a faulty build the 5 come from there.

use bad_global_minima::backend::Platform;
use bad_global_minima::data::Catalog;
use bad_global_minima::experiments::aggregate::{RunRecord, Runs, aggregate};
use bad_global_minima::experiments::results::{ExperimentResult, Measured};
use bad_global_minima::experiments::{Plan, Profile, Seeds};
use bad_global_minima::rng::{Purpose, Stream};
use bad_global_minima::spec::{Key, Numerics, RunSpec};
use bad_global_minima::store::{Lookup, Store};
use bad_global_minima::verify::bless::{self, Provenance};
use bad_global_minima::verify::claims::Claims;
use bad_global_minima::verify::outcome::{RegressionStatus, Standing, Verdict};
use bad_global_minima::verify::{Case, exit, verify};
use std::path::{Path, PathBuf};

const VERIFICATIONS: u64 = 200;
const BLESSED_SEEDS: usize = 8;
const NEW_SEEDS: usize = 5;

struct Stored(Store);

impl Runs for Stored {
    fn run(&self, key: &Key, spec: &RunSpec) -> Option<RunRecord> {
        match self.0.look_up(key, spec) {
            Lookup::Stored(run) => {
                Some(RunRecord { metrics: run.metrics, result_hash: run.result_hash })
            }
            _ => None,
        }
    }

    fn measured(&self, key: &Key, id: &str, result_hash: &str) -> Option<Measured> {
        self.0.measured(key, id, result_hash).ok().flatten()
    }
}

/// The results of some seeds alone.
fn only(pool: &[ExperimentResult], seeds: &[u64]) -> Vec<ExperimentResult> {
    let mut results = pool.to_vec();
    for cell in results.iter_mut().flat_map(|result| &mut result.cells) {
        cell.seeds.retain(|seed| seeds.contains(&seed.seed));
    }
    results
}

fn platform(device: &str) -> Platform {
    Platform { numerics: Numerics::libtorch_cpu("none"), device: device.to_owned() }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, profile_name, experiments, seeds, faulty @ ..] = arguments.as_slice() else {
        return Err("usage: calibrate STORE PROFILE EXPERIMENT,... SEEDS [FAULTY_STORE]".into());
    };
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let (tables, catalog) = (root.join("paper_tables"), Catalog::new(root.join("data")));
    let profile = Profile::read(&tables, profile_name)?;
    let names: Vec<String> = experiments.split(',').map(str::to_owned).collect();
    let count: u32 = seeds.parse()?;
    let plan = Plan::new(&profile, &tables, &catalog, &names, Some(&Seeds::first(count)))?;
    let pool = |path: &str| -> Result<Vec<ExperimentResult>, Box<dyn std::error::Error>> {
        Ok(aggregate(&plan, &Stored(Store::existing(Path::new(path))?)))
    };
    let sound = pool(store)?;
    let new = match faulty.first() {
        Some(path) => pool(path)?,
        None => sound.clone(),
    };
    let claims = Claims::read(&root.join("expected/claims.toml"), &tables)?;
    let (mut alarms, mut tolerances, mut verdicts, mut decided, mut incomplete) = (0, 0, 0, 0, 0);
    for draw in 0..VERIFICATIONS {
        let mut seeds: Vec<u64> = (0..u64::from(count)).collect();
        Stream::open(draw, Purpose::Test, &[9]).shuffle(&mut seeds);
        let (blessed, rest) = seeds.split_at(BLESSED_SEEDS);
        let provenance = Provenance {
            profile: profile_name.clone(),
            reason: "calibration".to_owned(),
            date: String::new(),
            commit: String::new(),
            platform: platform("the reference's"),
            protocol: None,
        };
        let reference = bless::make(&only(&sound, blessed), &claims, provenance, None)?;
        let results = only(&new, &rest[..NEW_SEEDS]);
        let verification = verify(&Case {
            profile: profile_name,
            results: &results,
            claims: &claims,
            reference: Some(&reference),
            platform: &platform("another"),
            only: &names,
            strict: false,
        });
        let outside = |status| status == RegressionStatus::Outside;
        alarms += usize::from(verification.exit == exit::DEPARTURE);
        incomplete += usize::from(verification.exit == exit::INCOMPLETE);
        tolerances += usize::from(verification.regression.iter().any(|r| outside(r.status)));
        let departed = verification.claims.iter().any(|c| c.standing == Standing::Departed);
        verdicts += usize::from(departed);
        let is_decided = |verdict: Verdict| verdict != Verdict::Inconclusive;
        decided += usize::from(verification.claims.iter().any(|c| is_decided(c.verdict)));
    }
    println!(
        "{alarms} of {VERIFICATIONS} verifications end with 1 ({tolerances} by a number, {verdicts} \
         by a claim), {incomplete} with 3; some claim is decided in {decided}"
    );
    Ok(())
}
