//! Which seeds an experiment is run with.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Seeds one after the other, at least one of them; written `N` (0 to N-1) or `A..B` (A to B-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(Range<u64>);

impl Seeds {
    /// Most seeds that a plan is made for: a bound on memory.
    const MAX_COUNT: u64 = 1_000_000;

    /// Seeds 0 to `count - 1`.
    pub fn first(count: u32) -> Seeds {
        Seeds(0..u64::from(count))
    }

    /// In rising order.
    pub fn iter(&self) -> Range<u64> {
        self.0.clone()
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|e| format!("'{text}': {e}; write N for seeds 0 to N-1, or A..B"))
        };
        let range = match text.split_once("..") {
            Some((first, end)) => number(first)?..number(end)?,
            None => 0..number(text)?,
        };
        match range.end.saturating_sub(range.start) {
            0 => Err("there must be at least one seed".to_owned()),
            count if count > Seeds::MAX_COUNT => {
                Err(format!("{count} seeds are too many; at most {}", Seeds::MAX_COUNT))
            }
            _ => Ok(Seeds(range)),
        }
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.start {
            0 => write!(f, "{}", self.0.end),
            first => write!(f, "{first}..{}", self.0.end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_and_a_range_are_read_as_they_are_written() {
        for (text, seeds) in [("3", vec![0, 1, 2]), ("1000..1002", vec![1000, 1001])] {
            let read: Seeds = text.parse().unwrap();
            assert_eq!(read.iter().collect::<Vec<_>>(), seeds);
            assert_eq!(read.to_string(), text);
        }
        for text in ["0", "5..5", "6..5", "", "..", "1..", "x", "-1", "0..1000001", "1..2..3"] {
            assert!(text.parse::<Seeds>().is_err(), "{text}");
        }
    }
}
