//! How long work tells where it is, and is told to stop.

use super::DataError;
use std::ops::ControlFlow;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes of an archive.
    Download,
    /// Bytes of a file, against its digest.
    Verify,
    /// Bytes out of an archive.
    Unpack,
    /// Image files, whose headers are read.
    Inspect,
    /// Images of a split (`train.bgm` or `test.bgm`).
    Prepare(&'static str),
    /// Waiting before the next attempt.
    Wait,
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub step: Step,
    /// Bytes or images so far.
    pub done: u64,
    /// Of how many, where that is known.
    pub total: Option<u64>,
}

/// Is told of progress now and then (each MiB or so); `Break` stops the work and leaves
/// everything resumable.
pub type Report<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// Counts towards one step and reports each time that enough was done.
pub(super) struct Ticker<'a, 'b> {
    report: &'a mut Report<'b>,
    progress: Progress,
    every: u64,
    next: u64,
}

impl<'a, 'b> Ticker<'a, 'b> {
    pub(super) fn new(report: &'a mut Report<'b>, step: Step, total: Option<u64>) -> Self {
        let every = if matches!(step, Step::Prepare(_) | Step::Inspect) { 100 } else { 1 << 20 };
        Ticker { report, progress: Progress { step, done: 0, total }, every, next: 0 }
    }

    /// Adds to what is done.
    pub(super) fn advance(&mut self, by: u64) -> Result<(), DataError> {
        self.progress.done += by;
        if self.progress.done < self.next && Some(self.progress.done) != self.progress.total {
            return Ok(());
        }
        self.next = self.progress.done + self.every;
        match (self.report)(self.progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(DataError::Interrupted),
        }
    }
}
