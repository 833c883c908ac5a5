//! One process trains a run at a time. A lock is a file made with `O_EXCL`, which holds on
//! network file systems too; its holder rewrites it now and then. A lock whose process on
//! this machine is gone, or that nobody has rewritten for long, is taken over.

use super::disk;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a holder shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Silence after which a lock of another machine counts as left behind. Judged by this
/// machine's own clock from when it first saw the lock unchanged, so that clocks that
/// disagree, or jump, do not matter.
const SILENCE: Duration = Duration::from_secs(90);

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub host: String,
    pub pid: u32,
    /// Start time of the process in clock ticks since boot: a process id can come again.
    pub started: u64,
    /// Distinguishes two locks of one process, and rises with every heartbeat.
    pub beat: u64,
}

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub struct LockGuard {
    path: PathBuf,
    me: Holder,
    stop: Arc<AtomicBool>,
    heart: Option<std::thread::JoinHandle<()>>,
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(heart) = self.heart.take() {
            heart.thread().unpark();
            // A heartbeat that panicked has nothing more to say.
            drop(heart.join());
        }
        if self.me.holds(&self.path) {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn host() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    // The boot id tells containers and restarts of one machine apart from other machines
    // that happen to have its name.
    format!(
        "{}/{}",
        read("/proc/sys/kernel/hostname").trim(),
        read("/proc/sys/kernel/random/boot_id").trim()
    )
}

/// Start time of a process, field 22 of its `stat`; `None` if there is no such process.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces; fields are counted after it.
    let after = stat.rsplit_once(')')?.1;
    let state = after.split_whitespace().next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    after.split_whitespace().nth(19)?.parse().ok()
}

impl Holder {
    fn me() -> Holder {
        let pid = std::process::id();
        Holder { host: host(), pid, started: start_time(pid).unwrap_or(0), beat: 0 }
    }

    /// Whether the lock at `path` is this process's own.
    fn holds(&self, path: &Path) -> bool {
        let text = std::fs::read(path).unwrap_or_default();
        let holder: Option<Holder> = serde_json::from_slice(&text).ok();
        holder.is_some_and(|holder| Holder { beat: self.beat, ..holder } == *self)
    }

    /// `Some(false)` if the holder's process is known to be gone.
    fn lives(&self) -> Option<bool> {
        (self.host == host()).then(|| start_time(self.pid) == Some(self.started))
    }
}

/// Tries to take the lock at `path` once; `None` if somebody else has it.
///
/// # Errors
/// If the folder cannot be written.
pub fn try_lock(path: &Path, silence: &mut Silence) -> io::Result<Option<LockGuard>> {
    let me = Holder::me();
    let text = serde_json::to_vec(&me)?;
    match disk::create_new(path, &text) {
        Ok(()) => return Ok(Some(guard(path, me))),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let Ok(seen) = std::fs::read(path) else { return Ok(None) }; // let go just now
    if !silence.left_behind(&seen) {
        return Ok(None);
    }
    // Two processes may find the same lock left behind. Renaming takes it away from the
    // other; should the file have become a live lock in between, it is put back.
    let aside = disk::with_suffix(path, &format!(".stale-{}-{}", me.pid, me.started));
    if disk::rename(path, &aside).is_err() {
        return Ok(None);
    }
    let taken = std::fs::read(&aside)?;
    if taken != seen {
        drop(std::fs::hard_link(&aside, path));
        std::fs::remove_file(&aside)?;
        return Ok(None);
    }
    std::fs::remove_file(&aside)?;
    match disk::create_new(path, &text) {
        Ok(()) => Ok(Some(guard(path, me))),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(e) => Err(e),
    }
}

/// Decides whether a lock was left behind, over several looks at it.
#[derive(Debug, Default)]
pub struct Silence {
    last: Option<(Vec<u8>, std::time::Instant)>,
}

impl Silence {
    fn left_behind(&mut self, content: &[u8]) -> bool {
        let holder: Option<Holder> = serde_json::from_slice(content).ok();
        if let Some(lives) = holder.and_then(|holder| holder.lives()) {
            return !lives;
        }
        // Another machine's, or cut off while it was written: wait for a sign of life.
        match &self.last {
            Some((before, since)) if before == content => since.elapsed() > SILENCE,
            _ => {
                self.last = Some((content.to_owned(), std::time::Instant::now()));
                false
            }
        }
    }
}

fn guard(path: &Path, me: Holder) -> LockGuard {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, file, mut holder) = (Arc::clone(&stop), path.to_owned(), me.clone());
    let heart = std::thread::spawn(move || {
        loop {
            std::thread::park_timeout(HEARTBEAT);
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            // Somebody who thought this process dead may have taken the lock: leave it.
            if !holder.holds(&file) {
                continue;
            }
            holder.beat += 1;
            // A missed beat is made up by the next one.
            if let Ok(text) = serde_json::to_vec(&holder) {
                drop(disk::replace(&file, &text));
            }
        }
    });
    LockGuard { path: path.to_owned(), me, stop, heart: Some(heart) }
}
