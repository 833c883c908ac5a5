//! Threads that share the parts of one piece of work. They spin for some microseconds when
//! there is nothing to do, then sleep.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};

/// Rounds of spinning before a thread sleeps: about 20 microseconds.
const SPINS: usize = 2000;

/// A piece of work: called with the number of a part.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// What the threads share.
struct Board {
    /// Followed only by a worker that has entered the round.
    work: Mutex<Option<*const Work<'static>>>,
    parts: AtomicUsize,
    next: AtomicUsize,
    /// Number of the round, whether it is open, and how many workers are in it.
    state: AtomicU64,
    panicked: AtomicBool,
    stop: AtomicBool,
    owner: Mutex<Option<Thread>>,
}

/// The lower half of [`Board::state`]: workers in the round.
const WORKERS: u64 = u32::MAX as u64;
/// Workers may still enter.
const OPEN: u64 = 1 << 32;
/// One round more.
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
    /// This many threads: `threads - 1` are started. Fewer if the system has no more.
    pub fn new(threads: usize) -> Team {
        if threads <= 1 {
            return Team { board: None, workers: Vec::new() };
        }
        let board = Arc::new(Board {
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

    /// Calls `work` once for each of `0..parts`, on whichever thread is free.
    pub fn run(&self, parts: usize, work: &Work<'_>) {
        match &self.board {
            Some(board) if parts > 1 && !self.workers.is_empty() => self.share(board, parts, work),
            _ => (0..parts).for_each(work),
        }
    }

    fn share(&self, board: &Board, parts: usize, work: &Work<'_>) {
        // SAFETY: only the lifetime changes. A worker follows the pointer only in the round, and
        // this function returns, or unwinds, only when the round is closed and empty.
        let lasting = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        *lock(&board.work) = Some(lasting);
        *lock(&board.owner) = Some(thread::current());
        board.parts.store(parts, Ordering::Relaxed);
        board.next.store(0, Ordering::Relaxed);
        // It is closed and empty: nobody else changes it.
        let round = board.state.load(Ordering::Relaxed) & !OPEN;
        board.state.store((round + ROUND) | OPEN, Ordering::Release);
        self.workers.iter().for_each(|worker| worker.thread().unpark());
        let own = catch_unwind(AssertUnwindSafe(|| take_parts(board, work)));
        // A worker that has not come by now is not waited for: on a busy machine it may take
        // long to get a core.
        board.state.fetch_and(!OPEN, Ordering::AcqRel);
        wait(|| board.state.load(Ordering::Acquire) & WORKERS == 0);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!board.panicked.swap(false, Ordering::Relaxed), "a thread of the engine panicked");
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        if let Some(board) = &self.board {
            board.stop.store(true, Ordering::Release);
        }
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // It panics only outside of the work, which is caught.
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

/// Spins, then sleeps, until it is so. Whoever makes it so unparks this thread.
fn wait(mut so: impl FnMut() -> bool) {
    for _ in 0..SPINS {
        if so() {
            return;
        }
        std::hint::spin_loop();
    }
    while !so() {
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
    }
}
