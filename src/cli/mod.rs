//! The command line: parse, dispatch, exit code. The only floor that prints, reads the
//! environment or ends the process.

mod args;
mod bless;
mod check;
mod child;
mod data;
mod data_progress;
mod device;
mod diff;
mod doctor;
mod early;
mod folders;
mod merge;
mod plan;
mod program;
mod progress;
mod protocol;
mod prune;
mod records;
mod report;
mod reproduce;
mod run;
mod session;
mod signals;
mod store;
mod terminal;
mod trace;
mod verify;

use crate::data::DataError;
use crate::embedded::Embedded;
use crate::experiments::{PlanError, ProfileError};
use crate::schedule::worker::RunError;
use crate::store::StoreError;
use crate::store::merge::MergeError;
use crate::train::TrainError;
use crate::verify::exit;
use crate::verify::files::ReferenceError;
use crate::verify::protocol::ProtocolError;
use args::{Arguments, Command};
use clap::Parser;
use terminal::note;

/// Anything that ends the program with a message.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Incomplete(String),
    #[error("{0}")]
    Environment(String),
}

fn data_code(error: &DataError) -> u8 {
    match error {
        DataError::Unknown(_) | DataError::Spec { .. } => exit::USAGE,
        DataError::Interrupted => exit::INTERRUPTED,
        _ => exit::ENVIRONMENT,
    }
}

fn plan_code(error: &PlanError) -> u8 {
    match error {
        PlanError::Data(e) => data_code(e),
        PlanError::Profile(_) | PlanError::Spec { .. } => exit::USAGE,
    }
}

impl CliError {
    fn code(&self) -> u8 {
        match self {
            CliError::Plan(e) => plan_code(e),
            CliError::Data(e) => data_code(e),
            CliError::Profile(_) | CliError::Usage(_) => exit::USAGE,
            CliError::Run(RunError::Train(TrainError::Interrupted(_)) | RunError::Interrupted) => {
                exit::INTERRUPTED
            }
            CliError::Merge(MergeError::Stopped) => exit::INTERRUPTED,
            CliError::Merge(MergeError::Itself(_)) => exit::USAGE,
            CliError::Run(RunError::Train(TrainError::Data(e))) => data_code(e),
            CliError::Run(RunError::Train(TrainError::Numerics { .. })) => exit::USAGE,
            CliError::Run(RunError::Plan(e)) => plan_code(e),
            CliError::Run(RunError::Measure(_)) => exit::USAGE,
            CliError::Incomplete(_) => exit::INCOMPLETE,
            CliError::Reference(ReferenceError::Format { .. }) => exit::USAGE,
            CliError::Protocol(ProtocolError::Claims(ReferenceError::Io { .. })) => {
                exit::ENVIRONMENT
            }
            CliError::Protocol(_) => exit::USAGE,
            CliError::Run(_)
            | CliError::Store(_)
            | CliError::Merge(_)
            | CliError::Reference(_)
            | CliError::Environment(_) => exit::ENVIRONMENT,
        }
    }
}

/// Of two exit codes, the one that matters more.
fn worse(a: u8, b: u8) -> u8 {
    let order = [exit::DEPARTURE, exit::ENVIRONMENT, exit::INCOMPLETE];
    order.into_iter().find(|code| [a, b].contains(code)).unwrap_or(exit::SUCCESS)
}

/// Runs the program with its command line; the exit code. `embedded` stands in for the
/// repository's folders where they are not there.
pub fn main(embedded: Embedded) -> u8 {
    let code = match Arguments::try_parse() {
        Ok(mut arguments) => {
            arguments.global.embedded = embedded;
            guarded(arguments)
        }
        Err(said) if said.use_stderr() => {
            // There may be nobody left to tell.
            drop(said.print());
            exit::USAGE
        }
        Err(asked) => {
            terminal::remember_failure(asked.print());
            exit::SUCCESS
        }
    };
    match terminal::finish() {
        Ok(()) => code,
        Err(problem) => {
            note!("bgm: standard output: {problem}");
            exit::ENVIRONMENT
        }
    }
}

/// Runs a command; what fails is told on standard error.
fn guarded(mut arguments: Arguments) -> u8 {
    // libtorch's own failures (a GPU out of memory, say) come out of tch as panics: they end
    // in one line and an exit code of their own, which schedulers retry.
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no message");
        let text = text.split("\\nException raised").next().unwrap_or(text);
        let place = panic.location().map_or(String::new(), |at| format!(" ({at})"));
        note!("bgm: internal error: {}{place}", text.lines().next().unwrap_or_default());
    }));
    match std::panic::catch_unwind(move || {
        device::clear_settings()?;
        arguments.global.find_folders()?;
        dispatch(&arguments)
    }) {
        Ok(Ok(code)) => code,
        Ok(Err(failure)) => {
            note!("bgm: {failure}");
            failure.code()
        }
        Err(_) => exit::INTERNAL,
    }
}

fn dispatch(arguments: &Arguments) -> Result<u8, CliError> {
    let global = &arguments.global;
    match &arguments.command {
        Command::Reproduce(options) => reproduce::reproduce(global, options),
        Command::Plan(options) => plan::plan(global, options),
        Command::Run(options) => run::run(global, options),
        Command::Check(options) => check::check(global, options),
        Command::Verify(options) => verify::verify(global, options),
        Command::Report(options) => report::report(global, options),
        Command::Bless(options) => bless::bless(global, options),
        Command::Protocol => protocol::print(global),
        Command::Diff(options) => diff::diff(global, options),
        Command::Data(options) => data::data(global, options),
        Command::Store(options) => store::store(global, options),
        Command::Trace(options) => trace::trace(global, options),
        Command::Doctor => doctor::doctor(global),
    }
}
