use crate::experiments::results::ExperimentResult;
use crate::verify::outcome::Verification;
pub struct ReportContext<'a> { pub profile: &'a str, pub results: &'a [ExperimentResult], pub verification: &'a Verification, pub provenance: &'a [(String, String)], pub command: &'a str }
pub fn write(out: &std::path::Path, c: &ReportContext<'_>) -> Result<Vec<std::path::PathBuf>, std::io::Error> { std::fs::create_dir_all(out)?; let _ = c; Ok(vec![]) }
pub fn terminal_summary(c: &ReportContext<'_>, _: bool) -> String { format!("{:#?}", c.verification.claims) }
pub fn verdicts_markdown(_: &Verification) -> String { String::new() }
