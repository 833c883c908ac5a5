//! `bgm report`: tables, figures and one page.

use super::args::{Global, Report};
use super::session::{self, Bar, Session};
use super::{CliError, records};
use crate::backend::Platform;
use crate::cli::terminal::{self, note};
use crate::experiments::results::ExperimentResult;
use crate::report::{self, ReportContext};
use crate::spec::TRAINING_SEMANTICS;
use crate::store::Store;
use crate::verify::claims::Claims;
use crate::verify::exit;
use crate::verify::outcome::Verification;
use crate::verify::reference::Reference;
use std::collections::BTreeMap;
use std::path::Path;

pub fn report(global: &Global, options: &Report) -> Result<u8, CliError> {
    if options.verdicts {
        let claims = Claims::read(&global.expected.join("claims.toml"), &global.tables)?;
        let blessed = Reference::of_profile(&global.expected, &global.profile)?;
        let blessed = blessed.ok_or_else(|| {
            CliError::Incomplete(format!("profile {} has no blessed reference", global.profile))
        })?;
        terminal::print_styled(&report::verdicts_markdown(&blessed.as_verification(&claims)));
        return Ok(exit::SUCCESS);
    }
    let (bar, mut session) = (Bar::read(global)?, Session::plan(global)?);
    session.records = records::of_report(global, options.records.as_deref(), &session)?;
    if session.records.is_empty() {
        session.store = Store::existing(&global.store)?;
    }
    session::check_writable(&options.out)?;
    let (results, platform) = (session.results(), session.platform(global)?);
    let verification = bar.judge(global, &session.plan, (&results, &platform), false);
    write(global, &options.out, &session, (&results, &verification), &platform)?;
    Ok(exit::SUCCESS)
}

/// Writes everything to `out` and a summary to standard error.
pub fn write(
    global: &Global,
    out: &Path,
    session: &Session,
    (results, verification): (&[ExperimentResult], &Verification),
    platform: &Platform,
) -> Result<(), CliError> {
    let (provenance, command) = (provenance(global, session, platform), command(global));
    let (profile, records) = (global.profile.as_str(), records::sentence(session));
    let context = ReportContext {
        profile,
        results,
        verification,
        provenance: &provenance,
        command: &command,
        records: &records,
    };
    report::write(out, &context).map_err(|e| CliError::Environment(e.to_string()))?;
    if !global.quiet {
        let color = terminal::is_colored(&std::io::stderr());
        terminal::say_styled(&report::terminal_summary(
            &global.asked_for(),
            verification,
            &records,
            color,
        ));
        note!("report: {}", out.join("report.html").display());
    }
    Ok(())
}

/// What to type in order to make everything in this report again.
fn command(global: &Global) -> String {
    let mut command = format!("make reproduce PROFILE={}", global.profile);
    if !global.only.is_empty() {
        command += &format!(" ONLY={}", global.only.join(","));
    }
    if let Some(seeds) = &global.seeds {
        command += &format!(" SEEDS={seeds}");
    }
    command
}

/// Where the numbers come from.
fn provenance(global: &Global, session: &Session, platform: &Platform) -> Vec<(String, String)> {
    // The page's date is the commit's: the same store gives the same page on any day.
    let mut rows = vec![
        ("Profile".to_owned(), global.profile.clone()),
        ("Verified on".to_owned(), platform.device.clone()),
        ("Numerics".to_owned(), platform.numerics.to_string()),
        ("Training semantics".to_owned(), TRAINING_SEMANTICS.to_string()),
        ("Verified by commit".to_owned(), session::commit()),
        ("Commit date".to_owned(), session::commit_date()),
    ];
    // Counted rather than listed: a store holds runs of several commits and machines.
    let mut made: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut data: BTreeMap<String, String> = BTreeMap::new();
    for (key, run) in &session.plan.runs {
        if let Ok(stored) = session.evidence().read(key) {
            let Platform { numerics, device } = stored.environment.platform;
            let by = (format!("{device}, {numerics}"), stored.environment.commit);
            *made.entry(by).or_default() += 1;
        }
        if let Ok(hash) = session.catalog.content_hash(&run.spec) {
            data.insert(run.spec.data.name().to_owned(), hash);
        }
    }
    for ((device, commit), count) in made {
        rows.push((format!("{count} runs made on"), format!("{device}, commit {commit}")));
    }
    for (name, hash) in data {
        rows.push((format!("Data: {name}"), hash));
    }
    // A malformed reference has ended the verification before this.
    if let Ok(Some(blessed)) = Reference::of_profile(&global.expected, &global.profile) {
        let Platform { numerics, device } = blessed.platform;
        let made = format!("on {device}, {numerics}, commit {}", blessed.commit);
        let reason = format!("{}: {}", blessed.date, blessed.reason);
        rows.push(("Reference blessed".to_owned(), reason));
        rows.push(("Reference made".to_owned(), made));
    }
    rows
}
