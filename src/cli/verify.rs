//! `bgm verify`: the store against reference and claims.

use super::args::{Format, Global, Verify};
use super::session::{self, Session};
use super::{Failure, report};
use crate::verify::junit;
use std::io::IsTerminal;

pub fn verify(global: &Global, options: &Verify) -> Result<u8, Failure> {
    let session = Session::open(global)?;
    let results = session.results();
    let (verification, platform) = session::verification(global, &results, options.strict)?;
    if let Some(path) = &options.junit {
        let text = junit::to_xml(&verification).map_err(Failure::Environment)?;
        std::fs::write(path, text)
            .map_err(|e| Failure::Environment(format!("{}: {e}", path.display())))?;
    }
    match options.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&verification)
                .map_err(|e| Failure::Environment(format!("verification as JSON: {e}")))?;
            println!("{text}");
        }
        Format::Text => {
            let color = std::io::stdout().is_terminal();
            let provenance = report::provenance(global, &session, &platform);
            print!("{}", report::summary(global, &results, &verification, &provenance, color));
        }
    }
    Ok(verification.exit)
}
