//! Claims as typed predicates, declared in `expected/claims.toml`: adding a claim is adding
//! text.
//!
//! A claim has one part or several. Each part compares two cells of an experiment over the
//! seeds that both have, pairwise: the runs of a seed share data order, corruption and random
//! weights, so their difference has less spread than the runs. A claim is supported if every
//! part is; refuted if one is, at a level corrected for the number of parts (looking at many
//! parts must not refute by chance); inconclusive otherwise.

use super::outcome::{ClaimOutcome, ClaimPart, Verdict};
use super::stats;
use crate::experiments::results::{CellResult, ExperimentResult};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Fewer pairs of seeds give no verdict.
pub const FEWEST_SEEDS: usize = 3;
/// Numbers of seeds past which "more seeds would decide it" is not worth saying.
const MOST_SEEDS: usize = 1000;

/// The claims file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    #[serde(default)]
    pub claim: Vec<Claim>,
}

/// One claim.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    pub id: String,
    pub statement: String,
    pub source: String,
    /// Experiment whose cells are compared.
    pub experiment: String,
    pub metric: String,
    /// How the statistic reads, with its unit.
    pub statistic: String,
    /// Confidence: an effect is called if the two-sided interval of this level excludes the
    /// margin; equivalence, if each of the two one-sided tests succeeds at this level.
    pub level: f64,
    pub margin: f64,
    pub margin_reason: String,
    #[serde(default)]
    pub scale: Scale,
    /// What must hold for every seed before anything is said.
    #[serde(default)]
    pub require: Vec<Requirement>,
    pub part: Vec<Part>,
}

/// Whether values are subtracted or divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    #[default]
    Difference,
    /// The statistic is a ratio (geometric mean over seeds); so is the margin.
    Ratio,
}

/// A bound that a metric of a cell must keep for every seed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    pub cell: BTreeMap<String, String>,
    pub metric: String,
    pub at_least: f64,
}

/// One comparison.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    #[serde(default)]
    pub name: String,
    /// Axes over whose levels the part is repeated: one part a combination that the
    /// experiment has in this profile. A cell that names the axis itself stays as it is.
    #[serde(default)]
    pub each: Vec<String>,
    /// Another metric than the claim's.
    #[serde(default)]
    pub metric: Option<String>,
    pub test: Test,
    /// Level id by axis that `each` chose for this repetition.
    #[serde(skip)]
    place: BTreeMap<String, String>,
}

impl Part {
    /// The part for every combination of the levels of its `each` axes.
    fn expanded(&self, result: &ExperimentResult) -> Vec<Part> {
        let mut parts = vec![Part { each: Vec::new(), ..self.clone() }];
        for name in &self.each {
            let Some(axis) = result.experiment.axes.iter().find(|a| &a.name == name) else {
                continue; // the part then fails to find its cells and says so
            };
            let at = |part: &Part, level: &crate::experiments::Level| {
                let mut part = part.clone();
                let comma = if part.name.is_empty() { "" } else { ", " };
                part.name += &format!("{comma}{}", level.label);
                part.place.insert(name.clone(), level.id.clone());
                for cell in part.test.cells_mut() {
                    cell.entry(name.clone()).or_insert_with(|| level.id.clone());
                }
                part
            };
            parts = parts
                .iter()
                .flat_map(|part| axis.levels.iter().map(move |level| at(part, level)))
                .collect();
        }
        parts
    }
}

/// What is tested of a part.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Test {
    /// `a - b` (or `a / b`) lies above the margin.
    Above { a: BTreeMap<String, String>, b: BTreeMap<String, String> },
    /// `a - b` lies within plus and minus the margin (two one-sided tests).
    Equivalent { a: BTreeMap<String, String>, b: BTreeMap<String, String> },
    /// `a - b` lies above minus the margin: `a` is not worse than `b` by more than that.
    NotWorse { a: BTreeMap<String, String>, b: BTreeMap<String, String> },
    /// The metric rises along a numeric axis by more than the margin over its range, by the
    /// least-squares line of each seed; `falling` asks for the opposite.
    Trend {
        axis: String,
        #[serde(default)]
        falling: bool,
        /// Place levels by the logarithm of their value.
        #[serde(default)]
        log: bool,
        /// Level of the other axes.
        at: BTreeMap<String, String>,
    },
}

impl Test {
    fn cells_mut(&mut self) -> Vec<&mut BTreeMap<String, String>> {
        match self {
            Test::Above { a, b } | Test::Equivalent { a, b } | Test::NotWorse { a, b } => {
                vec![a, b]
            }
            Test::Trend { at, .. } => vec![at],
        }
    }
}

/// Verdict on a part, and whether it lacks runs rather than evidence.
struct Judged {
    part: ClaimPart,
    n: usize,
    incomplete: bool,
}

/// Verdict on a claim; `incomplete` tells runs that are missing, few or poisoned from
/// evidence that does not decide.
pub struct Evaluated {
    pub outcome: ClaimOutcome,
    pub incomplete: bool,
}

impl Claim {
    /// Judges the claim; `None` if its experiment is not among the results.
    pub fn evaluate(
        &self,
        results: &[ExperimentResult],
        blessed: Option<Verdict>,
    ) -> Option<Evaluated> {
        let result = results.iter().find(|r| r.experiment.id == self.experiment)?;
        let parts: Vec<Part> = self.part.iter().flat_map(|part| part.expanded(result)).collect();
        let judged: Vec<Judged> =
            parts.iter().map(|part| self.judge(part, parts.len(), result)).collect();
        let unmet = self.require.iter().find_map(|r| r.unmet(result));
        let verdict = match &unmet {
            Some(_) => Verdict::Inconclusive,
            None => combine(judged.iter().map(|j| j.part.verdict)),
        };
        // A single part speaks for the claim; of several, the one that decides.
        let telling = judged
            .iter()
            .find(|j| j.part.verdict == verdict)
            .or(judged.first())
            .map(|j| (j.part.statistic, j.part.interval, j.part.reason.clone()));
        let (statistic, interval, mut reason) = telling.unwrap_or_default();
        if judged.len() > 1 {
            let count = |v: Verdict| judged.iter().filter(|j| j.part.verdict == v).count();
            reason = format!(
                "of {} parts {} supported, {} refuted, {} inconclusive",
                judged.len(),
                count(Verdict::Supported),
                count(Verdict::Refuted),
                count(Verdict::Inconclusive)
            );
            // Names have commas of their own.
            let named: Vec<String> = judged
                .iter()
                .filter(|j| j.part.verdict != Verdict::Supported)
                .map(|j| format!("“{}”", j.part.name))
                .collect();
            if !named.is_empty() {
                reason += &format!("; not supported: {}", named.join(", "));
            }
        }
        if let Some(unmet) = unmet {
            reason = unmet;
        }
        let incomplete = verdict == Verdict::Inconclusive && judged.iter().any(|j| j.incomplete);
        let outcome = ClaimOutcome {
            id: self.id.clone(),
            verdict,
            statistic,
            interval,
            margin: self.margin,
            n: judged.iter().map(|j| j.n).min().unwrap_or(0),
            reason,
            statement: self.statement.clone(),
            source: self.source.clone(),
            statistic_label: self.statistic.clone(),
            margin_reason: self.margin_reason.clone(),
            blessed,
            experiment: self.experiment.clone(),
            parts: judged.into_iter().map(|j| j.part).collect(),
        };
        Some(Evaluated { outcome, incomplete })
    }

    fn judge(&self, part: &Part, parts: usize, result: &ExperimentResult) -> Judged {
        let made = |verdict, statistic, interval, reason: String, n, incomplete| Judged {
            part: ClaimPart {
                name: part.name.clone(),
                cell: part.place.clone(),
                verdict,
                statistic,
                interval,
                reason,
            },
            n,
            incomplete,
        };
        let lacking = |reason: String, n| made(Verdict::Inconclusive, None, None, reason, n, true);
        let metric = part.metric.as_ref().unwrap_or(&self.metric);
        let effects = match self.effects(&part.test, metric, result) {
            Ok(effects) => effects,
            Err(reason) => return lacking(reason, 0),
        };
        let n = effects.len();
        if n < FEWEST_SEEDS {
            let reason = format!(
                "{n} seeds with all runs there; a verdict needs at least {FEWEST_SEEDS}: run with more --seeds"
            );
            return lacking(reason, n);
        }
        let bounds = self.bounds(&part.test);
        let level = match part.test {
            Test::Equivalent { .. } | Test::NotWorse { .. } => 2.0 * self.level - 1.0,
            Test::Above { .. } | Test::Trend { .. } => self.level,
        };
        let strict = 1.0 - (1.0 - level) / parts as f64;
        let interval = stats::mean_interval(&effects, level).expect("there are three or more");
        let wide = stats::mean_interval(&effects, strict).expect("there are three or more");
        let (verdict, why) = decide(interval, wide, bounds);
        let mut reason = self.sentence(&part.test, why, interval, level);
        if verdict == Verdict::Inconclusive {
            reason += &self.advice(&effects, bounds, level);
        }
        let shown = |x: f64| if self.scale == Scale::Ratio { x.exp() } else { x };
        let center = shown(stats::mean(&effects));
        made(verdict, Some(center), Some(interval.map(shown)), reason, n, false)
    }

    /// The effect of each seed, on the scale that intervals are computed on.
    fn effects(
        &self,
        test: &Test,
        metric: &str,
        result: &ExperimentResult,
    ) -> Result<Vec<f64>, String> {
        match test {
            Test::Above { a, b } | Test::Equivalent { a, b } | Test::NotWorse { a, b } => {
                let (a, b) = (find(result, a)?, find(result, b)?);
                let other: BTreeMap<u64, f64> = samples(b, metric).into_iter().collect();
                let pair = |(seed, a): (u64, f64)| {
                    let b = *other.get(&seed)?;
                    Some(if self.scale == Scale::Ratio { (a / b).ln() } else { a - b })
                };
                Ok(samples(a, metric).into_iter().filter_map(pair).collect())
            }
            Test::Trend { axis, falling, log, at } => {
                let place = result.experiment.axes.iter().position(|x| &x.name == axis);
                let place = place.ok_or_else(|| format!("no axis '{axis}'"))?;
                let mut rows: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
                let levels = &result.experiment.axes[place].levels;
                let mut range: [f64; 2] = [f64::INFINITY, f64::NEG_INFINITY];
                for level in levels {
                    let value = level.value.ok_or_else(|| {
                        format!("level '{}' of axis '{axis}' has no value", level.id)
                    })?;
                    let x = if *log { value.ln() } else { value };
                    range = [range[0].min(x), range[1].max(x)];
                    let mut wanted = at.clone();
                    wanted.insert(axis.clone(), level.id.clone());
                    for (seed, y) in samples(find(result, &wanted)?, metric) {
                        rows.entry(seed).or_default().push((x, y));
                    }
                }
                let sign = if *falling { -1.0 } else { 1.0 };
                let whole = |row: &Vec<(f64, f64)>| row.len() == levels.len();
                let change =
                    |row: &Vec<(f64, f64)>| sign * stats::slope(row) * (range[1] - range[0]);
                Ok(rows.values().filter(|row| whole(row)).map(change).collect())
            }
        }
    }

    /// Between which bounds the effect must lie.
    fn bounds(&self, test: &Test) -> [f64; 2] {
        let margin = if self.scale == Scale::Ratio { self.margin.ln() } else { self.margin };
        match test {
            Test::Above { .. } | Test::Trend { .. } => [margin, f64::INFINITY],
            Test::Equivalent { .. } => [-margin, margin],
            Test::NotWorse { .. } => [-margin, f64::INFINITY],
        }
    }

    fn sentence(&self, test: &Test, why: &str, interval: [f64; 2], level: f64) -> String {
        let shown = |x: f64| {
            if self.scale == Scale::Ratio { format!("{:.2}", x.exp()) } else { format!("{x:.2}") }
        };
        let range = match (test, self.scale) {
            (Test::Equivalent { .. }, Scale::Difference) => {
                format!("the range from {:.2} to {:.2}", -self.margin, self.margin)
            }
            (Test::NotWorse { .. }, Scale::Difference) => format!("the bound {:.2}", -self.margin),
            _ => format!("the margin {:.2}", self.margin),
        };
        format!(
            "the {:.0}% interval [{}, {}] {why} {range}",
            100.0 * level,
            shown(interval[0]),
            shown(interval[1])
        )
    }

    /// How many seeds would decide, should effect and spread stay as they are.
    fn advice(&self, effects: &[f64], bounds: [f64; 2], level: f64) -> String {
        let effect = stats::mean(effects);
        let finite = bounds.iter().filter(|bound| bound.is_finite());
        let nearest = finite.map(|bound| (effect - bound).abs()).fold(f64::INFINITY, f64::min);
        let spread = stats::standard_deviation(effects);
        match stats::seeds_to_decide(spread, nearest, level, MOST_SEEDS) {
            Some(n) => format!("; about {n} seeds would decide it"),
            None => format!(
                "; the effect lies so near the margin that {MOST_SEEDS} seeds would not decide it"
            ),
        }
    }
}

/// Values of seeds whose runs nothing is wrong with.
fn samples(cell: &CellResult, metric: &str) -> Vec<(u64, f64)> {
    let sound = |&(seed, value): &(u64, f64)| value.is_finite() && !cell.is_poisoned(seed);
    cell.samples(metric).into_iter().filter(sound).collect()
}

fn find<'a>(
    result: &'a ExperimentResult,
    cell: &BTreeMap<String, String>,
) -> Result<&'a CellResult, String> {
    let found = result.cell(cell).ok_or_else(|| {
        format!("experiment {} has no cell {cell:?} in this profile", result.experiment.id)
    })?;
    // One bad run is enough: leaving it out would choose the seeds by their outcome.
    match found.poison().into_iter().next() {
        Some(poison) => Err(format!("{poison}, so nothing can rest on this cell")),
        None => Ok(found),
    }
}

fn combine(verdicts: impl Iterator<Item = Verdict> + Clone) -> Verdict {
    if verdicts.clone().any(|v| v == Verdict::Refuted) {
        Verdict::Refuted
    } else if verdicts.clone().all(|v| v == Verdict::Supported) {
        Verdict::Supported
    } else {
        Verdict::Inconclusive
    }
}

/// Supported if the interval lies between the bounds; refuted if the wide one lies outside.
fn decide(interval: [f64; 2], wide: [f64; 2], [low, high]: [f64; 2]) -> (Verdict, &'static str) {
    if low < interval[0] && interval[1] < high {
        (Verdict::Supported, if high.is_finite() { "lies within" } else { "lies above" })
    } else if wide[1] < low || wide[0] > high {
        (Verdict::Refuted, if high.is_finite() { "lies outside" } else { "lies below" })
    } else {
        (Verdict::Inconclusive, "straddles")
    }
}

impl Requirement {
    /// Why it does not hold, if so.
    fn unmet(&self, result: &ExperimentResult) -> Option<String> {
        let cell = match find(result, &self.cell) {
            Ok(cell) => cell,
            Err(reason) => return Some(reason),
        };
        let samples = cell.samples(&self.metric);
        if samples.is_empty() {
            return Some(format!("the premise cannot be told: no run has {}", self.metric));
        }
        let short = |value: f64| value.is_nan() || value < self.at_least;
        let (seed, value) = samples.into_iter().find(|(_, value)| short(*value))?;
        Some(format!(
            "the premise does not hold: {} of seed {seed} is {value:.2}, not at least {:.2}",
            self.metric, self.at_least
        ))
    }
}
