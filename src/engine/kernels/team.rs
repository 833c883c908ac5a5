//! Threads that share the parts of one piece of work. They spin for some microseconds when
//! there is nothing to do, then sleep.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};

/// Rounds of spinning before a thread sleeps: about 20 microseconds.
const SPINS: usize = 2000;

/// A piece of work: called with the number of a part.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// What the threads share. `work` may be followed only between a rise of `round` and the
/// worker's own fall of `busy`.
struct Board {
    work: Mutex<Option<*const Work<'static>>>,
    parts: AtomicUsize,
    next: AtomicUsize,
    /// Counts pieces of work.
    round: AtomicUsize,
    /// Workers that have not finished this round.
    busy: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
    owner: Mutex<Option<Thread>>,
}

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
            round: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
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
        // SAFETY: only the lifetime changes. No worker follows the pointer once `busy` is 0,
        // and this function returns, or unwinds, only then.
        let lasting = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        *lock(&board.work) = Some(lasting);
        *lock(&board.owner) = Some(thread::current());
        board.parts.store(parts, Ordering::Relaxed);
        board.next.store(0, Ordering::Relaxed);
        board.busy.store(self.workers.len(), Ordering::Relaxed);
        board.round.fetch_add(1, Ordering::Release);
        self.workers.iter().for_each(|worker| worker.thread().unpark());
        let own = catch_unwind(AssertUnwindSafe(|| take_parts(board, work)));
        wait(|| board.busy.load(Ordering::Acquire) == 0);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!board.panicked.load(Ordering::Relaxed), "a thread of the engine panicked");
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        if let Some(board) = &self.board {
            board.stop.store(true, Ordering::Relaxed);
            board.round.fetch_add(1, Ordering::Release);
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
fn wait(so: impl Fn() -> bool) {
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
    let mut round = 0;
    loop {
        wait(|| board.round.load(Ordering::Acquire) != round);
        round += 1;
        if board.stop.load(Ordering::Relaxed) {
            return;
        }
        let work = *lock(&board.work);
        if let Some(work) = work {
            // SAFETY: the owner waits for this worker's fall of `busy`, below.
            let work = unsafe { &*work };
            if catch_unwind(AssertUnwindSafe(|| take_parts(board, work))).is_err() {
                board.panicked.store(true, Ordering::Relaxed);
            }
        }
        let owner = lock(&board.owner).clone();
        if board.busy.fetch_sub(1, Ordering::Release) == 1
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
