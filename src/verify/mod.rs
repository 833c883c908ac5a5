//! Two bars, never mixed: *regression* asks whether this is what our reference gave,
//! *claims* ask whether the evidence supports the paper.

pub mod bless;
pub mod claims;
pub mod junit;
pub mod outcome;
pub mod reference;
pub mod regression;
pub mod stats;

use crate::experiments::results::ExperimentResult;
use crate::torch::Platform;
use claims::Claims;
use outcome::{RegressionStatus, Verdict, Verification};
use reference::Reference;

/// Exit codes of `bgm`.
pub mod exit {
    /// All as blessed.
    pub const AS_BLESSED: u8 = 0;
    /// A number outside tolerance, or a verdict other than the blessed one. Of `bgm store
    /// merge` and `bgm diff`: two results for one run.
    pub const DEPARTURE: u8 = 1;
    /// Wrong usage, or a spec or declaration that makes no sense.
    pub const USAGE: u8 = 2;
    /// Runs missing, not memorized, or too few seeds. Of `bgm store merge`: runs that others
    /// are working on.
    pub const INCOMPLETE: u8 = 3;
    /// Missing libtorch, damaged data, a disk that refuses.
    pub const ENVIRONMENT: u8 = 4;
    /// Something inside the program or libtorch gave way: worth another try.
    pub const INTERNAL: u8 = 70;
    /// Interrupted by SIGINT, SIGTERM or SIGHUP; calling again goes on (what schedulers retry).
    pub const INTERRUPTED: u8 = 75;
}

/// Judges every claim whose experiment is among the results, and compares every number.
pub fn verify(
    profile: &str,
    results: &[ExperimentResult],
    claims: &Claims,
    reference: Option<&Reference>,
    platform: &Platform,
    strict: bool,
) -> Verification {
    let mut departs = false;
    let mut lacks = reference.is_none();
    let mut outcomes = Vec::new();
    for claim in &claims.claim {
        let blessed = reference.and_then(|r| r.verdicts.get(&claim.id)).map(|b| b.verdict);
        let Some(evaluated) = claim.evaluate(results, blessed) else { continue };
        let verdict = evaluated.outcome.verdict;
        if evaluated.incomplete {
            lacks = true;
        } else if blessed.is_some_and(|blessed| blessed != verdict) {
            departs = true;
        }
        if strict {
            departs |= verdict == Verdict::Refuted;
            lacks |= verdict == Verdict::Inconclusive;
        }
        outcomes.push(evaluated.outcome);
    }
    let regression = match reference {
        Some(reference) => regression::compare(results, reference, platform),
        None => Vec::new(),
    };
    for outcome in &regression {
        match outcome.status {
            // A weak comparison proves nothing and holds up nothing; the report counts it.
            RegressionStatus::Exact | RegressionStatus::Within | RegressionStatus::Weak => {}
            RegressionStatus::Outside => departs = true,
            RegressionStatus::Missing | RegressionStatus::TooFew => lacks = true,
        }
    }
    let exit = match (departs, lacks) {
        (true, _) => exit::DEPARTURE,
        (false, true) => exit::INCOMPLETE,
        (false, false) => exit::AS_BLESSED,
    };
    Verification { profile: profile.to_owned(), exit, claims: outcomes, regression }
}
