//! SIGINT (Ctrl-C), SIGTERM (sent by schedulers) and SIGHUP (the terminal was closed): the
//! program saves its work and exits with [`exit::INTERRUPTED`] (75: call again).
//!
//! Every thread blocks these signals and one thread waits for them. They therefore arrive even if
//! the caller had set them to be ignored, as shells do with SIGINT for background jobs. SIGHUP is
//! the exception: it stays ignored if it was, because `nohup` relies on that.

use super::CliError;
use crate::cli::terminal::note;
use crate::schedule::context::{INTERRUPTED, SAVING};
use crate::verify::exit;
use nix::sys::signal::{SigSet, Signal};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Time to reach the next step boundary, where training saves and stops. Leaves a reserve for
/// saving within the 10 seconds that docs/clusters.md promises.
const GRACE: Duration = Duration::from_millis(7500);
/// Interval at which the time and [`SAVING`] are checked.
const POLL: Duration = Duration::from_millis(50);
/// Time that the process has to exit by itself after [`GRACE`], or after a later save.
const EXIT_GRACE: Duration = Duration::from_secs(1);

/// Spawns a thread that calls `on_first` at the first signal; the caller decides what happens
/// then. A second Ctrl-C ends the process at once. A second SIGTERM or SIGHUP does not, because
/// a terminal or scheduler and the parent process may each send one.
///
/// Call this before any other thread is started: only later threads inherit the blocked signals.
///
/// # Errors
/// If the operating system refuses to block the signals.
pub fn watch(on_first: impl Fn() + Send + 'static) -> Result<(), CliError> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    if !is_ignored(Signal::SIGHUP) {
        signals.add(Signal::SIGHUP);
    }
    let refused = |e: nix::Error| CliError::Environment(format!("cannot block signals: {e}"));
    signals.thread_block().map_err(refused)?;
    std::thread::spawn(move || {
        let (mut seen, mut interrupts) = (false, 0);
        loop {
            let Ok(signal) = signals.wait() else { continue };
            interrupts += usize::from(signal == Signal::SIGINT);
            if interrupts > 1 {
                end();
            }
            if !seen {
                seen = true;
                on_first();
            }
        }
    });
    Ok(())
}

/// Starts a thread that prints `message` and ends the process with [`exit::INTERRUPTED`], unless
/// the process exits by itself before: within [`GRACE`] and [`EXIT_GRACE`], or within
/// [`EXIT_GRACE`] of the end of a save. A save that has begun by then is waited for, however late
/// it began.
///
/// A single step, or reading the data, may take longer than a scheduler waits before it sends
/// SIGKILL. Only the work since the last checkpoint is lost.
fn end_soon(message: &'static str) {
    std::thread::spawn(move || {
        let mut deadline = Instant::now() + GRACE + EXIT_GRACE;
        loop {
            let now = Instant::now();
            if SAVING.load(Ordering::SeqCst) {
                deadline = deadline.max(now + EXIT_GRACE);
            } else if now >= deadline {
                break;
            }
            std::thread::sleep(POLL);
        }
        note!("bgm: {message}");
        end();
    });
}

/// Ends the process with [`exit::INTERRUPTED`].
pub fn end() -> ! {
    std::process::exit(i32::from(exit::INTERRUPTED))
}

/// Lets the run that is being trained save and stop at the first signal, and ends the process if
/// it does not, with `message`.
///
/// # Errors
/// As [`watch`].
pub fn stop_training(message: &'static str) -> Result<(), CliError> {
    watch(move || {
        INTERRUPTED.store(true, Ordering::SeqCst);
        end_soon(message);
    })
}

/// Sets [`INTERRUPTED`] at the first signal: for work that stops where it can be gone on with.
///
/// # Errors
/// As [`watch`].
pub fn set_flag() -> Result<(), CliError> {
    watch(|| INTERRUPTED.store(true, Ordering::SeqCst))
}

/// Whether the disposition of `signal` is "ignore", inherited from the caller. Read from Linux's
/// /proc, because `sigaction` would need `unsafe`; false where /proc is not available.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal as i32 - 1) & 1 == 1
}
