//! What a new reference changes, for whoever blesses it.

use super::contradiction::difference;
use super::reference::{Reference, ReferenceValue};

/// What a new reference changes, one line a change.
pub fn changes(old: Option<&Reference>, new: &Reference) -> Vec<String> {
    let Some(old) = old else {
        let first = format!("new reference: {} numbers", new.values.len());
        return [first].into_iter().chain(new.values.iter().filter_map(exclusion)).collect();
    };
    let mut lines: Vec<String> = new.values.iter().filter_map(exclusion).collect();
    for (id, verdict) in &new.verdicts {
        match old.verdicts.get(id) {
            Some(before) if before.verdict == verdict.verdict => {
                let other = difference(before, verdict);
                lines.extend(other.map(|what| format!("verdict {id}: {what}")));
            }
            Some(before) => {
                lines.push(format!("verdict {id}: {:?} -> {:?}", before.verdict, verdict.verdict));
            }
            None => lines.push(format!("verdict {id}: new, {:?}", verdict.verdict)),
        }
    }
    for value in &new.values {
        let name = value.name();
        match old.value(&value.experiment, &value.cell, &value.metric) {
            Some(before) => {
                let numbers =
                    |v: &ReferenceValue| (v.seeds.clone(), v.values.clone(), v.excluded.clone());
                if numbers(before) != numbers(value) {
                    lines.push(format!("{name}: {} -> {}", shown(before), shown(value)));
                }
                lines.extend(loosened(before, value).map(|what| format!("{name}: {what}")));
            }
            None => lines.push(format!("{name}: new, {}", shown(value))),
        }
    }
    let gone = |v: &&ReferenceValue| new.value(&v.experiment, &v.cell, &v.metric).is_none();
    for value in old.values.iter().filter(gone) {
        lines.push(format!("{}: removed", value.name()));
    }
    for (id, verdict) in old.verdicts.iter().filter(|(id, _)| !new.verdicts.contains_key(*id)) {
        lines.push(format!("verdict {id}: removed, was {:?}", verdict.verdict));
    }
    lines
}

/// `71.2000 (n 5)`.
fn shown(value: &ReferenceValue) -> String {
    match value.mean() {
        Some(mean) => format!("{mean:.4} (n {})", value.values.len()),
        None => "no number".to_owned(),
    }
}

/// How a number is compared otherwise than before. A `max_spread` that is half of the mean moves
/// with it.
fn loosened(before: &ReferenceValue, value: &ReferenceValue) -> Option<String> {
    let derived = |v: &ReferenceValue| {
        v.mean().is_some_and(|mean| v.max_spread.to_bits() == (0.5 * mean.abs()).to_bits())
    };
    let spread =
        |v: &ReferenceValue| (!(derived(before) && derived(value))).then_some(v.max_spread);
    let own = |v: &ReferenceValue| (v.resolution, spread(v));
    (own(before) != own(value)).then(|| {
        let words = |v: &ReferenceValue| {
            format!("resolution {}, max_spread {}", v.resolution, v.max_spread)
        };
        format!("{} -> {}", words(before), words(value))
    })
}

/// What a value is blessed without: such a number is never "within", and a verification that
/// meets it is incomplete.
fn exclusion(value: &ReferenceValue) -> Option<String> {
    let seeds: Vec<String> = value.excluded.iter().map(u64::to_string).collect();
    let name = value.name();
    (!seeds.is_empty()).then(|| {
        format!(
            "{name}: blessed as excluded (diverged, not fitted or no number): seeds {}",
            seeds.join(", ")
        )
    })
}
