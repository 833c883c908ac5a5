//! The verification as a JUnit file: one case a claim and one a compared number. What makes
//! `bgm verify` end with 1 is a failure here, and what makes it end with 3 an error.

use super::exit;
use super::outcome::{RegressionStatus, Verification};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// The XML text; a comparison too weak to tell is skipped.
///
/// # Errors
/// If a name cannot be written as XML.
pub fn to_xml(verification: &Verification) -> Result<String, String> {
    let mut report = Report::new(format!("bgm verify --profile {}", verification.profile));
    let mut completeness = TestSuite::new("completeness");
    for sentence in &verification.lacking {
        let status = status(exit::INCOMPLETE);
        completeness.add_test_case(case(sentence.clone(), status, sentence.clone()));
    }
    let mut claims = TestSuite::new("claims");
    for claim in &verification.claims {
        let name = format!("{}: {}", claim.id, claim.statement);
        let blessed = claim.blessed.map_or("nothing".to_owned(), |verdict| format!("{verdict:?}"));
        let message = format!(
            "{:?} (blessed: {blessed}): {}. {}",
            claim.verdict, claim.reason, claim.standing_note
        );
        claims.add_test_case(case(name, status(claim.standing.exit()), message));
    }
    let mut regression = TestSuite::new("regression");
    for outcome in &verification.regression {
        let status = match outcome.status {
            RegressionStatus::TooWeak => TestCaseStatus::skipped(),
            other => status(other.exit()),
        };
        let message = format!(
            "{:?}: {:?}, expected {:?}, tolerance {:?} {}",
            outcome.status, outcome.value, outcome.expected, outcome.tolerance, outcome.note
        );
        let name = format!("{} [{}] {}", outcome.experiment, outcome.cell, outcome.metric);
        regression.add_test_case(case(name, status, message));
    }
    report.add_test_suite(completeness);
    report.add_test_suite(claims);
    report.add_test_suite(regression);
    report.to_string().map_err(|e| format!("JUnit: {e}"))
}

/// The status of something that alone would lead to an exit code.
fn status(code: u8) -> TestCaseStatus {
    match code {
        exit::SUCCESS => TestCaseStatus::success(),
        exit::DEPARTURE => TestCaseStatus::non_success(NonSuccessKind::Failure),
        _ => TestCaseStatus::non_success(NonSuccessKind::Error),
    }
}

fn case(name: String, mut status: TestCaseStatus, message: String) -> TestCase {
    if !matches!(status, TestCaseStatus::Success { .. }) {
        status.set_message(message);
    }
    TestCase::new(name, status)
}
