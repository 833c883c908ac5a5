//! `bgm bless`: make the store's values the reference.

use super::args::{Bless, Global};
use super::session::{self, Session};
use super::{CliError, protocol};
use crate::backend::Platform;
use crate::cli::terminal::{note, output};
use crate::experiments::{Plan, Profile};
use crate::spec::{Key, TRAINING_SEMANTICS};
use crate::verify::bless::{self as blessing, Provenance};
use crate::verify::changes;
use crate::verify::claims::Claims;
use crate::verify::exit;
use crate::verify::reference::Reference;
use crate::verify::rejudge;
use std::collections::BTreeSet;

pub fn bless(global: &Global, options: &Bless) -> Result<u8, CliError> {
    if options.reason.trim().is_empty() {
        return Err(CliError::Usage("--reason must say why the new values are right".to_owned()));
    }
    if options.write && global.has_own_references() {
        let problem = "--write has no folder to write to: give --expected";
        return Err(CliError::Usage(problem.to_owned()));
    }
    let claims = Claims::read(&global.expected.join("claims.toml"), &global.tables)?;
    let old = Reference::of_profile(&global.expected, &global.profile)?;
    let reason = options.reason.trim().to_owned();
    let new = if options.verdicts_only {
        verdicts_only(global, &claims, old.as_ref(), reason)?
    } else {
        from_store(global, &claims, old.as_ref(), reason)?
    };
    let changes = changes::changes(old.as_ref(), &new);
    if changes.is_empty() {
        output!("no number and no verdict changes");
    }
    for line in &changes {
        output!("{line}");
    }
    let path = global.expected.join(format!("{}.toml", global.profile));
    if !options.write {
        note!("nothing written; --write makes this {}", path.display());
        return Ok(exit::SUCCESS);
    }
    let text = new.to_text().map_err(|problem| {
        CliError::Usage(format!("nothing was written, it could not be read again: {problem}"))
    })?;
    crate::disk::replace(&path, text.as_bytes(), &std::process::id().to_string())
        .map_err(|e| CliError::Environment(format!("{}: {e}", path.display())))?;
    note!("{} written", path.display());
    Ok(exit::SUCCESS)
}

/// What stands between commits, and between devices.
const BY: [&str; 2] = [", ", "; "];

/// A reference from the runs of the store.
fn from_store(
    global: &Global,
    claims: &Claims,
    old: Option<&Reference>,
    reason: String,
) -> Result<Reference, CliError> {
    let session = Session::read(global)?;
    let results = session.results();
    let platform = session.platform(global)?;
    // Numbers of other experiments stay where only some were asked for.
    let previous = old.filter(|_| !global.only.is_empty());
    let kept = previous.filter(|old| blessing::kept(old, &results).next().is_some());
    let (commit, device) = made_by(&session, &platform, kept)?;
    let platform = Platform { device, ..platform };
    let (profile, date) = (global.profile.clone(), today());
    // Runs of the same commits and numerics are those of before: new ones have today's protocol.
    let same_runs = old.filter(|old| {
        session::are_exact(&commit)
            && old.commit == commit
            && old.semantics == TRAINING_SEMANTICS
            && old.platform.numerics == platform.numerics
    });
    let protocol = protocol::stamp(global, same_runs)?;
    let provenance = Provenance { profile, reason, date, commit, platform, protocol };
    blessing::make(&results, claims, provenance, previous)
        .map_err(|e| CliError::Incomplete(e.to_string()))
}

/// The old reference's own values, judged by the claims as they are now.
fn verdicts_only(
    global: &Global,
    claims: &Claims,
    old: Option<&Reference>,
    reason: String,
) -> Result<Reference, CliError> {
    let profile = &global.profile;
    let old = old.ok_or_else(|| {
        CliError::Incomplete(format!("profile {profile} has no blessed reference to judge again"))
    })?;
    let catalog = global.catalog()?;
    let profile = Profile::read(&global.tables, profile)?;
    let plan = Plan::new(&profile, &global.tables, &catalog, &[], None)?;
    let judged = rejudge::rejudge(old, &plan, claims);
    Ok(Reference { reason: format!("{} (verdicts: {reason})", old.reason), ..judged })
}

/// The commits that made the runs, and the devices: several processors can share the numerics
/// that all runs must have, and a record may come from one that is not here. `kept` is the
/// reference whose other numbers stay.
fn made_by(
    session: &Session,
    platform: &Platform,
    kept: Option<&Reference>,
) -> Result<(String, String), CliError> {
    let parts = |joined: &str, by: &str| -> BTreeSet<String> {
        joined.split(by).map(str::to_owned).collect()
    };
    let mut commits = kept.map_or_else(BTreeSet::new, |k| parts(&k.commit, BY[0]));
    let mut devices = kept.map_or_else(BTreeSet::new, |k| parts(&k.platform.device, BY[1]));
    for key in &session.plan.order {
        let Some(environment) = environment(session, key) else { continue };
        if !environment.platform.agrees(platform) {
            return Err(CliError::Incomplete(format!(
                "run {} was made on {}, not on {}: a reference comes from one platform",
                key.short(),
                environment.platform.device,
                platform.device
            )));
        }
        commits.insert(environment.commit);
        devices.insert(environment.platform.device);
    }
    let joined = |names: BTreeSet<String>, by: &str| Vec::from_iter(names).join(by);
    Ok((joined(commits, BY[0]), joined(devices, BY[1])))
}

fn environment(session: &Session, key: &Key) -> Option<crate::store::Environment> {
    session.store.read(key).ok().map(|run| run.environment)
}

/// Today's date in UTC, `YYYY-MM-DD`.
fn today() -> String {
    time::OffsetDateTime::now_utc().date().to_string()
}
