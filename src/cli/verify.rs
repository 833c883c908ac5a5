//! `bgm verify`: the store against reference and claims.

use super::CliError;
use super::args::{Format, Global, Verify};
use super::session::{Bar, Session};
use crate::cli::terminal::{self, output};
use crate::report;
use crate::verify::junit;

pub fn verify(global: &Global, options: &Verify) -> Result<u8, CliError> {
    let (bar, session) = (Bar::read(global)?, Session::read(global)?);
    let (results, platform) = (session.results(), session.platform(global)?);
    let verification = bar.judge(global, &session.plan, (&results, &platform), options.strict);
    if let Some(path) = &options.junit {
        let text = junit::to_xml(&verification).map_err(CliError::Environment)?;
        std::fs::write(path, text)
            .map_err(|e| CliError::Environment(format!("{}: {e}", path.display())))?;
    }
    match options.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&verification)
                .map_err(|e| CliError::Environment(format!("verification as JSON: {e}")))?;
            output!("{text}");
        }
        Format::Text => {
            let color = terminal::is_colored(&std::io::stdout());
            let summary = report::terminal_summary(&global.asked_for(), &verification, "", color);
            terminal::print_styled(&summary);
        }
    }
    Ok(verification.exit)
}
