//! Progress of data commands: a bar on a terminal, a line now and then elsewhere; both on
//! standard error.

use crate::cli::terminal::{self, note};
use crate::data::progress::{Progress, Step};
use crate::schedule::context::INTERRUPTED;
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows progress, and stops the work once the user has asked for it.
pub fn reporter(quiet: bool) -> impl FnMut(Progress) -> ControlFlow<()> {
    let (bar, terminal) = terminal::bar(None, quiet);
    let bar = Cleared(bar);
    let (mut step, mut last) = (None, Instant::now());
    move |progress| {
        if step != Some(progress.step) {
            step = Some(progress.step);
            bar.0.set_style(style(progress));
            bar.0.set_message(words(progress.step));
            bar.0.reset();
        }
        bar.0.set_length(progress.total.unwrap_or(progress.done));
        bar.0.set_position(progress.done);
        if !terminal && !quiet && last.elapsed() >= LINE_EVERY {
            last = Instant::now();
            let total = progress.total.map_or(String::new(), |total| format!(" of {total}"));
            note!("{}: {}{total}", words(progress.step), progress.done);
        }
        let stop = INTERRUPTED.load(Ordering::SeqCst);
        if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// A bar that leaves the terminal as it was.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style(progress: Progress) -> ProgressStyle {
    let images = matches!(progress.step, Step::Inspect | Step::Prepare(_));
    let template = match (progress.total, images) {
        (Some(_), true) => "{msg} {wide_bar} {pos}/{len} images, {per_sec}, {eta} left",
        (Some(_), false) => "{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
        (None, _) => "{spinner} {msg} {bytes}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn words(step: Step) -> &'static str {
    match step {
        Step::Download => "downloading",
        Step::Verify => "verifying",
        Step::Unpack => "unpacking",
        Step::Inspect => "reading headers",
        Step::Prepare(_) => "decoding",
        Step::Wait => "waiting",
    }
}
