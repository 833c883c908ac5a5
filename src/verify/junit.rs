//! The verification as a JUnit file: one case a claim and one a compared number.

use super::outcome::{RegressionStatus, Verdict, Verification};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// The XML text. A verdict other than the blessed one, or a number outside its tolerance, is
/// a failure; what cannot be judged is an error.
///
/// # Errors
/// If a name cannot be written as XML.
pub fn to_xml(verification: &Verification) -> Result<String, String> {
    let mut report = Report::new(format!("bgm verify --profile {}", verification.profile));
    let mut claims = TestSuite::new("claims");
    for claim in &verification.claims {
        let as_blessed = claim.blessed.is_none_or(|blessed| blessed == claim.verdict);
        let incomplete = claim.verdict == Verdict::Inconclusive && !as_blessed;
        let kind = match (as_blessed, incomplete) {
            (true, _) => None,
            (false, true) => Some(NonSuccessKind::Error),
            (false, false) => Some(NonSuccessKind::Failure),
        };
        let message = format!("{:?}: {}", claim.verdict, claim.reason);
        claims.add_test_case(case(format!("{}: {}", claim.id, claim.statement), kind, message));
    }
    let mut regression = TestSuite::new("regression");
    for outcome in &verification.regression {
        let kind = match outcome.status {
            RegressionStatus::Exact | RegressionStatus::Within => None,
            RegressionStatus::Outside => Some(NonSuccessKind::Failure),
            RegressionStatus::Missing | RegressionStatus::TooFew => Some(NonSuccessKind::Error),
        };
        let message = format!(
            "{:?}: {:?}, expected {:?}, tolerance {:?} {}",
            outcome.status, outcome.value, outcome.expected, outcome.tolerance, outcome.note
        );
        let name = format!("{} [{}] {}", outcome.experiment, outcome.cell, outcome.metric);
        regression.add_test_case(case(name, kind, message));
    }
    report.add_test_suite(claims);
    report.add_test_suite(regression);
    report.to_string().map_err(|e| format!("JUnit: {e}"))
}

fn case(name: String, kind: Option<NonSuccessKind>, message: String) -> TestCase {
    let status = match kind {
        None => TestCaseStatus::success(),
        Some(kind) => {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(message);
            status
        }
    };
    TestCase::new(name, status)
}
