//! What a run keeps while it is trained, so that the next call goes on from there.

use super::context::{Context, INTERRUPTED, SAVING};
use crate::models::weights::{self, NamedTensors};
use crate::spec::Key;
use crate::store::StoreError;
use crate::store::lock::LockGuard;
use crate::train::{EpochPosition, Observer, TrainError};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Between two checkpoints lies at least this many times what one takes, so that saving costs
/// a hundredth of the time at most.
const SHARE: u32 = 100;

/// Saves checkpoints and reports progress.
pub struct Watch<'a> {
    key: &'a Key,
    context: &'a Context<'a>,
    guard: &'a LockGuard,
    saved: Instant,
    /// What the last checkpoint took.
    cost: Duration,
    /// Weights kept along the way, by epoch.
    pub snapshots: BTreeMap<u32, Vec<u8>>,
}

impl<'a> Watch<'a> {
    pub fn new(key: &'a Key, context: &'a Context<'a>, guard: &'a LockGuard) -> Self {
        let (saved, cost) = (Instant::now(), Duration::ZERO);
        Watch { key, context, guard, saved, cost, snapshots: BTreeMap::new() }
    }

    /// Whether enough is unsaved. Asked for checkpoints without a pause, always.
    fn is_due(&self) -> bool {
        let every = self.context.checkpoint_every;
        every.is_zero() || self.saved.elapsed() >= every.max(self.cost * SHARE)
    }

    fn save(&mut self, state: &dyn Fn() -> Vec<u8>) -> Result<(), TrainError> {
        let begun = Instant::now();
        saving(|| self.context.store.checkpoint(self.key, &state()))?;
        self.saved = Instant::now();
        self.cost = self.saved - begun;
        Ok(())
    }

    fn check_lock(&self) -> Result<(), TrainError> {
        if self.guard.is_lost() { Err(TrainError::TakenOver) } else { Ok(()) }
    }
}

/// Does what should not be cut off by an impatient end of the process.
pub fn saving<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, TrainError> {
    SAVING.store(true, Ordering::SeqCst);
    let outcome = work();
    SAVING.store(false, Ordering::SeqCst);
    outcome.map_err(|e| TrainError::Save(e.to_string()))
}

impl Observer for Watch<'_> {
    fn step(&mut self, at: EpochPosition, state: &dyn Fn() -> Vec<u8>) -> Result<(), TrainError> {
        self.check_lock()?;
        let interrupted = self.interrupted();
        // Before its first batch, an epoch has nothing that the last one did not save.
        if interrupted || at.batches > 0 && self.is_due() {
            self.save(state)?;
        }
        if interrupted { Err(TrainError::Interrupted(at)) } else { Ok(()) }
    }

    fn epoch(
        &mut self,
        epoch: u32,
        most: u32,
        state: &dyn Fn() -> Vec<u8>,
    ) -> Result<(), TrainError> {
        self.check_lock()?;
        let interrupted = self.interrupted();
        if interrupted || self.is_due() {
            self.save(state)?;
        }
        (self.context.progress)(epoch, most);
        let at = EpochPosition { epoch: epoch + 1, batches: 0, total_batches: 0 };
        if interrupted { Err(TrainError::Interrupted(at)) } else { Ok(()) }
    }

    fn snapshot(&mut self, epoch: u32, state: NamedTensors) -> Result<(), TrainError> {
        self.check_lock()?;
        let bytes = weights::to_bytes(&state, None);
        saving(|| self.context.store.keep_snapshot(self.key, epoch, &bytes))?;
        self.snapshots.insert(epoch, bytes);
        Ok(())
    }

    fn interrupted(&self) -> bool {
        INTERRUPTED.load(Ordering::SeqCst)
    }
}
