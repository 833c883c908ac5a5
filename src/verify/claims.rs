//! Claims as typed predicates, declared in `expected/claims.toml`: adding a claim is adding
//! text.
//!
//! A claim has one part or several. Each part tests an effect of an experiment's cells
//! ([`super::predicate`]) over all seeds that they have. A claim is supported if every part
//! is; refuted if one is, at a level corrected for the number of parts (looking at many parts
//! must not refute by chance); inconclusive otherwise.

use super::estimate::Variance;
use super::outcome::{Bearing, Verdict};
use super::predicate::{Best, Effect, Levels, Test};
use crate::experiments::Level;
use crate::experiments::results::ExperimentResult;
use serde::Deserialize;

/// Fewer seeds give no verdict.
pub const MIN_SEEDS: usize = 3;

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
    /// What a supported claim counts as.
    pub counts: Counts,
    /// Experiment whose cells are compared.
    pub experiment: String,
    pub metric: String,
    /// What the statistic is, with its unit; its direction is said by the program.
    pub statistic: String,
    /// Confidence of the intervals: each bound is a one-sided test at half of the rest.
    #[serde(default = "level")]
    pub level: f64,
    pub margin: f64,
    pub margin_reason: String,
    #[serde(default)]
    pub scale: Scale,
    #[serde(default)]
    pub variance: Variance,
    /// What must hold before anything is said.
    #[serde(default)]
    pub require: Vec<Requirement>,
    pub part: Vec<Part>,
}

fn level() -> f64 {
    0.95
}

/// What a supported claim counts as; a refuted one counts as the opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counts {
    ForThePaper,
    AgainstThePaper,
    AboutAControl,
}

impl Counts {
    /// What a verdict says of the paper.
    pub fn bearing(self, verdict: Verdict) -> Bearing {
        match (self, verdict) {
            (_, Verdict::Inconclusive) => Bearing::Nothing,
            (Counts::AboutAControl, _) => Bearing::AboutAControl,
            (Counts::ForThePaper, Verdict::Supported)
            | (Counts::AgainstThePaper, Verdict::Refuted) => Bearing::ForThePaper,
            (Counts::ForThePaper, Verdict::Refuted)
            | (Counts::AgainstThePaper, Verdict::Supported) => Bearing::AgainstThePaper,
        }
    }
}

/// Whether values are subtracted or divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    #[default]
    Difference,
    /// The statistic is a ratio of geometric means; so is the margin.
    Ratio,
}

impl Scale {
    /// A value or margin on the scale on which effects are sums.
    pub fn inward(self, x: f64) -> f64 {
        if self == Scale::Ratio { libm::log(x) } else { x }
    }

    /// Back from there.
    pub fn outward(self, x: f64) -> f64 {
        if self == Scale::Ratio { libm::exp(x) } else { x }
    }
}

/// A bound that a metric must keep: of one cell, or of every cell that the claim compares.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Every compared cell, if it is left out.
    #[serde(default)]
    pub cell: Option<Levels>,
    pub metric: String,
    /// For every seed.
    #[serde(default)]
    pub at_least: Option<f64>,
    /// For the mean over seeds.
    #[serde(default)]
    pub mean_at_least: Option<f64>,
}

/// One comparison, or one for each level of some axes.
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
    /// Estimated and shown with its interval, without a say in the verdict.
    #[serde(default)]
    pub beside: bool,
    pub test: Test,
    /// Level id by axis that `each` or `best` chose for this repetition.
    #[serde(skip)]
    pub place: Levels,
}

impl Part {
    /// The parts that this one stands for in an experiment with the levels of a profile.
    pub fn expanded(&self, result: &ExperimentResult) -> Vec<Part> {
        let mut parts = vec![Part { each: Vec::new(), ..self.clone() }];
        for name in &self.each {
            let Some(axis) = result.experiment.axes.iter().find(|a| &a.name == name) else {
                continue; // the file's check has refused it
            };
            let at = |part: &Part, level: &Level| {
                let mut part = part.named(&level.label);
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
        parts.into_iter().flat_map(|part| part.split(result)).collect()
    }

    /// The same part with more to its name.
    fn named(&self, more: &str) -> Part {
        let comma = if self.name.is_empty() { "" } else { ", " };
        Part { name: format!("{}{comma}{more}", self.name), ..self.clone() }
    }

    /// One part for each cell that `against` or `best` compares with.
    fn split(self, result: &ExperimentResult) -> Vec<Part> {
        let label = |cell: &Levels| {
            let known = result.cell(cell).map(|cell| result.cell_label(cell));
            known.unwrap_or_else(|| format!("{cell:?}"))
        };
        if let Test::Best(best) = &self.test {
            let other = |b: Levels| {
                let place = best.over.iter().filter_map(|name| Some((name.clone(), b.get(name)?)));
                let place = place.map(|(name, id)| (name, id.clone())).collect();
                let effect = Effect { a: best.a.clone(), b: b.clone(), ..Effect::default() };
                let part = self.named(&format!("against {}", label(&b)));
                Part { test: Test::NotWorse(effect), place, ..part }
            };
            return best.others(result).into_iter().map(other).collect();
        }
        let mut copies = Vec::new();
        for cell in self.test.comparators() {
            let mut part = self.named(&format!("against {}", label(&cell)));
            part.test.compare_with(cell);
            copies.push(part);
        }
        if copies.is_empty() { vec![self] } else { copies }
    }
}

impl Best {
    /// The other cells of the grid.
    fn others(&self, result: &ExperimentResult) -> Vec<Levels> {
        let mut cells = vec![self.a.clone()];
        for name in &self.over {
            let axis = result.experiment.axes.iter().find(|axis| &axis.name == name);
            let levels: &[Level] = axis.map_or(&[], |axis| &axis.levels);
            let at = |cell: &Levels, level: &Level| {
                let mut cell = cell.clone();
                cell.insert(name.clone(), level.id.clone());
                cell
            };
            cells = cells.iter().flat_map(|c| levels.iter().map(|l| at(c, l))).collect();
        }
        cells.retain(|cell| *cell != self.a);
        cells
    }
}

impl Test {
    /// The cells of `against`.
    fn comparators(&self) -> Vec<Levels> {
        match self {
            Test::Above(effect) | Test::Equivalent(effect) | Test::NotWorse(effect) => {
                effect.against.clone()
            }
            Test::Trend(_) | Test::Best(_) => Vec::new(),
        }
    }

    /// Takes one of them as `b`.
    fn compare_with(&mut self, cell: Levels) {
        if let Test::Above(effect) | Test::Equivalent(effect) | Test::NotWorse(effect) = self {
            effect.b = cell;
            effect.against.clear();
        }
    }
}
