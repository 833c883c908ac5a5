//! Canonical text and key of a run.

use super::{RunSpec, Start};
use crate::digest::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The meaning of a run. Bump it by hand whenever the same spec would train differently:
/// every stored run is then another run. A test over golden first-step losses and golden
/// keys fails if one changes without the other.
pub const TRAINING_SEMANTICS: u32 = 3;

/// The name of a run: a SHA-256 in hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// The first twelve digits, enough to tell runs apart on a terminal.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Key of `spec`, whose data (and whose parent's) have these content hashes.
    pub fn of(spec: &RunSpec, data_hash: &dyn Fn(&RunSpec) -> String) -> Key {
        let parent = spec.parent().map(|parent| Key::of(parent, data_hash));
        let mut hash = Sha256::new();
        hash.update(format!("semantics {TRAINING_SEMANTICS}\n"));
        hash.update(format!("data {}\n", data_hash(spec)));
        hash.update(format!("parent {}\n", parent.as_ref().map_or("none", Key::as_str)));
        hash.update(canonical_text(spec, parent.as_ref()));
        Key(hex(&hash.finalize()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.short())
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if text.len() == 64 && digits {
            Ok(Key(text.to_owned()))
        } else {
            Err(format!("'{text}' is no run key (64 lower-case hexadecimal digits)"))
        }
    }
}

impl TryFrom<String> for Key {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.0
    }
}

/// The text that is hashed: every field, defaults too, one JSON object with the fields in
/// the order of their declaration; the parent appears as its key.
pub fn canonical_text(spec: &RunSpec, parent: Option<&Key>) -> String {
    #[derive(Serialize)]
    struct Canonical<'a> {
        seed: u64,
        data: &'a super::DataSpec,
        network: &'a super::NetworkSpec,
        start: serde_json::Value,
        train: &'a super::TrainSpec,
        precision: super::Precision,
        numerics: &'a super::Numerics,
    }
    // Without `..`, so that no new field can be forgotten.
    let RunSpec { seed, data, network, start, train, precision, numerics } = spec;
    let start = match start {
        Start::Random { scale } => serde_json::json!({ "random": { "scale": scale } }),
        Start::Run(_) => serde_json::json!({ "run": parent.map(Key::as_str) }),
    };
    let (seed, precision) = (*seed, *precision);
    let canonical = Canonical { seed, data, network, start, train, precision, numerics };
    serde_json::to_string(&canonical).expect("a spec of plain numbers and names is valid JSON")
}
