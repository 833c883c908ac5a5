//! SIGINT (Ctrl-C), SIGTERM (what schedulers send) and SIGHUP (a terminal that closes): the
//! program keeps what it has and exits with the code that says "call again".
//!
//! The signals are blocked in every thread and waited for by one. So they arrive even where
//! the caller has set them to be ignored, as shells do with SIGINT for what they start in the
//! background. Only SIGHUP stays ignored if it was: that is what `nohup` is for.

use super::Failure;
use crate::cli::terminal::note;
use crate::schedule::context::SAVING;
use crate::verify::exit;
use nix::sys::signal::{SigSet, Signal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a process that was asked to end may take to reach a place where it can: with a
/// reserve for saving, within the 10 seconds that are promised.
const GRACE: Duration = Duration::from_millis(7500);
/// How often to look whether it is still saving after that.
const POLL: Duration = Duration::from_millis(50);
/// What a process that was saving may take to end afterwards.
const LAST: Duration = Duration::from_secs(1);

/// Calls `first` for the first signal. What happens then is up to the caller; but a second
/// Ctrl-C ends the process at once, as one expects. Other signals may come twice: a terminal
/// and a parent, or a scheduler and a parent, each send one.
///
/// Must be called before other threads are started.
///
/// # Errors
/// If the system refuses.
pub fn watch(first: impl Fn() + Send + 'static) -> Result<(), Failure> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    if !is_ignored(Signal::SIGHUP) {
        signals.add(Signal::SIGHUP);
    }
    let refused = |e: nix::Error| Failure::Environment(format!("signals: {e}"));
    signals.thread_block().map_err(refused)?;
    std::thread::spawn(move || {
        let (mut seen, mut pressed) = (false, 0);
        loop {
            let Ok(signal) = signals.wait() else { continue };
            pressed += usize::from(signal == Signal::SIGINT);
            if pressed > 1 {
                end();
            }
            if !seen {
                seen = true;
                first();
            }
        }
    });
    Ok(())
}

/// Ends the process with the code that says "call again" if it does not do so by itself
/// within a few seconds, or while it saves: a single step, or reading the data, may take
/// longer than a scheduler waits. The last checkpoint is on the disk.
pub fn end_soon(text: &'static str) {
    std::thread::spawn(move || {
        let asked = Instant::now();
        while asked.elapsed() < GRACE || SAVING.load(Ordering::SeqCst) {
            std::thread::sleep(POLL);
        }
        std::thread::sleep(LAST);
        if !SAVING.load(Ordering::SeqCst) {
            note!("bgm: {text}");
        }
        end();
    });
}

/// Ends the process with the code that says "call again".
pub fn end() -> ! {
    std::process::exit(i32::from(exit::INTERRUPTED))
}

/// Sets `flag` at the first signal.
///
/// # Errors
/// If the system refuses.
pub fn set(flag: &'static AtomicBool) -> Result<(), Failure> {
    watch(|| flag.store(true, Ordering::SeqCst))
}

/// Whether a signal was set to be ignored when this process was started.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal as i32 - 1) & 1 == 1
}
