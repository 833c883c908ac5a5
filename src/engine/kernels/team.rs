//! Threads that share the parts of one piece of work. They spin for some microseconds when
//! there is nothing to do, then sleep.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle, Thread};

/// Polls before a thread goes to sleep. Long enough to bridge the gap between two layers, short
/// enough not to hold a core that another process wants: 20 to 100 microseconds, depending on how
/// long the processor's pause instruction takes.
const SPINS: usize = 2000;

/// A piece of work: called with the number of a part.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// What the threads share. A call of [`Team::run`] is a *round*: it is opened, workers enter and
/// take parts, it is closed to latecomers, and it ends when the last worker has left.
struct Board {
    /// Held for a round, of which there is one at a time.
    round: Mutex<()>,
    /// The closure of the round. Dereferenced only by workers that have entered it.
    work: Mutex<Option<*const Work<'static>>>,
    parts: AtomicUsize,
    next: AtomicUsize,
    /// Bits 0 to 31: workers in the round. Bit 32: workers may enter. The rest: its number.
    state: AtomicU64,
    panicked: AtomicBool,
    stop: AtomicBool,
    /// The thread that called [`Team::run`], woken by the last worker to leave.
    owner: Mutex<Option<Thread>>,
}

/// The lower half of [`Board::state`]: workers in the round.
const WORKERS: u64 = u32::MAX as u64;
/// Workers may still enter.
const OPEN: u64 = 1 << 32;
/// Added to the state to begin the next round.
const ROUND: u64 = 1 << 33;

// SAFETY: the pointer is to a `Sync` closure, and is followed only while its owner waits.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

/// One or more threads, the caller's among them.
pub struct Team {
    board: Option<Arc<Board>>,
    workers: Vec<JoinHandle<()>>,
}

impl Team {
    /// A team of `threads` threads, the caller's included; fewer if the system refuses to start
    /// more.
    pub fn new(threads: usize) -> Team {
        if threads <= 1 {
            return Team { board: None, workers: Vec::new() };
        }
        let board = Arc::new(Board {
            round: Mutex::new(()),
            work: Mutex::new(None),
            parts: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            state: AtomicU64::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            owner: Mutex::new(None),
        });
        let start = |index| {
            let board = Arc::clone(&board);
            let name = format!("engine-{index}");
            thread::Builder::new().name(name).spawn(move || serve(&board)).ok()
        };
        let workers = (1..threads).map_while(start).collect();
        Team { board: Some(board), workers }
    }

    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `work(part)` once for each part in `0..parts`, on this thread and any worker that is
    /// awake, in no fixed order; returns when all are done.
    ///
    /// # Panics
    /// If a part panics; the other parts may still have run. If it is called from two threads at
    /// once or from inside `work`, as an engine, which is borrowed exclusively, never does.
    pub fn run(&self, parts: usize, work: &Work<'_>) {
        match &self.board {
            Some(board) if parts > 1 && !self.workers.is_empty() => self.share(board, parts, work),
            _ => (0..parts).for_each(work),
        }
    }

    fn share(&self, board: &Board, parts: usize, work: &Work<'_>) {
        let _round = match board.round.try_lock() {
            Ok(round) => round,
            // A part of an earlier round panicked, which its caller was told.
            Err(TryLockError::Poisoned(round)) => round.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("a team does one piece of work at a time"),
        };
        // SAFETY: only the lifetime changes. A worker follows the pointer only in the round, and
        // this function returns, or unwinds, only when the round is closed and empty.
        let lasting = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        *lock(&board.work) = Some(lasting);
        *lock(&board.owner) = Some(thread::current());
        board.parts.store(parts, Ordering::Relaxed);
        board.next.store(0, Ordering::Relaxed);
        // The last round is closed and empty, and this one is locked: nobody else changes it.
        let round = board.state.load(Ordering::Relaxed) & !OPEN;
        board.state.store(round.wrapping_add(ROUND) | OPEN, Ordering::Release);
        self.workers.iter().for_each(|worker| worker.thread().unpark());
        let own = catch_unwind(AssertUnwindSafe(|| take_parts(board, work)));
        // A worker that has not entered by now is not waited for: on a busy machine it may take
        // long to get a core.
        board.state.fetch_and(!OPEN, Ordering::AcqRel);
        wait(|| board.state.load(Ordering::Acquire) & WORKERS == 0);
        let has_panicked = board.panicked.swap(false, Ordering::Relaxed);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!has_panicked, "a thread of the engine panicked");
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        if let Some(board) = &self.board {
            board.stop.store(true, Ordering::Release);
        }
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // Panics of the work are caught in `serve`; a failed join has nobody to report to.
            drop(worker.join());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take_parts(board: &Board, work: &Work<'_>) {
    let parts = board.parts.load(Ordering::Relaxed);
    loop {
        let part = board.next.fetch_add(1, Ordering::Relaxed);
        if part >= parts {
            return;
        }
        work(part);
    }
}

/// Spins, then sleeps, until the condition holds. Whoever makes it true must unpark this thread.
fn wait(mut condition: impl FnMut() -> bool) {
    for _ in 0..SPINS {
        if condition() {
            return;
        }
        std::hint::spin_loop();
    }
    while !condition() {
        thread::park();
    }
}

fn serve(board: &Board) {
    let mut last = 0;
    loop {
        let mut state = 0;
        wait(|| {
            state = board.state.load(Ordering::Acquire);
            board.stop.load(Ordering::Acquire) || (state & OPEN != 0 && state / ROUND != last)
        });
        if board.stop.load(Ordering::Acquire) {
            return;
        }
        let enter =
            board.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
        if enter.is_err() {
            continue;
        }
        last = state / ROUND;
        let work = *lock(&board.work);
        if let Some(work) = work {
            // SAFETY: this worker is in the round, which its owner waits for.
            let work = unsafe { &*work };
            if catch_unwind(AssertUnwindSafe(|| take_parts(board, work))).is_err() {
                board.panicked.store(true, Ordering::Relaxed);
            }
        }
        let owner = lock(&board.owner).clone();
        let before = board.state.fetch_sub(1, Ordering::AcqRel);
        if before & (WORKERS | OPEN) == 1
            && let Some(owner) = owner
        {
            owner.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once() {
        for threads in 1..4 {
            let team = Team::new(threads);
            assert_eq!(team.threads(), threads);
            for parts in [0, 1, 2, 7, 100] {
                let counts: Vec<_> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                team.run(parts, &|part| {
                    counts[part].fetch_add(1, Ordering::Relaxed);
                });
                let once = counts.iter().all(|count| count.load(Ordering::Relaxed) == 1);
                assert!(once, "{threads} threads, {parts} parts");
            }
        }
    }

    #[test]
    fn a_panic_in_a_part_reaches_the_caller() {
        let team = Team::new(2);
        let run = || team.run(8, &|part| assert!(part != 5, "part 5"));
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        // Whether it was the caller's part, a worker's or both: the next round is a fresh one.
        team.run(8, &|_| {});
    }

    #[test]
    fn a_round_within_a_round_is_refused() {
        let team = Team::new(2);
        let nested = || team.run(2, &|_| team.run(2, &|_| {}));
        assert!(catch_unwind(AssertUnwindSafe(nested)).is_err());
        team.run(2, &|_| {});
    }
}
