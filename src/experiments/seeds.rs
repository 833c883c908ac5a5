//! Which seeds an experiment is run with.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Seeds one after the other, at least one of them; written `N` (the first N) or `A..B`
/// (A to B-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seeds {
    /// The first ones: of those that a profile declares, or else from 0 up.
    First(u64),
    Range(Range<u64>),
}

impl Seeds {
    /// Most seeds that a plan is made for: a bound on memory.
    const MAX_COUNT: u64 = 1_000_000;

    /// Seeds 0 to `count - 1`.
    pub fn first(count: u32) -> Seeds {
        Seeds::First(u64::from(count))
    }

    /// In rising order.
    pub fn iter(&self) -> Range<u64> {
        match self {
            Seeds::First(count) => 0..*count,
            Seeds::Range(range) => range.clone(),
        }
    }

    /// The seeds that are asked for of an experiment that declares `declared`: a number
    /// counts from where those begin.
    pub fn of(&self, declared: &Seeds) -> Range<u64> {
        match self {
            Seeds::First(count) => {
                let start = declared.iter().start;
                start..start.saturating_add(*count)
            }
            Seeds::Range(range) => range.clone(),
        }
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|e| format!("'{text}': {e}; write N for the first N seeds, or A..B"))
        };
        let seeds = match text.split_once("..") {
            Some((first, end)) => Seeds::Range(number(first)?..number(end)?),
            None => Seeds::First(number(text)?),
        };
        let range = seeds.iter();
        match range.end.saturating_sub(range.start) {
            0 => Err("there must be at least one seed".to_owned()),
            count if count > Seeds::MAX_COUNT => {
                Err(format!("{count} seeds are too many; at most {}", Seeds::MAX_COUNT))
            }
            _ => Ok(seeds),
        }
    }
}

/// A number or a text, as `--seeds` takes them.
impl<'de> Deserialize<'de> for Seeds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seeds, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Count(u64),
            Text(String),
        }
        let unreadable = |_| D::Error::custom("seeds: write N for the first N seeds, or \"A..B\"");
        let text = match Written::deserialize(deserializer).map_err(unreadable)? {
            Written::Count(count) => count.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(|problem| D::Error::custom(format!("seeds = {text}: {problem}")))
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seeds::First(count) => write!(f, "{count}"),
            Seeds::Range(range) => write!(f, "{}..{}", range.start, range.end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_count_takes_the_first_of_the_declared_seeds_and_a_range_is_what_it_says() {
        let declared: Seeds = "20..30".parse().unwrap();
        assert_eq!("3".parse::<Seeds>().unwrap().of(&declared), 20..23);
        assert_eq!("12".parse::<Seeds>().unwrap().of(&declared), 20..32);
        assert_eq!("0..3".parse::<Seeds>().unwrap().of(&declared), 0..3);
        assert_eq!("3".parse::<Seeds>().unwrap().of(&Seeds::first(8)), 0..3);
    }

    #[test]
    fn a_count_and_a_range_are_read_as_they_are_written() {
        for (text, seeds) in [("3", vec![0, 1, 2]), ("1000..1002", vec![1000, 1001])] {
            let read: Seeds = text.parse().unwrap();
            assert_eq!(read.iter().collect::<Vec<_>>(), seeds);
            assert_eq!(read.to_string(), text);
            let declared: BTreeMap<String, Seeds> =
                toml::from_str(&format!("base = \"{text}\"")).unwrap();
            assert_eq!(declared["base"], read);
        }
        for text in ["0", "5..5", "6..5", "", "..", "1..", "x", "-1", "0..1000001", "1..2..3"] {
            assert!(text.parse::<Seeds>().is_err(), "{text}");
        }
        let count: BTreeMap<String, Seeds> = toml::from_str("base = 3").unwrap();
        assert_eq!(count["base"], Seeds::first(3));
        let none = toml::from_str::<BTreeMap<String, Seeds>>("base = 0").unwrap_err();
        assert!(none.to_string().contains("at least one seed"), "{none}");
    }
}
