//! Two tests, never mixed: *regression* asks whether this is what our reference gave, *claims* ask
//! whether the evidence supports the paper.
//!
//! `claims` and `predicate`: what a claim may ask; `check` refuses claims that match nothing.
//! `premise`: what must hold of a cell first. `evidence`, `estimate` and `judge`: the verdict;
//! `rejudge`: the same from a reference alone; `contradiction`: is it the blessed verdict?
//! `departure`: the verdict against the blessed one. `regression`: the numbers against the reference;
//! `beside`: two references side by side. `bless`: a new reference, and `changes`: what it changes.

pub mod beside;
pub mod bless;
mod blessed_verdict;
pub mod changes;
mod check;
pub mod claims;
pub mod contradiction;
pub mod departure;
pub mod estimate;
mod evidence;
pub mod files;
mod judge;
pub mod junit;
pub mod outcome;
pub mod predicate;
mod premise;
pub mod protocol;
pub mod reference;
mod reference_value;
pub mod regression;
pub mod rejudge;
mod sensitivity;
pub mod stats;

use crate::backend::Platform;
use crate::experiments::results::ExperimentResult;
use claims::Claims;
use contradiction::Contradiction;
use outcome::{CellOutcome, Verification};
use reference::Reference;
use std::collections::{BTreeMap, BTreeSet};

/// Exit codes of `bgm`.
pub mod exit {
    /// Success; of `bgm verify` and `bgm reproduce`: everything is as blessed.
    pub const SUCCESS: u8 = 0;
    /// A number outside its tolerance, a verdict other than the blessed one, or with `--strict` a
    /// refuted claim. Of `bgm check`, `bgm store merge` and `bgm diff`: two results for one run.
    pub const DEPARTURE: u8 = 1;
    /// Wrong usage, or a spec or declaration that makes no sense.
    pub const USAGE: u8 = 2;
    /// Runs are missing or did not fit their labels, seeds are too few, there is nothing to compare
    /// with, a claim or a tolerance is declared otherwise than it was blessed, or with `--strict` a
    /// claim is inconclusive. Of `bgm store merge` and `bgm store prune`: others are working on these
    /// runs. Of `bgm store export`: no run to export. Of `bgm diff`: runs that only one side has.
    pub const INCOMPLETE: u8 = 3;
    /// Libtorch is missing, data are damaged, or the disk cannot be written.
    pub const ENVIRONMENT: u8 = 4;
    /// A mistake in the program or in libtorch: worth another try, and a report.
    pub const INTERNAL: u8 = 70;
    /// Interrupted by SIGINT, SIGTERM or SIGHUP; calling again goes on (what schedulers retry).
    pub const INTERRUPTED: u8 = 75;
}

/// What a verification is made of.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    pub profile: &'a str,
    pub results: &'a [ExperimentResult],
    pub claims: &'a Claims,
    pub reference: Option<&'a Reference>,
    /// Where the results were made: with the numerics of the reference, its bits are asked for.
    pub platform: &'a Platform,
    /// The experiments that were asked for; all of the profile's if empty.
    pub only: &'a [String],
    /// What is wrong with blessed verdicts, by the id of the claim ([`contradiction::contradictions`]).
    pub contradicted: &'a BTreeMap<String, Contradiction>,
    /// Whether refuted claims fail and inconclusive ones leave the verification incomplete.
    pub strict: bool,
}

impl Case<'_> {
    /// Whether an experiment of the reference is part of this verification.
    pub fn includes(&self, experiment: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == experiment)
    }
}

/// Judges every claim whose experiment is among the results, and compares every number.
/// What the reference holds and this verification lacks is named in `lacking`. The caller, who knows
/// where docs/protocol.md is, fills in `protocol`.
pub fn verify(case: &Case<'_>) -> Verification {
    let mut lacking = Vec::new();
    if case.reference.is_none() {
        lacking.push(format!("profile {} has no blessed reference", case.profile));
    }
    let regression = match case.reference {
        Some(reference) => regression::compare(case, reference),
        None => Vec::new(),
    };
    let evaluated = case.claims.claim.iter().filter_map(|claim| claim.evaluate(case.results));
    let claims = departure::settle(case, evaluated.collect(), &regression);
    for (id, blessed) in case.reference.iter().flat_map(|r| &r.verdicts) {
        if case.includes(&blessed.experiment) && !claims.iter().any(|claim| claim.id == *id) {
            lacking.push(format!(
                "claim {id} (experiment {}) was blessed but is no longer judged: it is not in \
                 claims.toml, or its experiment is not in the profile",
                blessed.experiment
            ));
        }
    }
    let seeds = || case.results.iter().flat_map(|r| &r.cells).flat_map(|cell| &cell.seeds);
    let keys = |is_there: bool| -> BTreeSet<_> {
        let of = seeds().filter(|seed| seed.run.is_some() == is_there);
        of.map(|seed| &seed.key).collect()
    };
    let (there, absent) = (keys(true).len(), keys(false).len());
    if absent > 0 {
        lacking.push(format!("{absent} of the {} runs of the cells are not there", there + absent));
    }
    if case.reference.is_some() && claims.is_empty() && regression.is_empty() {
        lacking.push("no claim and no blessed number is on what was asked for".to_owned());
    }
    lacking.extend(case.reference.and_then(|r| regression::other_tolerances(case, r)));
    let exit = Verification::exit_of(&claims, &regression, &lacking);
    let profile = case.profile.to_owned();
    let cells = case.results.iter().flat_map(cells).collect();
    Verification {
        schema: outcome::SCHEMA,
        profile,
        exit,
        claims,
        regression,
        cells,
        lacking,
        basis: case.reference.map_or_else(String::new, |r| regression::basis(case, r)),
        protocol: None,
    }
}

/// How well each cell of an experiment fits its training images, and its dose of weight decay.
fn cells(result: &ExperimentResult) -> impl Iterator<Item = CellOutcome> {
    result.cells.iter().map(|cell| CellOutcome {
        experiment: result.experiment.id.clone(),
        cell: result.cell_name(cell),
        train_accuracy: cell.fit(),
        decay: cell.dose(),
    })
}
