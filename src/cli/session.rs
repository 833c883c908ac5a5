//! What most commands begin with: profile, plan, store, device, results.

use super::Failure;
use super::args::Global;
use super::{device, protocol};
use crate::backend::Platform;
use crate::data::Catalog;
use crate::experiments::aggregate::{RunRecord, Runs, aggregate};
use crate::experiments::results::{ExperimentResult, Measured};
use crate::experiments::{KeyMaker, Plan, PlannedRun, Profile, space};
use crate::spec::{Key, RunSpec};
use crate::store::{Evidence, Lookup, Store, Unpacked, disk};
use crate::verify::Case;
use crate::verify::claims::Claims;
use crate::verify::outcome::Verification;
use crate::verify::reference::Reference;
use std::collections::BTreeMap;
use std::path::Path;

/// A planned profile with its store.
pub struct Session {
    pub catalog: Catalog,
    pub store: Store,
    pub plan: Plan,
    /// Files of records that stand in for what the store lacks; none unless a command asks.
    pub records: Vec<Unpacked>,
}

impl Session {
    pub fn open(global: &Global) -> Result<Session, Failure> {
        let catalog = Catalog::new(&global.data);
        let mut profile = Profile::read(&global.tables, &global.profile)?;
        profile.numerics = device::numerics(global)?;
        let plan =
            Plan::new(&profile, &global.tables, &catalog, &global.only, global.seeds.as_ref())?;
        Ok(Session { catalog, store: Store::open(&global.store)?, plan, records: Vec::new() })
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
                eprintln!("bgm: not used: {problem}");
                None
            }
        }
    }

    fn measured(&self, key: &Key, id: &str, result_hash: &str) -> Option<Measured> {
        match self.0.measured(key, id, result_hash) {
            Ok(measured) => measured,
            Err(problem) => {
                eprintln!("bgm: not used: {problem}");
                None
            }
        }
    }
}

/// Refuses to begin what there is no room for: a disk that fills up stops everything else
/// that uses it, too.
pub fn check_space(store: &Store, needed: u64) -> Result<(), Failure> {
    match disk::free_bytes(store.root()) {
        Some(free) if free < needed => Err(Failure::Environment(format!(
            "{}: {} are free and about {} will be needed; make room, or choose another folder \
             with --store",
            store.root().display(),
            space::words(free),
            space::words(needed)
        ))),
        _ => Ok(()),
    }
}

/// Claims, reference and platform together with the verdicts on `results`.
pub fn verification(
    global: &Global,
    results: &[ExperimentResult],
    strict: bool,
) -> Result<(Verification, Platform), Failure> {
    let claims = Claims::read(&global.expected.join("claims.toml"), &global.tables)?;
    let blessed = Reference::of_profile(&global.expected, &global.profile)?;
    let platform = device::first(global)?.platform();
    let mut verification = crate::verify::verify(&Case {
        profile: &global.profile,
        results,
        claims: &claims,
        reference: blessed.as_ref(),
        platform: &platform,
        only: &global.only,
        strict,
    });
    verification.protocol = protocol::outcome(global, blessed.as_ref())?;
    Ok((verification, platform))
}

/// What git prints for some arguments; `None` outside of git.
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

fn named(embedded: &str) -> String {
    if embedded.is_empty() {
        "unknown: built outside of git".to_owned()
    } else {
        embedded.to_owned()
    }
}

/// Finds the spec of a run: a spec file, a key of any profile, or a key of the store.
pub fn find_spec(global: &Global, target: &str) -> Result<RunSpec, Failure> {
    let path = Path::new(target);
    if path.is_file() {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::Environment(format!("{}: {e}", path.display())))?;
        let spec: RunSpec = serde_json::from_str(&text)
            .map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))?;
        spec.check().map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))?;
        // Whatever the file says: what is computed with here is chosen by the options.
        return Ok(spec.with_numerics(&device::numerics(global)?));
    }
    if !is_key(target) {
        let problem = "is neither a spec file nor a run key (6 to 64 hexadecimal digits)";
        return Err(Failure::Usage(format!("'{target}' {problem}")));
    }
    let catalog = Catalog::new(&global.data);
    if let Some((_, run)) = find_planned(global, &catalog, target)? {
        return Ok(run.spec);
    }
    let store = Store::open(&global.store)?;
    let stored = store.keys()?.into_iter().find(|key| key.as_str().starts_with(target));
    let Some(key) = stored else {
        return Err(Failure::Usage(format!(
            "no profile plans a run {target}, and {} holds none; `bgm plan` lists keys",
            global.store.display()
        )));
    };
    let spec = store.read(&key)?.spec;
    of_today(&catalog, &key, &spec, &global.store)?;
    Ok(spec)
}

/// Whether a text can be a run key or its first digits.
pub fn is_key(text: &str) -> bool {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (6..=64).contains(&text.len()) && text.bytes().all(is_digit)
}

/// The run of any profile whose key begins with these digits.
pub fn find_planned(
    global: &Global,
    catalog: &Catalog,
    digits: &str,
) -> Result<Option<(Key, PlannedRun)>, Failure> {
    let numerics = device::numerics(global)?;
    for name in Profile::names(&global.tables) {
        let Ok(mut profile) = Profile::read(&global.tables, &name) else { continue };
        profile.numerics = numerics.clone();
        let Ok(plan) = Plan::new(&profile, &global.tables, catalog, &[], global.seeds.as_ref())
        else {
            continue; // its data set may not be installed
        };
        if let Some(found) = plan.runs.into_iter().find(|(key, _)| key.as_str().starts_with(digits))
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Refuses a stored run whose key is not the one that its spec has with the data and the version
/// that are here.
pub fn of_today(
    catalog: &Catalog,
    key: &Key,
    spec: &RunSpec,
    origin: &Path,
) -> Result<(), Failure> {
    let own = KeyMaker::new(catalog).key(spec)?;
    if own == *key {
        return Ok(());
    }
    Err(Failure::Environment(format!(
        "{}/{key}: its spec has the key {own}: other data or another version made it",
        origin.display()
    )))
}
