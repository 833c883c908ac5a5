//! `bgm protocol`: the hashes of what is declared, and how they stand to `docs/protocol.md`.

use super::CliError;
use super::args::Global;
use crate::cli::terminal;
use crate::digest::sha256;
use crate::experiments::Profile;
use crate::verify::exit;
use crate::verify::protocol::{self, Declared, ProtocolOutcome, ProtocolStamp};
use crate::verify::reference::Reference;
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

/// What a reference made now remembers of the protocol.
pub fn stamp(global: &Global) -> Result<Option<ProtocolStamp>, CliError> {
    let Some((_, stamp)) = text(global)? else { return Ok(None) };
    let blessed = Some(declared(global, std::slice::from_ref(&global.profile))?);
    Ok(Some(ProtocolStamp { blessed, ..stamp }))
}

/// How claims and sizes stand to the protocol; `None` if there is none.
pub fn outcome(
    global: &Global,
    blessed: Option<&Reference>,
) -> Result<Option<ProtocolOutcome>, CliError> {
    let Some((text, stamp)) = text(global)? else { return Ok(None) };
    let now = declared(global, std::slice::from_ref(&global.profile))?;
    let blessed = blessed.and_then(|reference| reference.protocol.as_ref());
    let outcome = protocol::compare((&text, &stamp), blessed, &now, &global.profile)?;
    Ok(Some(outcome))
}
