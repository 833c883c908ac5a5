//! The blessed references of two profiles: their means and their verdicts, side by side.

use super::FALSE_ALARM_RATE;
use crate::cli::args::Global;
use crate::cli::terminal::output;
use crate::cli::{CliError, terminal};
use crate::report;
use crate::verify::beside::{differences, verdicts};
use crate::verify::exit;
use crate::verify::reference::Reference;

/// Exit code 0 if every verdict is the same and no mean differs by more than chance allows; 1
/// otherwise; 3 if there is nothing to compare.
pub fn diff(global: &Global, a: &Reference, b: &Reference) -> Result<u8, CliError> {
    let differences = differences(a, b, &global.only);
    if differences.is_empty() {
        return Err(CliError::Incomplete(format!(
            "the references of '{}' and '{}' have no mean in common",
            a.profile, b.profile
        )));
    }
    terminal::print_styled(&report::differences_markdown(a, b, &differences));
    let shared = verdicts(a, b, &global.only);
    terminal::print_styled(&format!("\n{}", report::both_verdicts_markdown(a, b, &shared)));
    let parted = shared.iter().filter(|(_, [a, b])| a.verdict != b.verdict).count();
    // As in verification, the probability is shared among all comparisons.
    let level = 1.0 - FALSE_ALARM_RATE / differences.len() as f64;
    let is_shifted = |[low, high]: [f64; 2]| low > 0.0 || high < 0.0;
    let shifted = differences.iter().filter(|d| is_shifted(d.estimate.interval(level))).count();
    output!(
        "{shifted} of {} compared means shifted significantly (level {FALSE_ALARM_RATE} over \
         all), {parted} verdicts differ",
        differences.len()
    );
    Ok(if shifted + parted > 0 { exit::DEPARTURE } else { exit::SUCCESS })
}
