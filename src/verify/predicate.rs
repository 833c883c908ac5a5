//! What a claim may test, as its file declares it, and what that means in weighted cells.

use crate::experiments::{Experiment, Level, within_sentence};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Level id by axis name.
pub type Levels = BTreeMap<String, String>;

/// What is tested of a part.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Test {
    /// The effect lies above the margin.
    Above(Effect),
    /// The effect lies within plus and minus the margin.
    Equivalent(Effect),
    /// The effect lies above minus the margin: `a` is not worse than `b` by more than that.
    NotWorse(Effect),
    /// The metric rises along a numeric axis by more than the margin over its range, by the
    /// least-squares line; `falling` asks for the opposite.
    Trend(Trend),
    /// `a` is not worse by more than the margin than any other cell of a grid: one part for
    /// each of them, over all seeds.
    Best(Best),
}

/// An effect: a difference (ratio) of two cells, of two such differences, or a contrast.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// `a - b`, or `a / b`.
    #[serde(default)]
    pub a: Levels,
    #[serde(default)]
    pub b: Levels,
    /// Several cells to compare with in the place of `b`: one part for each.
    #[serde(default)]
    pub against: Vec<Levels>,
    /// An interaction: `(a - b) - (than.a - than.b)`, or the ratio of the two ratios.
    #[serde(default)]
    pub than: Option<Pair>,
    /// A contrast of the levels of an axis, in the place of `a` and `b`.
    #[serde(default)]
    pub contrast: Option<LevelContrast>,
}

/// The second difference of an interaction.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    pub a: Levels,
    pub b: Levels,
}

/// Weights of the levels of an axis; they sum to 0.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelContrast {
    pub axis: String,
    pub weights: BTreeMap<String, f64>,
    /// Levels of the other axes.
    #[serde(default)]
    pub at: Levels,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trend {
    pub axis: String,
    #[serde(default)]
    pub falling: bool,
    /// Place levels by the logarithm of their value.
    #[serde(default)]
    pub log: bool,
    /// Levels of the other axes.
    #[serde(default)]
    pub at: Levels,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    pub a: Levels,
    /// Axes of the grid.
    pub over: Vec<String>,
}

/// Weighted cells.
pub type WeightedCells = Vec<(f64, Levels)>;

impl Test {
    /// The cells that the test names, for filling in the levels that `each` chooses.
    pub fn cells_mut(&mut self) -> Vec<&mut Levels> {
        match self {
            Test::Above(effect) | Test::Equivalent(effect) | Test::NotWorse(effect) => {
                if let Some(contrast) = &mut effect.contrast {
                    return vec![&mut contrast.at];
                }
                let mut cells = vec![&mut effect.a];
                if effect.against.is_empty() {
                    cells.push(&mut effect.b);
                }
                cells.extend(effect.against.iter_mut());
                cells.extend(effect.than.iter_mut().flat_map(|t| [&mut t.a, &mut t.b]));
                cells
            }
            Test::Trend(trend) => vec![&mut trend.at],
            Test::Best(best) => vec![&mut best.a],
        }
    }

    /// The cells with their weights, in an experiment with the levels that a profile has.
    /// Tests that stand for several parts have been split before.
    ///
    /// # Errors
    /// If a level of a contrast or a value of a trend is not there.
    pub fn cells(&self, experiment: &Experiment) -> Result<WeightedCells, String> {
        match self {
            Test::Above(effect) | Test::Equivalent(effect) | Test::NotWorse(effect) => {
                effect.cells(experiment)
            }
            Test::Trend(trend) => trend.cells(experiment),
            Test::Best(best) => Ok(vec![(1.0, best.a.clone())]),
        }
    }

    /// Which way the effect is taken, in words made from the labels of the levels.
    pub fn direction(&self, experiment: &Experiment, is_ratio: bool) -> String {
        let minus = if is_ratio { "over" } else { "minus" };
        match self {
            Test::Above(effect) | Test::Equivalent(effect) | Test::NotWorse(effect) => {
                effect.direction(experiment, minus)
            }
            Test::Trend(trend) => {
                let axis = label(experiment, &trend.axis);
                let way = if trend.falling { "fall" } else { "rise" };
                let at = at(experiment, &trend.at);
                format!("{way} along {} over its range{at}", within_sentence(&axis))
            }
            Test::Best(best) => {
                format!("{} {minus} the other settings", own_label(experiment, &best.a, &[]))
            }
        }
    }
}

impl Effect {
    fn cells(&self, experiment: &Experiment) -> Result<WeightedCells, String> {
        if let Some(contrast) = &self.contrast {
            let axis = experiment.axes.iter().find(|axis| axis.name == contrast.axis);
            let is_there =
                |id: &String| axis.is_some_and(|a| a.levels.iter().any(|level| &level.id == id));
            if let Some(id) = contrast.weights.keys().find(|id| !is_there(id)) {
                let (name, id_) = (&contrast.axis, id);
                return Err(format!("axis '{name}' has no level '{id_}' in this profile"));
            }
            let cell = |(id, weight): (&String, &f64)| {
                let mut cell = contrast.at.clone();
                cell.insert(contrast.axis.clone(), id.clone());
                (*weight, cell)
            };
            return Ok(contrast.weights.iter().map(cell).collect());
        }
        let mut cells = vec![(1.0, self.a.clone()), (-1.0, self.b.clone())];
        if let Some(than) = &self.than {
            cells.extend([(-1.0, than.a.clone()), (1.0, than.b.clone())]);
        }
        Ok(cells)
    }

    fn direction(&self, experiment: &Experiment, minus: &str) -> String {
        if let Some(contrast) = &self.contrast {
            let side = |sign: f64| {
                let chosen = contrast.weights.iter().filter(|(_, w)| *w * sign > 0.0);
                let names: Vec<String> =
                    chosen.map(|(id, _)| level_label(experiment, &contrast.axis, id)).collect();
                names.join(" and ")
            };
            let at = at(experiment, &contrast.at);
            return format!("{} {minus} {}{at}", side(1.0), side(-1.0));
        }
        let Some(than) = &self.than else {
            return difference(experiment, [&self.a, &self.b], minus);
        };
        let first = difference(experiment, [&self.a, &self.b], minus);
        let second = difference(experiment, [&than.a, &than.b], minus);
        format!("({first}) {minus} ({second})")
    }
}

impl Trend {
    fn cells(&self, experiment: &Experiment) -> Result<WeightedCells, String> {
        let axis = experiment.axes.iter().find(|axis| axis.name == self.axis);
        let levels: &[Level] = axis.map_or(&[], |axis| &axis.levels);
        let mut xs = Vec::new();
        for level in levels {
            let value = level.value.ok_or_else(|| format!("level '{}' has no value", level.id))?;
            xs.push(if self.log { libm::log(value) } else { value });
        }
        if xs.len() < 2 {
            return Err(format!("axis '{}' has fewer than two levels in this profile", self.axis));
        }
        let range = xs.iter().fold(f64::NEG_INFINITY, |m, x| m.max(*x))
            - xs.iter().fold(f64::INFINITY, |m, x| m.min(*x));
        let scale = if self.falling { -range } else { range };
        let weights = super::stats::slope_weights(&xs).into_iter().map(|w| w * scale);
        let cell = |(level, weight): (&Level, f64)| {
            let mut cell = self.at.clone();
            cell.insert(self.axis.clone(), level.id.clone());
            (weight, cell)
        };
        Ok(levels.iter().zip(weights).map(cell).collect())
    }
}

/// `Random minus Adversarial (Vanilla SGD)`: what differs, then what both have.
fn difference(experiment: &Experiment, [a, b]: [&Levels; 2], minus: &str) -> String {
    let shared: Vec<&str> = experiment
        .axes
        .iter()
        .filter(|axis| a.get(&axis.name).is_some() && a.get(&axis.name) == b.get(&axis.name))
        .map(|axis| axis.name.as_str())
        .collect();
    let common: Levels = a
        .iter()
        .filter(|(name, _)| shared.contains(&name.as_str()))
        .map(|(name, id)| (name.clone(), id.clone()))
        .collect();
    let [a, b] = [a, b].map(|cell| own_label(experiment, cell, &shared));
    format!("{a} {minus} {b}{}", at(experiment, &common))
}

/// Labels of a cell's levels, without the axes that are left out.
fn own_label(experiment: &Experiment, cell: &Levels, left_out: &[&str]) -> String {
    let named = experiment.axes.iter().filter(|axis| !left_out.contains(&axis.name.as_str()));
    let labels: Vec<String> = named
        .filter_map(|axis| Some(level_label(experiment, &axis.name, cell.get(&axis.name)?)))
        .collect();
    if labels.is_empty() { "all".to_owned() } else { labels.join(", ") }
}

fn at(experiment: &Experiment, cell: &Levels) -> String {
    if cell.is_empty() { String::new() } else { format!(" ({})", own_label(experiment, cell, &[])) }
}

fn label(experiment: &Experiment, axis: &str) -> String {
    let found = experiment.axes.iter().find(|a| a.name == axis);
    found.map_or_else(|| axis.to_owned(), |axis| axis.label.clone())
}

/// A level's label; a bare number needs the name of its axis.
fn level_label(experiment: &Experiment, axis: &str, id: &str) -> String {
    let found = experiment.axes.iter().find(|a| a.name == axis);
    let level = found.and_then(|axis| axis.levels.iter().find(|level| level.id == id));
    match level {
        Some(level) if level.label.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{} {}", within_sentence(&label(experiment, axis)), level.label)
        }
        Some(level) => level.label.clone(),
        None => id.to_owned(),
    }
}
