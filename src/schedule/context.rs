//! What a run needs from its surroundings, and how it is told to end.

use crate::backend::Device;
use crate::data::Catalog;
use crate::store::Store;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long unsaved work may grow, unless told otherwise, before a checkpoint is written at
/// the next step.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// Set when the process is asked to end; training saves its state at the next step and stops.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Set while something is written that an end of the process would waste.
pub static SAVING: AtomicBool = AtomicBool::new(false);

/// What a run needs from its surroundings.
pub struct Context<'a> {
    pub store: &'a Store,
    pub catalog: &'a Catalog,
    pub device: &'a dyn Device,
    /// Commit of the program, for the record.
    pub commit: &'a str,
    /// How long unsaved work may grow before a checkpoint is written; zero: at every step.
    pub checkpoint_every: Duration,
    /// Silence after which a process of another machine that holds a run counts as dead.
    pub lock_patience: Duration,
    /// Called after each epoch with (epoch, most epochs).
    pub progress: &'a dyn Fn(u32, u32),
    /// Told in words of what was found damaged and is made again.
    pub notice: &'a dyn Fn(&str),
}
