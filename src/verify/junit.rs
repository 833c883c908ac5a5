//! The verification as a JUnit file: one case a claim and one a compared number.

use super::outcome::{RegressionStatus, Verdict, Verification};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// The XML text. A verdict other than the blessed one, or a number outside its tolerance, is
/// a failure; what cannot be judged is an error; a comparison too weak to tell is skipped.
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
        let status = kind.map_or_else(TestCaseStatus::success, TestCaseStatus::non_success);
        claims.add_test_case(case(format!("{}: {}", claim.id, claim.statement), status, message));
    }
    let mut regression = TestSuite::new("regression");
    for outcome in &verification.regression {
        let status = match outcome.status {
            RegressionStatus::Exact | RegressionStatus::Within => TestCaseStatus::success(),
            RegressionStatus::Weak => TestCaseStatus::skipped(),
            RegressionStatus::Outside => TestCaseStatus::non_success(NonSuccessKind::Failure),
            RegressionStatus::Missing | RegressionStatus::TooFew | RegressionStatus::Excluded => {
                TestCaseStatus::non_success(NonSuccessKind::Error)
            }
        };
        let message = format!(
            "{:?}: {:?}, expected {:?}, tolerance {:?} {}",
            outcome.status, outcome.value, outcome.expected, outcome.tolerance, outcome.note
        );
        let name = format!("{} [{}] {}", outcome.experiment, outcome.cell, outcome.metric);
        regression.add_test_case(case(name, status, message));
    }
    let mut completeness = TestSuite::new("completeness");
    for sentence in &verification.lacking {
        let status = TestCaseStatus::non_success(NonSuccessKind::Error);
        completeness.add_test_case(case(sentence.clone(), status, sentence.clone()));
    }
    report.add_test_suite(completeness);
    report.add_test_suite(claims);
    report.add_test_suite(regression);
    report.to_string().map_err(|e| format!("JUnit: {e}"))
}

fn case(name: String, mut status: TestCaseStatus, message: String) -> TestCase {
    if !matches!(status, TestCaseStatus::Success { .. }) {
        status.set_message(message);
    }
    TestCase::new(name, status)
}
