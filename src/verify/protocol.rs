//! What was declared before the confirmatory runs. `docs/protocol.md` is committed before any of
//! them; it may hold, in a block of TOML, a hash of each claim and of each experiment's runs. Where
//! it holds none, those that the reference keeps serve. A hash that is another one now belongs to
//! something that was changed afterwards.

use super::files::{self, ReferenceError};
use crate::experiments::fingerprint::fingerprint;
use crate::experiments::{Profile, ProfileError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// First line of the block.
const OPENING: &str = "```toml declared";
const CLOSING: &str = "```";

/// Hashes of what is declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// By the id of the claim.
    pub claims: BTreeMap<String, String>,
    /// Experiment of each claim, by the id of the claim. Known only of what is declared now: it is
    /// not written down.
    #[serde(skip)]
    pub experiments: BTreeMap<String, String>,
    /// By profile and experiment.
    pub runs: BTreeMap<String, BTreeMap<String, String>>,
}

/// What a reference remembers of the protocol that it was made under.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtocolStamp {
    /// The last commit that touched the protocol; empty if unknown.
    pub commit: String,
    /// SHA-256 of its text.
    pub sha256: String,
    /// Hashes of the claims and of the profile's runs as they were blessed: what later changes
    /// are told by where the protocol itself holds none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blessed: Option<Declared>,
}

/// How claims and sizes stand to the protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProtocolOutcome {
    /// The commit of the protocol, if it is known.
    pub commit: String,
    /// What was changed after it.
    pub changed: Vec<String>,
    /// The same in one line.
    pub sentence: String,
}

/// Declarations that cannot be hashed, or a protocol that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    Claims(#[from] ReferenceError),
    #[error("{0}")]
    Block(String),
}

impl Declared {
    /// The hashes of the claims of a file and of the experiments of these profiles.
    ///
    /// # Errors
    /// If one of the files is missing or malformed.
    pub fn now(
        claims: &Path,
        tables: &Path,
        profiles: &[String],
    ) -> Result<Declared, ProtocolError> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            claim: Vec<toml::Table>,
        }
        let file: File = files::read(claims)?;
        let (mut claims, mut experiments) = (BTreeMap::new(), BTreeMap::new());
        for claim in &file.claim {
            let text = |key: &str| claim.get(key).and_then(toml::Value::as_str).unwrap_or_default();
            claims.insert(text("id").to_owned(), fingerprint(claim));
            experiments.insert(text("id").to_owned(), text("experiment").to_owned());
        }
        let runs = profiles.iter().map(|name| {
            let profile = Profile::read(tables, name)?;
            Ok((name.clone(), profile.fingerprints(tables)?))
        });
        let runs = runs.collect::<Result<_, ProfileError>>()?;
        Ok(Declared { claims, experiments, runs })
    }

    /// The block that the text of a protocol holds; `None` without one.
    ///
    /// # Errors
    /// If it is not closed, malformed, or not the only one.
    pub fn in_protocol(text: &str) -> Result<Option<Declared>, ProtocolError> {
        let problem =
            |problem: &str| ProtocolError::Block(format!("the block of hashes {problem}"));
        let opening = format!("{OPENING}\n");
        let mut blocks = text.split(&opening).skip(1);
        let Some(block) = blocks.next() else { return Ok(None) };
        if blocks.next().is_some() {
            return Err(problem("stands there twice: keep one"));
        }
        let Some((block, _)) = block.split_once(&format!("\n{CLOSING}")) else {
            return Err(problem("is not closed"));
        };
        let declared = toml::from_str(block);
        declared.map(Some).map_err(|e| problem(&format!("is malformed: {e}")))
    }

    /// As a protocol holds it.
    pub fn block(&self) -> String {
        let text = toml::to_string(self).expect("maps of texts are valid TOML");
        format!("{OPENING}\n{}\n{CLOSING}\n", text.trim_end())
    }

    /// What is different now, of the runs of a profile and of the claims that are on one of its
    /// experiments now. A claim that is gone is always named: nothing tells what it was on.
    pub fn changed(&self, now: &Declared, profile: &str) -> Vec<String> {
        let none = BTreeMap::new();
        let [then_runs, now_runs] = [self, now].map(|d| d.runs.get(profile).unwrap_or(&none));
        let concerns = |id: &str| now.experiments.get(id).is_none_or(|e| now_runs.contains_key(e));
        let [then_claims, now_claims] = [self, now].map(|declared| {
            let mut claims = declared.claims.clone();
            claims.retain(|id, _| concerns(id));
            claims
        });
        let mut lines = changed(&then_claims, &now_claims, |id| format!("claim {id}"));
        lines.extend(changed(then_runs, now_runs, |id| format!("the runs of {id}")));
        lines
    }
}

fn changed(
    then: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    name: impl Fn(&str) -> String,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, hash) in then {
        match now.get(id) {
            Some(other) if other == hash => {}
            Some(_) => lines.push(name(id)),
            None => lines.push(format!("{} (gone)", name(id))),
        }
    }
    lines.extend(now.keys().filter(|id| !then.contains_key(*id)).map(|id| name(id) + " (new)"));
    lines
}

/// How what is declared now stands to the protocol with this text and stamp. `blessed` is the
/// stamp in the reference: where the text is another one, the protocol itself was changed.
///
/// # Errors
/// If the block of the protocol is malformed.
pub fn compare(
    (text, stamp): (&str, &ProtocolStamp),
    blessed: Option<&ProtocolStamp>,
    now: &Declared,
    profile: &str,
) -> Result<ProtocolOutcome, ProtocolError> {
    let commit = blessed.unwrap_or(stamp).commit.clone();
    let named = match commit.as_str() {
        "" => "docs/protocol.md".to_owned(),
        commit => format!("docs/protocol.md, commit {commit}"),
    };
    let before = match Declared::in_protocol(text)? {
        Some(declared) => Some((declared, "it")),
        None => blessed.and_then(|b| Some((b.blessed.clone()?, "the blessing under it"))),
    };
    let Some((declared, moment)) = before else {
        let sentence = format!(
            "Protocol: {named} holds no hashes of claims and runs, so nothing can be said of later \
             changes (`bgm protocol` prints them)"
        );
        return Ok(ProtocolOutcome { commit, changed: Vec::new(), sentence });
    };
    let mut changed = declared.changed(now, profile);
    if blessed.is_some_and(|blessed| blessed.sha256 != stamp.sha256) {
        let gone = if text.is_empty() { " (gone)" } else { "" };
        changed.insert(0, format!("the protocol itself{gone}"));
    }
    let sentence = if changed.is_empty() {
        format!("Protocol: {named}; neither claims nor runs were changed after {moment}")
    } else {
        format!("Protocol: {named}; changed after {moment}: {}", changed.join(", "))
    };
    Ok(ProtocolOutcome { commit, changed, sentence })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    fn declared(claims: &[(&str, &str)], quick: &[(&str, &str)]) -> Declared {
        let runs = BTreeMap::from([
            ("quick".to_owned(), map(quick)),
            ("desk".to_owned(), map(&[("table1", "d")])),
        ]);
        Declared { claims: map(claims), experiments: BTreeMap::new(), runs }
    }

    fn stamp(sha256: &str) -> ProtocolStamp {
        ProtocolStamp { commit: "abc".to_owned(), sha256: sha256.to_owned(), blessed: None }
    }

    fn outcome(text: &str, blessed: Option<&str>, now: &Declared) -> ProtocolOutcome {
        let blessed = blessed.map(stamp);
        compare((text, &stamp("1")), blessed.as_ref(), now, "quick").unwrap()
    }

    #[test]
    fn what_was_changed_is_named_and_nothing_else() {
        let then = declared(&[("C1", "a"), ("C2", "b"), ("C3", "c")], &[("t1", "x"), ("t2", "y")]);
        let text = format!("# Protocol\n\nWords.\n\n{}\nMore words.\n", then.block());
        let same = outcome(&text, Some("1"), &then);
        assert!(same.changed.is_empty() && same.sentence.contains("neither"), "{same:?}");
        let now = declared(&[("C1", "a"), ("C3", "z"), ("C4", "n")], &[("t1", "z"), ("t2", "y")]);
        let changed = outcome(&text, None, &now).changed;
        assert_eq!(changed, ["claim C2 (gone)", "claim C3", "claim C4 (new)", "the runs of t1"]);
        // Another profile's runs are none of this one's business.
        let mut other = then.clone();
        other.runs.get_mut("desk").unwrap().insert("table1".into(), "z".into());
        assert!(outcome(&text, None, &other).changed.is_empty());
    }

    #[test]
    fn of_the_claims_only_those_on_experiments_of_the_profile_are_named() {
        let then = declared(&[("C1", "a"), ("C2", "b"), ("C3", "c")], &[("t1", "x")]);
        let mut now =
            declared(&[("C1", "z"), ("C2", "z"), ("C4", "n"), ("C5", "n")], &[("t1", "x")]);
        now.experiments = map(&[("C1", "t1"), ("C2", "table1"), ("C4", "t1"), ("C5", "table1")]);
        let changed = outcome(&then.block(), None, &now).changed;
        assert_eq!(changed, ["claim C1", "claim C3 (gone)", "claim C4 (new)"]);
        // What the claims are on is not written down, so stamps of any age can be read.
        assert_eq!(now.block(), Declared { experiments: BTreeMap::new(), ..now.clone() }.block());
    }

    #[test]
    fn a_protocol_that_was_changed_after_the_blessing_is_named() {
        let then = declared(&[("C1", "a")], &[("t1", "x")]);
        let outcome = outcome(&then.block(), Some("2"), &then);
        assert_eq!(outcome.changed, ["the protocol itself"]);
        assert!(outcome.sentence.contains("commit abc"), "{outcome:?}");
    }

    #[test]
    fn without_a_block_the_blessed_hashes_tell() {
        let then = declared(&[("C1", "a")], &[("t1", "x")]);
        let now = declared(&[("C1", "b")], &[("t1", "x")]);
        let blessed = ProtocolStamp { blessed: Some(then.clone()), ..stamp("1") };
        let outcome = |now| compare(("Words.", &stamp("1")), Some(&blessed), now, "quick").unwrap();
        assert!(outcome(&then).changed.is_empty());
        assert_eq!(outcome(&now).changed, ["claim C1"]);
        assert!(outcome(&now).sentence.contains("after the blessing"));
    }

    #[test]
    fn a_block_is_there_once_and_whole() {
        let then = declared(&[("C1", "a")], &[("t1", "x")]);
        let block = then.block();
        assert_eq!(Declared::in_protocol(&block).unwrap(), Some(then.clone()));
        assert_eq!(Declared::in_protocol("# Protocol\n").unwrap(), None);
        assert!(outcome("# Protocol\n", None, &then).sentence.contains("bgm protocol"));
        let open = block.trim_end().trim_end_matches('`');
        for bad in [format!("{block}{block}"), open.to_owned(), block.replace("[claims]", "[x]")] {
            assert!(Declared::in_protocol(&bad).is_err(), "{bad}");
        }
    }
}
