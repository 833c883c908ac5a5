//! Planted faults of the disk, in builds with the feature `planted-faults` only.
//!
//! One operation, counted from 0, goes wrong. In a process of its own the environment
//! variable `BGM_DISK_FAULT=<kind>:<n>` says which, and a crash ends the process. In a test
//! the fault is [`arm`]ed and a crash unwinds with [`Crashed`]; until the next `arm` the
//! disk then takes nothing more, as if the process were gone. `BGM_DISK_TRACE=<file>` keeps
//! a list of all operations, of any number of processes.
//!
//! A power cut also takes back what was not synced. For that every change is remembered
//! until an fsync makes it last: the content of a file until the file is synced; its entry in
//! a folder, a rename and a removal until the folder is. [`Kind::PowerLost`] takes back all
//! of it; [`Kind::PowerEmptied`] keeps entries and renames and empties the files, as some
//! file systems do: the case that a rename without an fsync before it falls into.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The process ends before the operation.
    Crash,
    /// The process ends in the middle of the first write from the operation on.
    Torn,
    /// From the operation on there is no space left: files break off, nothing can be made.
    Full,
    /// The operation and all later ones fail: the file system has become read-only.
    ReadOnly,
    /// The power goes before the operation; what was not synced never happened.
    PowerLost,
    /// The power goes before the operation; files that were not synced are empty.
    PowerEmptied,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Crash, Kind::Torn, Kind::Full, Kind::ReadOnly, Kind::PowerLost, Kind::PowerEmptied];

    /// The kind of this name, if a process of its own can suffer it. It cannot suffer a power cut:
    /// only the process that wrote knows what was not synced.
    fn named(name: &str) -> Option<Kind> {
        match name {
            "crash" => Some(Kind::Crash),
            "torn" => Some(Kind::Torn),
            "full" => Some(Kind::Full),
            "readonly" => Some(Kind::ReadOnly),
            _ => None,
        }
    }

    /// Whether the process ends.
    pub fn kills(self) -> bool {
        !matches!(self, Kind::Full | Kind::ReadOnly)
    }
}

/// What a simulated crash unwinds with.
#[derive(Debug)]
pub struct Crashed;

/// Something that happened and does not last yet.
enum Pending {
    Content(PathBuf),
    Entry(PathBuf),
    /// `buried` is what lay at `to` before.
    Rename {
        from: PathBuf,
        to: PathBuf,
        buried: Option<PathBuf>,
    },
    Removal {
        path: PathBuf,
        buried: PathBuf,
    },
}

#[derive(Default)]
struct State {
    /// Whether the environment was asked.
    asked: bool,
    plan: Option<(Kind, u64)>,
    /// Armed by a test, not by the environment.
    simulated: bool,
    /// Where removed files go, so that a power cut can bring them back.
    grave: PathBuf,
    buried: u64,
    count: u64,
    struck: bool,
    dead: bool,
    /// How often this process was armed.
    life: u64,
    pending: Vec<Pending>,
    trace: Option<PathBuf>,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

fn state() -> MutexGuard<'static, State> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if !state.asked {
        state.asked = true;
        state.trace = std::env::var_os("BGM_DISK_TRACE").map(PathBuf::from);
        state.plan =
            std::env::var("BGM_DISK_FAULT").ok().filter(|text| text != "none").map(|text| {
                let plan = text
                    .split_once(':')
                    .and_then(|(kind, at)| Some((Kind::named(kind)?, at.parse().ok()?)));
                plan.unwrap_or_else(|| panic!("BGM_DISK_FAULT={text}: not a kind and a number"))
            });
    }
    state
}

/// Begins another life of this process, in which operation `plan.1` goes wrong, if there is a
/// plan. Removed files are kept in the folder `grave`, which the caller empties and which must be
/// on the same file system.
pub fn arm(plan: Option<(Kind, u64)>, grave: &Path) {
    let mut state = state();
    *state = State {
        asked: true,
        plan,
        simulated: true,
        grave: grave.to_owned(),
        buried: state.buried,
        life: state.life + 1,
        ..State::default()
    };
}

/// Operations since the last [`arm`], and whether the fault struck.
pub fn seen() -> (u64, bool) {
    let state = state();
    (state.count, state.struck)
}

pub(super) fn incarnation() -> u64 {
    state().life
}

pub(super) fn remembers() -> bool {
    state().simulated
}

pub(super) fn before(operation: &str, path: &Path) -> io::Result<()> {
    let mut state = state();
    if state.dead {
        return Err(io::Error::other("the process is gone"));
    }
    let now = state.count;
    state.count += 1;
    if let Some(trace) = &state.trace {
        let line = format!("{operation} {}\n", path.display());
        let file = File::options().append(true).create(true).open(trace);
        file.and_then(|mut file| file.write_all(line.as_bytes()))?;
    }
    let Some((kind, at)) = state.plan else { return Ok(()) };
    let needs_space = matches!(operation, "create" | "mkdir");
    match kind {
        Kind::Crash | Kind::PowerLost | Kind::PowerEmptied if now == at => die(state),
        Kind::Full if now >= at && needs_space => {
            state.struck = true;
            Err(io::Error::from(ErrorKind::StorageFull))
        }
        Kind::ReadOnly if now >= at => {
            state.struck = true;
            Err(io::Error::from(ErrorKind::ReadOnlyFilesystem))
        }
        _ => Ok(()),
    }
}

/// Ends the process, or this life of it.
fn die(mut state: MutexGuard<'_, State>) -> ! {
    if !state.simulated {
        std::process::abort();
    }
    state.struck = true;
    state.dead = true;
    match state.plan {
        Some((Kind::PowerLost, _)) => state.take_back(),
        Some((Kind::PowerEmptied, _)) => {
            for change in &state.pending {
                if let Pending::Content(path) = change {
                    empty(path);
                }
            }
        }
        _ => {}
    }
    drop(state);
    std::panic::resume_unwind(Box::new(Crashed));
}

pub(super) fn write_all(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut state = state();
    state.pending.push(Pending::Content(path.to_owned()));
    let half = &bytes[..bytes.len() / 2];
    match state.plan {
        Some((Kind::Torn, at)) if state.count > at => {
            file.write_all(half)?;
            die(state)
        }
        Some((Kind::Full, at)) if state.count > at => {
            state.struck = true;
            file.write_all(half)?;
            Err(io::Error::from(ErrorKind::StorageFull))
        }
        _ => file.write_all(bytes),
    }
}

pub(super) fn created(path: &Path) {
    state().pending.push(Pending::Entry(path.to_owned()));
}

pub(super) fn synced(path: &Path) {
    let lasts = |change: &Pending| matches!(change, Pending::Content(p) if p == path);
    state().pending.retain(|change| !lasts(change));
}

pub(super) fn synced_folder(folder: &Path) {
    let inside = |path: &Path| path.parent() == Some(folder);
    state().pending.retain(|change| match change {
        Pending::Content(_) => true,
        Pending::Entry(path) | Pending::Removal { path, .. } => !inside(path),
        Pending::Rename { to, .. } => !inside(to),
    });
}

pub(super) fn renaming(from: &Path, to: &Path) -> io::Result<()> {
    let mut state = state();
    if !state.simulated {
        return Ok(());
    }
    let buried = if to.is_file() { Some(state.bury(to)?) } else { None };
    state.moved(from, to);
    state.pending.push(Pending::Rename { from: from.to_owned(), to: to.to_owned(), buried });
    Ok(())
}

pub(super) fn bury(path: &Path) -> io::Result<()> {
    let mut state = state();
    let buried = state.bury(path)?;
    state.pending.push(Pending::Removal { path: path.to_owned(), buried });
    Ok(())
}

impl State {
    fn bury(&mut self, path: &Path) -> io::Result<PathBuf> {
        let place = self.grave.join(self.buried.to_string());
        fs::rename(path, &place)?;
        self.buried += 1;
        self.moved(path, &place);
        Ok(place)
    }

    /// Pending changes at or below `from` are at or below `to` now.
    fn moved(&mut self, from: &Path, to: &Path) {
        let follow = |path: &mut PathBuf| {
            if let Ok(below) = path.strip_prefix(from) {
                let below = below.to_owned();
                *path = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
            }
        };
        for change in &mut self.pending {
            match change {
                Pending::Content(path) | Pending::Entry(path) => follow(path),
                Pending::Rename { from, to, .. } => {
                    follow(from);
                    follow(to);
                }
                Pending::Removal { path, .. } => follow(path),
            }
        }
    }

    /// Undoes what does not last, the latest change first. What cannot be undone is gone with
    /// the folder around it.
    fn take_back(&mut self) {
        while let Some(change) = self.pending.pop() {
            match change {
                Pending::Content(path) => empty(&path),
                Pending::Entry(path) if path.is_dir() => drop(fs::remove_dir_all(path)),
                Pending::Entry(path) => drop(fs::remove_file(path)),
                Pending::Rename { from, to, buried } => {
                    drop(fs::rename(&to, &from));
                    self.moved(&to, &from);
                    if let Some(buried) = buried {
                        drop(fs::rename(&buried, &to));
                        self.moved(&buried, &to);
                    }
                }
                Pending::Removal { path, buried } => {
                    drop(fs::rename(&buried, &path));
                    self.moved(&buried, &path);
                }
            }
        }
    }
}

fn empty(path: &Path) {
    if let Ok(file) = File::options().write(true).open(path) {
        drop(file.set_len(0));
    }
}
