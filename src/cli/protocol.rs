//! `bgm protocol`: the hashes of what is declared, and how they stand to `docs/protocol.md`.

use super::CliError;
use super::args::Global;
use crate::cli::terminal;
use crate::digest::sha256;
use crate::experiments::Profile;
use crate::verify::exit;
use crate::verify::protocol::{self, Declared, ProtocolOutcome, ProtocolStamp};
use crate::verify::reference::Reference;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;

/// Prints the block of hashes of all claims, and of all experiments of all profiles.
pub fn print(global: &Global) -> Result<u8, CliError> {
    let profiles = Profile::names(&global.tables);
    terminal::print_styled(&declared(global, &profiles)?.block());
    Ok(exit::SUCCESS)
}

fn declared(global: &Global, profiles: &[String]) -> Result<Declared, CliError> {
    Ok(Declared::now(&global.expected.join("claims.toml"), &global.tables, profiles)?)
}

/// The protocol beside the folder of claims and references, with its text; `None` if there is
/// none.
fn text(global: &Global) -> Result<Option<(String, ProtocolStamp)>, CliError> {
    let path: PathBuf = global.expected.join("../docs/protocol.md");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(CliError::Environment(format!("{}: {e}", path.display()))),
    };
    let commit = env!("BGM_PROTOCOL_COMMIT").to_owned();
    let sha256 = sha256(text.as_bytes());
    Ok(Some((text, ProtocolStamp { commit, sha256, blessed: None })))
}

/// What a reference made now remembers of the protocol. Where it has the runs of another one, and
/// neither claims nor runs are declared otherwise since then, that is the protocol of those runs.
pub fn stamp(
    global: &Global,
    same_runs: Option<&Reference>,
) -> Result<Option<ProtocolStamp>, CliError> {
    let now = declared(global, std::slice::from_ref(&global.profile))?;
    let then = same_runs.and_then(|same| same.protocol.as_ref());
    let declared_then = then.and_then(|stamp| stamp.blessed.as_ref());
    if declared_then.is_some_and(|then| then.changed(&now, &global.profile).is_empty()) {
        return Ok(then.cloned());
    }
    let found = text(global)?;
    Ok(found.map(|(_, stamp)| ProtocolStamp { blessed: Some(now), ..stamp }))
}

/// The claims that are other ones than when the reference was blessed, as far as it remembers.
pub fn changed_claims(
    global: &Global,
    blessed: Option<&Reference>,
) -> Result<BTreeSet<String>, CliError> {
    let stamp = blessed.and_then(|reference| reference.protocol.as_ref());
    let Some(then) = stamp.and_then(|stamp| stamp.blessed.as_ref()) else {
        return Ok(BTreeSet::new());
    };
    let now = declared(global, &[])?.claims;
    let ids = then.claims.keys().chain(now.keys());
    Ok(ids.filter(|id| then.claims.get(*id) != now.get(*id)).cloned().collect())
}

/// How claims and sizes stand to the protocol; `None` if there is none and none was blessed.
pub fn outcome(
    global: &Global,
    blessed: Option<&Reference>,
) -> Result<Option<ProtocolOutcome>, CliError> {
    let blessed = blessed.and_then(|reference| reference.protocol.as_ref());
    let (text, stamp) = match text(global)? {
        Some(found) => found,
        // The reference remembers what was declared, and that there was a protocol.
        None if blessed.is_some_and(|stamp| stamp.blessed.is_some()) => Default::default(),
        None => return Ok(None),
    };
    let now = declared(global, std::slice::from_ref(&global.profile))?;
    let outcome = protocol::compare((&text, &stamp), blessed, &now, &global.profile)?;
    Ok(Some(outcome))
}
