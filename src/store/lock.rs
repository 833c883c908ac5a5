//! One process works on a run at a time. A lock is a file made with `O_EXCL`, which one of
//! several machines gets on a network file system too; its holder rewrites it now and then. A
//! lock whose process on this machine is gone, or that nobody has rewritten for long, is taken
//! over. No decision rests on the time of day, nor on the two clocks of two machines agreeing,
//! nor on `flock`.
//!
//! What no lock on a shared file system can promise: a holder that is stopped for longer than
//! others wait (a machine that sleeps, a network that is cut) is succeeded and does not know.
//! It finds out at its next sign of life and stops; whatever it writes before that is the same
//! as its successor's, and put in its place whole ([`super::Store::commit`]).

use crate::digest::sha256;
use crate::disk;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a holder shows that it lives, unless told otherwise.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Silence after which a lock of another machine counts as left behind. Judged by this
/// machine's own clock from when it first saw the lock unchanged, so that clocks that
/// disagree do not matter.
pub const SILENCE: Duration = Duration::from_secs(90);
/// Folder, beside the locks, of claims on those that were left behind.
pub const CLAIMS: &str = "claims";

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    pub host: String,
    pub pid: u32,
    /// Start time of the process in clock ticks since boot, 0 if unknown: a process id can come
    /// again.
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
    lost: Arc<AtomicBool>,
    heart: Option<std::thread::JoinHandle<()>>,
}

impl LockGuard {
    /// Whether somebody took this process for dead and has the lock now, as of the last
    /// heartbeat.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// The same as of now.
    pub fn is_lost_now(&self) -> bool {
        self.is_lost() || self.me.holds(&self.path) == Some(false)
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(heart) = self.heart.take() {
            heart.thread().unpark();
            // A heartbeat that panicked has nothing more to say.
            drop(heart.join());
        }
        if self.me.holds(&self.path) == Some(true) {
            // Left over, it is found to be a dead process's.
            drop(disk::remove_file(&self.path));
        }
    }
}

/// Names this machine and, within it, the space that process ids are counted in. The boot id
/// tells restarts, and machines of the same name, apart; two containers may share both.
fn host() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let name = rustix::system::uname();
    format!("{}/{}/{}", name.nodename().to_string_lossy(), boot.trim(), space.display())
}

/// What is known of a process of this machine.
enum Life {
    /// It started at this time, and has not ended.
    Runs(u64),
    Ended,
    /// `/proc` does not show it: another user's, or a system that has none.
    Unknown,
}

fn life(pid: u32) -> Life {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        let asked = i32::try_from(pid).map(|pid| kill(Pid::from_raw(pid), None));
        return if asked == Ok(Err(Errno::ESRCH)) { Life::Ended } else { Life::Unknown };
    };
    // The name, in parentheses, may hold spaces; fields are counted after it.
    let mut fields = stat.rsplit_once(')').map_or("", |(_, after)| after).split_whitespace();
    if matches!(fields.next(), Some("Z" | "X")) {
        return Life::Ended;
    }
    // Field 22 of the file.
    let ticks = fields.nth(18).and_then(|ticks| ticks.parse::<u64>().ok());
    ticks.map_or(Life::Unknown, |ticks| Life::Runs(ticks + disk::incarnation()))
}

impl Holder {
    /// This process.
    pub fn me() -> Holder {
        let pid = std::process::id();
        let started = if let Life::Runs(started) = life(pid) { started } else { 0 };
        Holder { host: host(), pid, started, beat: 0 }
    }

    /// The same process on a machine of another name: tests let one machine be several.
    pub fn on(self, host: &str) -> Holder {
        Holder { host: host.to_owned(), ..self }
    }

    /// Letters for the names of files that only this process writes: no other one has them,
    /// on whatever machine.
    pub fn token(&self) -> String {
        sha256(format!("{}\n{}\n{}", self.host, self.pid, self.started).as_bytes())[..12].to_owned()
    }

    fn text(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Whether the lock at `path` is this process's own; `None` if that cannot be told.
    fn holds(&self, path: &Path) -> Option<bool> {
        match std::fs::read(path) {
            Ok(text) => {
                let holder: Option<Holder> = serde_json::from_slice(&text).ok();
                Some(holder.is_some_and(|holder| Holder { beat: self.beat, ..holder } == *self))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Some(false),
            Err(_) => None,
        }
    }

    /// As `me` sees it: `Some(false)` if this holder's process is known to be gone.
    fn lives(&self, me: &Holder) -> Option<bool> {
        // Without `/proc` a machine is known by its name only, which another one may have too.
        if self.host != me.host || me.started == 0 {
            return None;
        }
        match life(self.pid) {
            Life::Runs(started) => Some(started == self.started),
            Life::Ended => Some(false),
            Life::Unknown => None,
        }
    }
}

/// Tries to take the lock at `path` once; `None` if somebody else has it.
///
/// # Errors
/// If the folder cannot be written.
pub fn try_lock(path: &Path, silence: &mut Silence, me: &Holder) -> io::Result<Option<LockGuard>> {
    if !claim(path, silence, me)? {
        return Ok(None);
    }
    guard(path, me.clone(), HEARTBEAT).map(Some).inspect_err(|_| drop(disk::remove_file(path)))
}

/// Makes the file at `path` this process's, if it is nobody's or was left behind.
///
/// Several processes may find the same lock left behind, and one that is slow could remove
/// the lock of one that was faster. So whoever wants to remove a lock makes a file first whose
/// name stands for that lock's content (which never comes again: it names a process and its
/// last heartbeat), and then looks whether that content is still there. Of those who saw it,
/// one makes the file, and those who make it later see another content. The file may itself
/// be left behind; then the same holds for it.
fn claim(path: &Path, silence: &mut Silence, me: &Holder) -> io::Result<bool> {
    if created(path, me)? {
        return Ok(true);
    }
    let Ok(seen) = std::fs::read(path) else { return Ok(false) }; // let go just now
    if !silence.left_behind(&seen, me) {
        return Ok(false);
    }
    let claim_path =
        claims_folder(path).join(format!("{}{}", claims_on(path), &sha256(&seen)[..16]));
    if let Some(folder) = claim_path.parent() {
        disk::create_dir_all(folder)?;
    }
    let nested = silence.of_claim.get_or_insert_with(|| Box::new(Silence::of(silence.patience)));
    if !claim(&claim_path, nested, me)? {
        return Ok(false);
    }
    let succeeded = if std::fs::read(path).ok().as_ref() == Some(&seen) {
        disk::remove_file(path)?;
        created(path, me)?
    } else {
        false
    };
    disk::remove_file(&claim_path)?;
    Ok(succeeded)
}

/// Whether this process made the file at `path`.
fn created(path: &Path, me: &Holder) -> io::Result<bool> {
    match disk::create_new(path, &me.text()?) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}

/// Where claims on the lock at `path` lie: claims on claims lie there too.
fn claims_folder(path: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new("."));
    if folder.ends_with(CLAIMS) { folder.to_owned() } else { folder.join(CLAIMS) }
}

/// How the names of claims on the lock at `path` begin.
fn claims_on(path: &Path) -> String {
    format!("{}.", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Removes claims on a lock, which its holder alone may do: none of them is worth anything
/// while another content than the claimed one is there.
pub(super) fn sweep_claims(path: &Path) -> io::Result<()> {
    let beginning = claims_on(path);
    let Ok(entries) = std::fs::read_dir(claims_folder(path)) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&beginning) {
            disk::remove_file(&entry.path())?;
        }
    }
    Ok(())
}

/// Decides whether a lock was left behind, over several looks at it.
#[derive(Debug)]
pub struct Silence {
    /// Longest silence of a holder of another machine, or of one that is not named: its maker
    /// may have died between making and filling the file, or it may be slow.
    patience: Duration,
    last: Option<(Vec<u8>, Instant)>,
    /// The same for claims on the lock.
    of_claim: Option<Box<Silence>>,
}

impl Default for Silence {
    fn default() -> Self {
        Silence::of(SILENCE)
    }
}

impl Silence {
    /// Waits this long for a sign of life of a holder of another machine.
    pub fn of(patience: Duration) -> Self {
        Silence { patience, last: None, of_claim: None }
    }

    fn left_behind(&mut self, content: &[u8], me: &Holder) -> bool {
        let holder: Option<Holder> = serde_json::from_slice(content).ok();
        if let Some(lives) = holder.and_then(|holder| holder.lives(me)) {
            return !lives;
        }
        match &self.last {
            Some((before, since)) if before == content => since.elapsed() > self.patience,
            _ => {
                self.last = Some((content.to_owned(), Instant::now()));
                false
            }
        }
    }
}

/// Shows every `beat` that the holder of a lock lives, until the guard is dropped.
///
/// # Errors
/// If the system gives this process no more threads.
fn guard(path: &Path, me: Holder, beat: Duration) -> io::Result<LockGuard> {
    let (stop, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (stopped, is_lost) = (Arc::clone(&stop), Arc::clone(&lost));
    let (file, mut holder) = (path.to_owned(), me.clone());
    let heart = std::thread::Builder::new().spawn(move || {
        loop {
            std::thread::park_timeout(beat);
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            match holder.holds(&file) {
                Some(true) => {}
                // Somebody who thought this process dead may have taken the lock: leave it.
                Some(false) => {
                    is_lost.store(true, Ordering::SeqCst);
                    return;
                }
                None => continue,
            }
            holder.beat += 1;
            // In place: the text only grows. A missed beat is made up by the next one.
            if let Ok(text) = holder.text() {
                drop(disk::overwrite(&file, &text));
            }
        }
    })?;
    Ok(LockGuard { path: path.to_owned(), me, stop, lost, heart: Some(heart) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_only_where_that_is_known() {
        let me = Holder::me();
        assert_eq!(me.lives(&me), Some(true));
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let pid = child.id();
        child.wait().expect("its end");
        let ended = Holder { pid, ..me.clone() };
        assert_eq!(ended.lives(&me), Some(false));
        // Another process with the same number.
        assert_eq!(Holder { started: me.started + 1, ..me.clone() }.lives(&me), Some(false));
        assert_eq!(ended.clone().on("elsewhere").lives(&me), None);
        // Without `/proc`.
        let blind = Holder { started: 0, ..me };
        assert_eq!(Holder { started: 0, ..ended }.lives(&blind), None);
    }

    #[test]
    fn a_holder_whose_lock_was_taken_over_finds_out_and_leaves_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key.lock");
        let (a, b) = (Holder::me().on("a"), Holder::me().on("b"));
        assert!(created(&path, &a).expect("a folder that can be written"));
        // Too slow a heart for anybody who waits.
        let held = guard(&path, a, Duration::from_millis(300)).expect("a thread");
        let mut silence = Silence::of(Duration::from_millis(50));
        assert!(!claim(&path, &mut silence, &b).expect("a folder that can be written"));
        std::thread::sleep(Duration::from_millis(80));
        assert!(claim(&path, &mut silence, &b).expect("a folder that can be written"));
        let begun = Instant::now();
        while !held.is_lost() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never finds out");
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(held);
        assert_eq!(b.holds(&path), Some(true), "the successor's lock was taken away");
    }

    #[test]
    fn a_claim_that_was_left_behind_is_taken_over_too() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key.lock");
        let dead = Holder { started: 1, ..Holder::me() };
        let me = Holder::me();
        let content = dead.text().expect("plain fields");
        std::fs::write(&path, &content).expect("a lock");
        let claims = folder.path().join(CLAIMS);
        std::fs::create_dir(&claims).expect("a folder");
        let name = format!("key.lock.{}", &sha256(&content)[..16]);
        // Another successor died between claiming and removing.
        std::fs::write(claims.join(name), &content).expect("a claim");
        let mut silence = Silence::default();
        assert!(claim(&path, &mut silence, &me).expect("a folder that can be written"));
        assert_eq!(me.holds(&path), Some(true));
        assert_eq!(std::fs::read_dir(&claims).expect("a folder").count(), 0, "claims are left");
    }
}
