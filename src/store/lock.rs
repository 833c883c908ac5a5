//! One process trains a run at a time. A lock is a file made with `O_EXCL`, which holds on
//! network file systems too; its holder rewrites it now and then. A lock whose process on
//! this machine is gone, or that nobody has rewritten for long, is taken over. No decision
//! rests on the time of day: a clock that jumps changes nothing.

use super::disk;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a holder shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Silence after which a lock of another machine counts as left behind. Judged by this
/// machine's own clock from when it first saw the lock unchanged, so that clocks that
/// disagree do not matter.
pub const SILENCE: Duration = Duration::from_secs(90);
/// The same for a lock that names nobody: its maker died between making and filling it.
const NAMELESS: Duration = Duration::from_secs(5);

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    pub host: String,
    pub pid: u32,
    /// Start time of the process in clock ticks since boot: a process id can come again.
    pub started: u64,
    /// Rises with every heartbeat.
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
            // Left over, it is found to be a dead process's.
            drop(disk::remove_file(&self.path));
        }
    }
}

/// Names this machine and, within it, the space that process ids are counted in. The boot id
/// tells restarts, and machines of the same name, apart; two containers may share both.
fn host() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!(
        "{}/{}/{}",
        read("/proc/sys/kernel/hostname").trim(),
        read("/proc/sys/kernel/random/boot_id").trim(),
        space.display()
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
    let ticks: u64 = after.split_whitespace().nth(19)?.parse().ok()?;
    Some(ticks + disk::incarnation())
}

impl Holder {
    /// This process.
    pub fn me() -> Holder {
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
    match create(path) {
        Ok(guard) => return Ok(Some(guard)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let Ok(mut file) = File::open(path) else { return Ok(None) }; // let go just now
    let mut seen = Vec::new();
    if file.read_to_end(&mut seen).is_err() {
        return Ok(None);
    }
    if !silence.left_behind(&seen) {
        return Ok(None);
    }
    // Several processes may find the same lock left behind. The system lets one of them have
    // the file, and takes it away from one that dies; the others then find another file here.
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        // A file system without such locks: the look below has to do.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    if std::fs::read(path).ok() != Some(seen) {
        return Ok(None);
    }
    disk::remove_file(path)?;
    match create(path) {
        Ok(guard) => Ok(Some(guard)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(None),
        Err(e) => Err(e),
    }
}

fn create(path: &Path) -> io::Result<LockGuard> {
    let me = Holder::me();
    disk::create_new(path, &serde_json::to_vec(&me)?)?;
    Ok(guard(path, me))
}

/// Decides whether a lock was left behind, over several looks at it.
#[derive(Debug)]
pub struct Silence {
    /// Longest silence of a holder of another machine.
    patience: Duration,
    last: Option<(Vec<u8>, Instant)>,
}

impl Default for Silence {
    fn default() -> Self {
        Silence::of(SILENCE)
    }
}

impl Silence {
    /// Waits this long for a sign of life of a holder of another machine.
    pub fn of(patience: Duration) -> Self {
        Silence { patience, last: None }
    }

    fn left_behind(&mut self, content: &[u8]) -> bool {
        let holder: Option<Holder> = serde_json::from_slice(content).ok();
        let patience = if holder.is_some() { self.patience } else { self.patience.min(NAMELESS) };
        if let Some(lives) = holder.and_then(|holder| holder.lives()) {
            return !lives;
        }
        match &self.last {
            Some((before, since)) if before == content => since.elapsed() > patience,
            _ => {
                self.last = Some((content.to_owned(), Instant::now()));
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
            // In place: the text only grows. A missed beat is made up by the next one.
            if let Ok(text) = serde_json::to_vec(&holder) {
                drop(disk::overwrite(&file, &text));
            }
        }
    });
    LockGuard { path: path.to_owned(), me, stop, heart: Some(heart) }
}
