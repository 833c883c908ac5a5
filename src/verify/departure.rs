//! Does a claim depart from what was blessed? Between numerics it does if supported turned
//! refuted or back, or if an effect moved by more than chance allows; a verdict that crossed
//! into inconclusive by noise does not. On the very same numbers everything must be the same.

use super::contradiction::Contradiction;
use super::judge::Evaluated;
use super::outcome::Verdict;
use super::outcome::{ClaimOutcome, ClaimPart, RegressionOutcome, Standing};
use super::reference::{BlessedPart, BlessedVerdict};
use super::{Case, stats};

/// Probability that unchanged code is called departed by any claim, of the 5% that a whole
/// verification has.
pub const FALSE_ALARM_RATE: f64 = 0.02;

/// The claims with their standing.
pub fn settle(
    case: &Case<'_>,
    evaluated: Vec<Evaluated>,
    regression: &[RegressionOutcome],
) -> Vec<ClaimOutcome> {
    let blessed = |id: &str| case.reference.and_then(|reference| reference.verdicts.get(id));
    // One adjustment over every part of every claim.
    let mut movements: Vec<(usize, &str, f64)> = Vec::new();
    for (place, claim) in evaluated.iter().enumerate() {
        let Some(blessed) = blessed(&claim.outcome.id) else { continue };
        let pairs = claim.outcome.parts.iter().filter_map(|part| moved(part, &blessed.parts));
        movements.extend(pairs.map(|(name, probability)| (place, name, probability)));
    }
    let adjusted = stats::holm(&movements.iter().map(|m| m.2).collect::<Vec<f64>>());
    let mut far: Vec<Option<String>> = vec![None; evaluated.len()];
    for ((place, name, _), probability) in movements.iter().zip(adjusted) {
        if probability <= FALSE_ALARM_RATE {
            let of = if name.is_empty() { String::new() } else { format!(" of “{name}”") };
            far[*place].get_or_insert_with(|| {
                format!("the effect{of} moved by more than chance allows (p = {probability:.1e})")
            });
        }
    }
    let settle = |(claim, far): (Evaluated, Option<String>)| {
        let blessed = blessed(&claim.outcome.id);
        let same = is_exact(&claim.outcome.experiment, regression);
        let found = standing(case, &claim, blessed, same, far);
        let contradiction = case.contradicted.get(&claim.outcome.id);
        let (standing, standing_note) = held_against(contradiction, found);
        let blessed = blessed.map(|b| b.verdict);
        ClaimOutcome { standing, standing_note, blessed, ..claim.outcome }
    };
    evaluated.into_iter().zip(far).map(settle).collect()
}

/// Whether every number of an experiment has the blessed bits, of just the blessed seeds.
fn is_exact(experiment: &str, regression: &[RegressionOutcome]) -> bool {
    let mut own = regression.iter().filter(|r| r.experiment == experiment).peekable();
    own.peek().is_some() && own.all(RegressionOutcome::is_as_blessed)
}

/// Name of a part and the probability of so large a movement of its effect by chance.
fn moved<'a>(part: &'a ClaimPart, blessed: &[BlessedPart]) -> Option<(&'a str, f64)> {
    let before = blessed.iter().find(|b| b.name == part.name)?.estimate();
    Some((part.name.as_str(), part.estimate?.difference_probability(&before)))
}

/// A standing in the light of what is wrong with the blessed verdict, if anything is.
fn held_against(
    contradiction: Option<&Contradiction>,
    found: (Standing, String),
) -> (Standing, String) {
    let Some(Contradiction { what, claim_changed }) = contradiction else { return found };
    if !claim_changed {
        let note = "the blessed verdict is not what the claim gives on the blessed values";
        return (Standing::Departed, format!("{note}: {what}"));
    }
    // The blessed verdict is one on another claim: nothing can depart from it.
    match found.0 {
        Standing::AsBlessed | Standing::WithinChance | Standing::Departed => {
            let note = "the claim was changed after the blessing, and gives another verdict on the \
                        blessed values";
            (Standing::Unblessed, format!("{note}: {what}; `bgm bless --verdicts-only`"))
        }
        _ => found,
    }
}

fn standing(
    case: &Case<'_>,
    claim: &Evaluated,
    blessed: Option<&BlessedVerdict>,
    same_numbers: bool,
    far: Option<String>,
) -> (Standing, String) {
    let outcome = &claim.outcome;
    let (verdict, none) = (outcome.verdict, String::new());
    if let Some(blessed) = blessed {
        if claim.incomplete {
            return (Standing::Incomplete, none);
        }
        if same_numbers && outcome.n == blessed.n {
            let note = "the numbers are the blessed ones and the outcome is not: the claim, or \
                        the rule, is another than when it was blessed; bless it again";
            if verdict != blessed.verdict || !same_effects(outcome, blessed) {
                return (Standing::Departed, note.to_owned());
            }
        } else if let Some(note) = far {
            return (Standing::Departed, note);
        }
        let is_decided = [verdict, blessed.verdict].iter().all(|v| *v != Verdict::Inconclusive);
        if is_decided && verdict != blessed.verdict {
            return (Standing::Departed, "supported turned refuted, or back".to_owned());
        }
        if verdict != blessed.verdict && verdict == Verdict::Inconclusive {
            if claim.premise_fails {
                let note = "a premise no longer holds";
                return (Standing::Incomplete, note.to_owned());
            }
            if outcome.n < blessed.n {
                let note = format!("blessed with {} seeds, here are {}", blessed.n, outcome.n);
                return (Standing::Incomplete, note);
            }
        }
    }
    match (case.strict, verdict, blessed) {
        (true, Verdict::Refuted, _) => (Standing::Unsupported, none),
        (true, Verdict::Inconclusive, _) => (Standing::Undecided, none),
        _ if claim.incomplete => (Standing::Incomplete, none),
        (_, _, None) => (Standing::Unblessed, none),
        (_, _, Some(blessed)) if blessed.verdict == verdict => (Standing::AsBlessed, none),
        _ => {
            let note = "the effect is no farther from the blessed one than chance allows";
            (Standing::WithinChance, note.to_owned())
        }
    }
}

/// Whether the effects have the blessed bits, as far as they are blessed.
fn same_effects(outcome: &ClaimOutcome, blessed: &BlessedVerdict) -> bool {
    let effect = |name: &str| {
        let part = outcome.parts.iter().find(|part| part.name == name)?;
        part.estimate.map(|estimate| estimate.effect.to_bits())
    };
    blessed.parts.iter().all(|part| effect(&part.name) == Some(part.effect.to_bits()))
}
