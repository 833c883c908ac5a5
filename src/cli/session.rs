//! What most commands begin with: profile, plan, store, device, results.

use super::CliError;
use super::args::Global;
use super::{device, protocol};
use crate::backend::Platform;
use crate::cli::terminal::note;
use crate::data::{Catalog, files};
use crate::disk;
use crate::experiments::aggregate::{RunRecord, Runs, aggregate};
use crate::experiments::results::{ExperimentResult, Measured};
use crate::experiments::{KeyMaker, Plan, PlanError, PlannedRun, Profile, space};
use crate::spec::{Key, Numerics, RunSpec};
use crate::store::{Evidence, Lookup, Store, StoreError, Unpacked};
use crate::verify::Case;
use crate::verify::claims::Claims;
use crate::verify::contradiction;
use crate::verify::outcome::Verification;
use crate::verify::protocol::ProtocolOutcome;
use crate::verify::reference::Reference;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A planned profile with its store.
pub struct Session {
    pub catalog: Catalog,
    pub store: Store,
    pub plan: Plan,
    /// Of every planned run.
    pub numerics: Numerics,
    /// Files of records that stand in for what the store lacks; none unless a command asks.
    pub records: Vec<Unpacked>,
}

impl Session {
    /// A session whose store is made if need be.
    pub fn open(global: &Global) -> Result<Session, CliError> {
        Session::with(global, Store::open)
    }

    /// A session that reads a store, which must be there: a mistyped `--store` must not pass
    /// for an empty one.
    pub fn read(global: &Global) -> Result<Session, CliError> {
        Session::with(global, Store::existing)
    }

    /// A session that asks what a store holds, whether or not there is one.
    pub fn plan(global: &Global) -> Result<Session, CliError> {
        Session::with(global, |root| Ok(Store::at(root)))
    }

    fn with(
        global: &Global,
        open: impl FnOnce(PathBuf) -> Result<Store, StoreError>,
    ) -> Result<Session, CliError> {
        let catalog = global.catalog()?;
        let mut profile = Profile::read(&global.tables, &global.profile)?;
        let numerics = device::numerics(global)?;
        profile.numerics = numerics.clone();
        let plan =
            Plan::new(&profile, &global.tables, &catalog, &global.only, global.seeds.as_ref())?;
        let store = open(global.store.clone())?;
        Ok(Session { catalog, store, plan, numerics, records: Vec::new() })
    }

    /// Where the results come from: this machine, if its numerics are the plan's; else what the
    /// stored runs say ("another machine" if there are none, "several machines" if they disagree).
    ///
    /// # Errors
    /// If the device that was asked for is not to be had.
    pub fn platform(&self, global: &Global) -> Result<Platform, CliError> {
        let numerics = &self.numerics;
        match device::first(global).map(|device| device.platform()) {
            Ok(here) if here.numerics == *numerics => return Ok(here),
            Err(problem) if !device::is_left_to_gpu_profile(global) => return Err(problem),
            _ => {}
        }
        let read = |key| self.evidence().read(key).ok().map(|run| run.environment.platform);
        let mut made = self.plan.order.iter().filter_map(read);
        let elsewhere =
            |device: &str| Platform { numerics: numerics.clone(), device: device.to_owned() };
        Ok(match made.next() {
            None => elsewhere("another machine"),
            Some(first) if made.all(|other| other.agrees(&first)) => first,
            Some(_) => elsewhere("several machines"),
        })
    }

    /// What the store has of every planned run.
    pub fn look_up_all(&self) -> BTreeMap<Key, Lookup> {
        let look =
            |(key, run): (&Key, &PlannedRun)| (key.clone(), self.store.look_up(key, &run.spec));
        self.plan.runs.iter().map(look).collect()
    }

    /// The store, and the records that stand in for what it lacks.
    pub fn evidence(&self) -> Evidence<'_> {
        Evidence { store: &self.store, records: &self.records }
    }

    /// Results of everything that is stored or stands in the records.
    pub fn results(&self) -> Vec<ExperimentResult> {
        aggregate(&self.plan, &StoredRuns(self.evidence()))
    }

    /// Results of one experiment.
    pub fn results_of(&self, experiment: &str) -> Vec<ExperimentResult> {
        aggregate(&self.plan.part(experiment), &StoredRuns(self.evidence()))
    }
}

/// Finished runs as a source of results.
struct StoredRuns<'a>(Evidence<'a>);

impl Runs for StoredRuns<'_> {
    fn run(&self, key: &Key, spec: &RunSpec) -> Option<RunRecord> {
        match self.0.look_up(key, spec) {
            Lookup::Stored(run) => {
                Some(RunRecord { metrics: run.metrics, result_hash: run.result_hash })
            }
            Lookup::Missing | Lookup::Partial => None,
            Lookup::Damaged(problem) => {
                note!("bgm: not used: {problem}");
                None
            }
        }
    }

    fn measured(&self, key: &Key, id: &str, result_hash: &str) -> Option<Measured> {
        match self.0.measured(key, id, result_hash) {
            Ok(measured) => measured,
            Err(problem) => {
                note!("bgm: not used: {problem}");
                None
            }
        }
    }
}

/// Refuses to begin what there is no room for: a disk that fills up stops everything else
/// that uses it, too.
pub fn check_space(store: &Store, needed: u64) -> Result<(), CliError> {
    match disk::free_bytes(store.root()) {
        Some(free) if free < needed => Err(CliError::Environment(format!(
            "{}: {} are free and about {} will be needed; make room, or choose another folder \
             with --store",
            store.root().display(),
            space::words(free),
            space::words(needed)
        ))),
        _ => Ok(()),
    }
}

/// Makes a folder and checks that it can be written to, so that hours of training do not end in
/// an error there.
pub fn check_writable(folder: &Path) -> Result<(), CliError> {
    let tried = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    match tried {
        Ok(_) => Ok(()),
        Err(e) => Err(CliError::Environment(format!("{}: {e}", folder.display()))),
    }
}

/// What results are judged by: the claims, the blessed reference and the protocol.
pub struct Bar {
    claims: Claims,
    blessed: Option<Reference>,
    protocol: Option<ProtocolOutcome>,
    /// Claims that are other ones than when the reference was blessed.
    changed: BTreeSet<String>,
}

impl Bar {
    /// Reads claims and reference of the profile.
    pub fn read(global: &Global) -> Result<Bar, CliError> {
        let claims = Claims::read(&global.expected.join("claims.toml"), &global.tables)?;
        let blessed = Reference::of_profile(&global.expected, &global.profile)?;
        let protocol = protocol::outcome(global, blessed.as_ref())?;
        let changed = protocol::changed_claims(global, blessed.as_ref())?;
        Ok(Bar { claims, blessed, protocol, changed })
    }

    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The verdicts on `results`, those of `plan`, which were made on `platform`.
    pub fn judge(
        &self,
        global: &Global,
        plan: &Plan,
        (results, platform): (&[ExperimentResult], &Platform),
        strict: bool,
    ) -> Verification {
        let contradicted = match &self.blessed {
            Some(blessed) => {
                let changed = |id: &str| self.changed.contains(id);
                contradiction::contradictions(blessed, plan, &self.claims, &changed)
            }
            None => BTreeMap::new(),
        };
        let mut verification = crate::verify::verify(&Case {
            profile: &global.profile,
            results,
            claims: &self.claims,
            reference: self.blessed.as_ref(),
            platform,
            only: &global.only,
            contradicted: &contradicted,
            strict,
        });
        verification.protocol.clone_from(&self.protocol);
        verification
    }
}

/// What git prints in the current folder; `None` outside of a repository, or without git.
pub fn git(arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The commit that this program was built from, with `+` if its sources differed from it.
pub fn commit() -> String {
    named(env!("BGM_COMMIT"))
}

/// Day of that commit, `YYYY-MM-DD`.
pub fn commit_date() -> String {
    named(env!("BGM_COMMIT_DATE"))
}

/// Whether commits say exactly which sources they stand for.
pub fn are_exact(commits: &str) -> bool {
    !commits.contains('+') && !commits.contains(UNKNOWN)
}

/// Of a program that was built outside of git.
const UNKNOWN: &str = "unknown: built outside of git";

fn named(embedded: &str) -> String {
    if embedded.is_empty() { UNKNOWN.to_owned() } else { embedded.to_owned() }
}

/// Finds the spec of a run: a spec file, a key of any profile, or a key of the store.
pub fn find_spec(global: &Global, target: &str) -> Result<RunSpec, CliError> {
    let path = Path::new(target);
    // Not a folder: in a store, a run's folder has its key as its name, and the run is meant.
    if path.exists() && !path.is_dir() {
        let text = files::read_text(path)
            .map_err(|e| CliError::Environment(format!("{}: {e}", path.display())))?;
        let spec: RunSpec = serde_json::from_str(&text)
            .map_err(|e| CliError::Usage(format!("{}: {e}", path.display())))?;
        spec.check().map_err(|e| CliError::Usage(format!("{}: {e}", path.display())))?;
        // Whatever the file says: what is computed with here is chosen by the options.
        return Ok(spec.with_numerics(&device::numerics(global)?));
    }
    if !is_key(target) {
        let problem = "is no run key (6 to 64 digits 0-9 and a-f), and there is no such spec file";
        return Err(CliError::Usage(format!("'{target}' {problem}")));
    }
    let catalog = global.catalog()?;
    let store = Store::at(&global.store);
    // A whole key of a sound run needs no plan of every profile.
    if let Ok(key) = target.parse::<Key>()
        && let Ok(stored) = store.read(&key)
        && of_today(&catalog, &key, &stored.spec, &global.store).is_ok()
    {
        return Ok(stored.spec);
    }
    let planned = find_planned(global, &catalog, target)?;
    let mut stored = if global.store.is_dir() { store.keys()? } else { Vec::new() };
    stored.retain(|key| key.as_str().starts_with(target));
    unambiguous(target, planned.iter().map(|(key, _)| key).chain(&stored))?;
    if let Some((_, run)) = planned {
        return Ok(run.spec);
    }
    let Some(key) = stored.first() else {
        return Err(CliError::Usage(format!(
            "no profile plans a run {target} of these numerics ({}; --profile, --device and \
             --numerics choose others), and {} holds none; `bgm plan` lists keys",
            device::numerics(global)?,
            global.store.display()
        )));
    };
    let spec = store.read(key)?.spec;
    of_today(&catalog, key, &spec, &global.store)?;
    Ok(spec)
}

/// Refuses digits that several keys begin with.
fn unambiguous<'a>(digits: &str, keys: impl Iterator<Item = &'a Key>) -> Result<(), CliError> {
    let keys: BTreeSet<&str> = keys.map(Key::as_str).collect();
    if keys.len() < 2 {
        return Ok(());
    }
    let count = keys.len();
    let keys: Vec<&str> = keys.into_iter().collect();
    Err(CliError::Usage(format!(
        "'{digits}' is the beginning of {count} run keys; write more of one of them: {}",
        keys.join(", ")
    )))
}

/// Whether a text can be a run key or its first digits.
pub fn is_key(text: &str) -> bool {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (6..=64).contains(&text.len()) && text.bytes().all(is_digit)
}

/// The run of any profile, with the numerics of this device, whose key begins with these digits.
///
/// # Errors
/// If several do; if none does, and a profile is malformed.
pub fn find_planned(
    global: &Global,
    catalog: &Catalog,
    digits: &str,
) -> Result<Option<(Key, PlannedRun)>, CliError> {
    let numerics = device::numerics(global)?;
    let (mut found, mut malformed) = (BTreeMap::new(), None);
    for name in Profile::names(&global.tables) {
        let profile = Profile::read(&global.tables, &name).map_err(PlanError::from);
        let plan = profile.and_then(|mut profile| {
            profile.numerics = numerics.clone();
            Plan::new(&profile, &global.tables, catalog, &[], global.seeds.as_ref())
        });
        let plan = match plan {
            Ok(plan) => plan,
            // Its data set is not installed.
            Err(PlanError::Data(_)) => continue,
            Err(problem) => {
                malformed.get_or_insert(problem);
                continue;
            }
        };
        found.extend(plan.runs.into_iter().filter(|(key, _)| key.as_str().starts_with(digits)));
        if found.keys().any(|key| key.as_str() == digits) {
            break;
        }
    }
    unambiguous(digits, found.keys())?;
    match (found.pop_first(), malformed) {
        (None, Some(problem)) => Err(problem.into()),
        (first, _) => Ok(first),
    }
}

/// Refuses a stored run whose key is not the one that its spec has with the data and the version
/// that are here.
pub fn of_today(
    catalog: &Catalog,
    key: &Key,
    spec: &RunSpec,
    origin: &Path,
) -> Result<(), CliError> {
    let own = KeyMaker::new(catalog).key(spec)?;
    if own == *key {
        return Ok(());
    }
    Err(CliError::Environment(format!(
        "{}/{key}: with the data and the program that are here its spec has the key {own}: other \
         data or another version made it",
        origin.display()
    )))
}
