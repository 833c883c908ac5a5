//! Standard output and standard error. Failures to write standard error are ignored: only messages
//! are lost. If the reader of standard output has gone (`bgm verify | head -1`), the command still
//! runs to its end and keeps its exit code. Any other failure to write standard output is an error,
//! since the reader would take a part for the whole.

use indicatif::{ProgressBar, ProgressDrawTarget};
use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// The first failure to write standard output, a closed pipe aside.
static FAILED: Mutex<Option<io::Error>> = Mutex::new(None);

/// Prints a line to standard output.
macro_rules! output {
    ($($text:tt)*) => {
        $crate::cli::terminal::print_line(format_args!($($text)*))
    };
}

/// Prints a line to standard error.
macro_rules! note {
    ($($text:tt)*) => { $crate::cli::terminal::say(format_args!($($text)*)) };
}

pub(super) use {note, output};

/// Writes a line to standard output. Control characters, which could drive a terminal and may
/// come from any file that is quoted, are escaped.
pub fn print_line(text: fmt::Arguments<'_>) {
    print_styled(&format!("{}\n", without_controls(&text.to_string())));
}

/// Writes to standard output as it is: text of our own, which may be coloured.
pub fn print_styled(text: &str) {
    remember_failure(io::stdout().lock().write_all(text.as_bytes()));
}

/// Writes a line to standard error, control characters escaped.
pub fn say(text: fmt::Arguments<'_>) {
    say_styled(&format!("{}\n", without_controls(&text.to_string())));
}

/// Writes to standard error as it is: text of our own, which may be coloured.
pub fn say_styled(text: &str) {
    // There is nobody left to tell.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// Flushes standard output at the end of the program.
///
/// # Errors
/// The first failure to write it, a closed pipe aside.
pub fn finish() -> io::Result<()> {
    remember_failure(io::stdout().lock().flush());
    FAILED.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
}

/// Remembers the first failure to write standard output for [`finish`]. A closed pipe is none.
pub fn remember_failure(written: io::Result<()>) {
    if let Err(problem) = written
        && problem.kind() != io::ErrorKind::BrokenPipe
    {
        FAILED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(problem);
    }
}

fn without_controls(text: &str) -> String {
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars()
        .map(|c| if plain(c) { c.to_string() } else { c.escape_default().to_string() })
        .collect()
}

/// Whether to colour a stream: it is a terminal, and NO_COLOR is unset or empty
/// (<https://no-color.org>).
pub fn is_colored(stream: &impl IsTerminal) -> bool {
    is_live(stream) && !forbids_color(std::env::var_os("NO_COLOR").as_deref())
}

/// Whether a stream is a terminal that can move its cursor, as a progress bar does.
pub fn is_live(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && !is_dumb(std::env::var_os("TERM").as_deref())
}

/// A progress bar on standard error, and whether it is visible. It is hidden if `quiet`, and where
/// standard error is not a terminal that can move its cursor: the caller then writes lines instead.
/// `length` is the position at which it is full, if that is known, in the caller's unit.
pub fn bar(length: Option<u64>, quiet: bool) -> (ProgressBar, bool) {
    let shows = is_live(&io::stderr()) && !quiet;
    let target = if shows { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    // indicatif has reasons of its own to hide a bar.
    let shows = !target.is_hidden();
    (ProgressBar::with_draw_target(length, target), shows)
}

fn forbids_color(no_color: Option<&OsStr>) -> bool {
    no_color.is_some_and(|value| !value.is_empty())
}

fn is_dumb(term: Option<&OsStr>) -> bool {
    term.is_none_or(|term| term == "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_switches_colours_and_bars_off() {
        let set = |value: &'static str| Some(OsStr::new(value));
        assert!(forbids_color(set("1")) && forbids_color(set("0")));
        assert!(!forbids_color(set("")) && !forbids_color(None));
        assert!(is_dumb(set("dumb")) && is_dumb(None) && !is_dumb(set("xterm")));
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        let text = without_controls("a\u{1b}[31m\tb\u{9b}2J\r\nc\u{7}");
        assert_eq!(text, "a\\u{1b}[31m\tb\\u{9b}2J\\r\nc\\u{7}");
    }
}
