//! How often `bgm verify` ends with 1 although nothing changed, and how often because
//! something did: references and verifications are drawn from stored pools of seeds.
//! `scripts/calibrate.sh` trains the pools.
//!
//! ```text
//! cargo run --release --example calibrate -- PROFILE POOL SEEDS [NAME=STORE SEEDS]...
//! ```
//!
//! Each verification blesses some seeds of the pool and verifies others, as many as `SIZES`
//! says. The reference's numerics are called other ones, so that bits do not decide; the exit
//! code is the one that `bgm verify` would end with, claims included. For each `NAME=STORE`, the
//! verified seeds come from there instead: runs of a program with a planted fault.

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
use bad_global_minima::verify::outcome::{RegressionStatus, Standing, Verdict, Verification};
use bad_global_minima::verify::{Case, exit, verify};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const VERIFICATIONS: u64 = 200;
/// How many seeds are blessed and verified.
const SIZES: [(usize, usize); 2] = [(8, 5), (10, 8)];

type Failure = Box<dyn std::error::Error>;

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

/// Results of all seeds of a pool.
struct Pool {
    seeds: Vec<u64>,
    results: Vec<ExperimentResult>,
}

impl Pool {
    fn read(profile: &Profile, place: &Place, store: &str, seeds: &str) -> Result<Pool, Failure> {
        let seeds: Seeds = seeds.parse()?;
        let plan = Plan::new(profile, &place.tables, &place.catalog, &[], Some(&seeds))?;
        let stored = Stored(Store::existing(Path::new(store))?);
        let results = aggregate(&plan, &stored);
        let mut cells = results.iter().flat_map(|result| &result.cells);
        if cells.any(|cell| cell.seeds.iter().any(|seed| seed.run.is_none())) {
            return Err(format!("{store}: runs of the seeds {seeds} are missing").into());
        }
        Ok(Pool { seeds: seeds.iter().collect(), results })
    }

    /// Seeds in a random order.
    fn shuffled(&self, draw: u64, part: u64) -> Vec<u64> {
        let mut seeds = self.seeds.clone();
        Stream::open(draw, Purpose::Test, &[part]).shuffle(&mut seeds);
        seeds
    }

    /// The results of some seeds alone.
    fn only(&self, seeds: &[u64]) -> Vec<ExperimentResult> {
        let mut results = self.results.clone();
        for cell in results.iter_mut().flat_map(|result| &mut result.cells) {
            cell.seeds.retain(|seed| seeds.contains(&seed.seed));
        }
        results
    }
}

/// Where the declarations and the data are.
struct Place {
    tables: PathBuf,
    catalog: Catalog,
    claims: Claims,
}

/// What some verifications ended with.
#[derive(Default)]
struct Counts {
    departures: u32,
    by_number: u32,
    by_claim: u32,
    incomplete: u32,
    /// How often each claim was decided.
    decided: BTreeMap<String, u32>,
}

impl Counts {
    fn add(&mut self, verification: &Verification) {
        self.departures += u32::from(verification.exit == exit::DEPARTURE);
        self.incomplete += u32::from(verification.exit == exit::INCOMPLETE);
        let mut numbers = verification.regression.iter();
        self.by_number += u32::from(numbers.any(|r| r.status == RegressionStatus::Outside));
        let mut claims = verification.claims.iter();
        self.by_claim += u32::from(claims.any(|c| c.standing == Standing::Departed));
        for claim in &verification.claims {
            *self.decided.entry(claim.id.clone()).or_default() +=
                u32::from(claim.verdict != Verdict::Inconclusive);
        }
    }
}

fn platform(device: &str) -> Platform {
    Platform { numerics: Numerics::libtorch_cpu("none"), device: device.to_owned() }
}

/// Verifies draws of `new` against draws of `sound`, never the same seeds.
fn calibrate(
    name: &str,
    (sound, new): (&Pool, &Pool),
    (blessed, verified): (usize, usize),
    claims: &Claims,
) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    for draw in 0..VERIFICATIONS {
        let mut order = sound.shuffled(draw, 0);
        order.truncate(blessed);
        let blessed = &order;
        let mut fresh = new.shuffled(draw, 1);
        fresh.retain(|seed| !blessed.contains(seed));
        if fresh.len() < verified {
            return Err(format!("too few seeds: {} are left to verify", fresh.len()).into());
        }
        let provenance = Provenance {
            profile: name.to_owned(),
            reason: "calibration".to_owned(),
            date: String::new(),
            commit: String::new(),
            platform: platform("the reference's"),
            protocol: None,
        };
        let reference = bless::make(&sound.only(blessed), claims, provenance, None)?;
        counts.add(&verify(&Case {
            profile: name,
            results: &new.only(&fresh[..verified]),
            claims,
            reference: Some(&reference),
            platform: &platform("another"),
            only: &[],
            contradicted: &BTreeMap::new(),
            strict: false,
        }));
    }
    Ok(counts)
}

fn row(name: &str, counts: &Counts) {
    let share = |count: u32| format!("{:.1}%", 100.0 * f64::from(count) / VERIFICATIONS as f64);
    println!(
        "| {name} | {} | {} | {} | {} |",
        share(counts.by_number),
        share(counts.by_claim),
        share(counts.departures),
        share(counts.incomplete)
    );
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, store, seeds, faulty @ ..] = arguments.as_slice() else {
        return Err("usage: calibrate PROFILE POOL SEEDS [NAME=STORE SEEDS]...".into());
    };
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let tables = root.join("paper_tables");
    let place = Place {
        catalog: Catalog::new(root.join("data")),
        claims: Claims::read(&root.join("expected/claims.toml"), &tables)?,
        tables,
    };
    let profile = Profile::read(&place.tables, name)?;
    let sound = Pool::read(&profile, &place, store, seeds)?;
    let mut pools = Vec::new();
    for pair in faulty.chunks(2) {
        let [named, seeds] = pair else { return Err("a faulty store needs its seeds".into()) };
        let (fault, store) = named.split_once('=').ok_or("a faulty store is NAME=STORE")?;
        pools.push((fault, Pool::read(&profile, &place, store, seeds)?));
    }
    for size in SIZES {
        println!("{} blessed seeds, {} verified:\n", size.0, size.1);
        println!("| program | a number outside | a claim departed | exit code 1 | exit code 3 |");
        println!("|---|---|---|---|---|");
        let unchanged = calibrate(name, (&sound, &sound), size, &place.claims)?;
        row("unchanged", &unchanged);
        for (fault, pool) in &pools {
            row(fault, &calibrate(name, (&sound, pool), size, &place.claims)?);
        }
        let decided = unchanged.decided.iter().map(|(id, count)| format!("{id} {count}"));
        let decided: Vec<String> = decided.collect();
        println!("\nUnchanged, decided in so many of {VERIFICATIONS}: {}\n", decided.join(", "));
    }
    Ok(())
}
