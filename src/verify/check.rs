//! Names and numbers of the claims file: whatever matches nothing is an error when the file
//! is read, since a claim that looks at nothing would hold for ever.

use super::claims::{Claim, Claims, Part, Requirement, Scale};
use super::files::{self, ReferenceError};
use super::predicate::{Best, Effect, LevelContrast, Levels, Test, Trend};
use crate::experiments::{Experiment, duplicate, named_levels, named_metric};
use std::path::Path;

impl Claims {
    /// Reads a claims file and checks it against the declarations of `tables`.
    ///
    /// # Errors
    /// If it is missing or malformed, a number is out of its range, or a name matches nothing.
    pub fn read(path: &Path, tables: &Path) -> Result<Claims, ReferenceError> {
        let claims: Claims = files::read(path)?;
        let known = Experiment::ids(tables);
        let problem = |problem| ReferenceError::Format { path: path.to_owned(), problem };
        if let Some(id) = duplicate(claims.claim.iter().map(|claim| claim.id.as_str())) {
            return Err(problem(format!("the claim '{id}' is declared twice")));
        }
        for claim in &claims.claim {
            let named = |what: String| problem(format!("claim '{}': {what}", claim.id));
            if !known.contains(&claim.experiment) {
                let (name, known) = (&claim.experiment, known.join(", "));
                let tables = tables.display();
                return Err(named(format!(
                    "experiment = '{name}' is not declared in {tables}; there are: {known}"
                )));
            }
            let experiment = Experiment::read(tables, &claim.experiment);
            let experiment = experiment.map_err(|e| named(e.to_string()))?;
            claim.check(&experiment).map_err(named)?;
        }
        Ok(claims)
    }
}

impl Claim {
    fn check(&self, experiment: &Experiment) -> Result<(), String> {
        if !(self.level > 0.5 && self.level < 1.0) {
            return Err(format!("level = {} must lie between 0.5 and 1", self.level));
        }
        self.check_margin()?;
        blessed_metric(experiment, &self.metric)?;
        for requirement in &self.require {
            requirement.check(experiment).map_err(|e| format!("require: {e}"))?;
        }
        if self.part.is_empty() {
            return Err("part is empty: nothing would be tested".to_owned());
        }
        if self.part.iter().all(|part| part.beside) {
            return Err("every part is beside: none would have a say".to_owned());
        }
        // The blessed effect of a part is found by its name.
        if let Some(name) = duplicate(
            self.part.iter().filter(|part| part.each.is_empty()).map(|part| part.name.as_str()),
        ) {
            return Err(format!("part: two are called '{name}'; give each a name of its own"));
        }
        for (place, part) in self.part.iter().enumerate() {
            part.check(experiment).map_err(|e| format!("part {}: {e}", place + 1))?;
        }
        Ok(())
    }

    fn check_margin(&self) -> Result<(), String> {
        let margin = self.margin;
        let has = |is: fn(&Test) -> bool| self.part.iter().any(|part| is(&part.test));
        let near = has(|test| matches!(test, Test::NotWorse(_) | Test::Best(_)));
        let equivalent = has(|test| matches!(test, Test::Equivalent(_)));
        let (fits, range) = match self.scale {
            Scale::Ratio if near || equivalent => {
                (margin > 1.0, "above 1 for a ratio that is to stay near 1")
            }
            Scale::Ratio => (margin > 0.0, "above 0 for a ratio"),
            Scale::Difference if equivalent => (margin > 0.0, "above 0 for an equivalence"),
            Scale::Difference => (margin >= 0.0, "at least 0"),
        };
        if fits && margin.is_finite() {
            return Ok(());
        }
        Err(format!("margin = {margin} must be finite and {range}"))
    }
}

/// A metric that a claim rests on must be among those that are blessed: the verdict can then
/// be computed again from the reference alone.
fn blessed_metric(experiment: &Experiment, name: &str) -> Result<(), String> {
    named_metric(experiment, name).map_err(|e| format!("metric: {e}"))?;
    let metric = experiment.metrics.iter().find(|metric| metric.name == name);
    if metric.is_some_and(|metric| metric.regression) {
        return Ok(());
    }
    Err(format!("metric: '{name}' is declared with regression = false, so no value is blessed"))
}

impl Requirement {
    fn check(&self, experiment: &Experiment) -> Result<(), String> {
        blessed_metric(experiment, &self.metric)?;
        if let Some(cell) = &self.cell {
            whole_cell(experiment, cell, &[])?;
        }
        let bounds = [("at_least", self.at_least), ("mean_at_least", self.mean_at_least)];
        if bounds.iter().all(|(_, bound)| bound.is_none()) {
            return Err("at_least or mean_at_least must say what is required".to_owned());
        }
        match bounds.iter().find(|(_, bound)| bound.is_some_and(|bound| !bound.is_finite())) {
            None => Ok(()),
            Some((field, _)) => Err(format!("{field} must be a finite number")),
        }
    }
}

impl Part {
    fn check(&self, experiment: &Experiment) -> Result<(), String> {
        if let Some(metric) = &self.metric {
            blessed_metric(experiment, metric)?;
        }
        for name in &self.each {
            has_axis(experiment, name).map_err(|e| format!("each: {e}"))?;
        }
        if let Some(name) = duplicate(self.each.iter().map(String::as_str)) {
            return Err(format!("each names the axis '{name}' twice"));
        }
        let open: Vec<&str> = self.each.iter().map(String::as_str).collect();
        match &self.test {
            Test::Above(effect) | Test::Equivalent(effect) | Test::NotWorse(effect) => {
                effect.check(experiment, &open)
            }
            Test::Trend(trend) => trend.check(experiment, &open).map_err(|e| format!("trend: {e}")),
            Test::Best(best) => best.check(experiment, &open).map_err(|e| format!("best: {e}")),
        }
    }
}

impl Effect {
    fn check(&self, experiment: &Experiment, open: &[&str]) -> Result<(), String> {
        if let Some(contrast) = &self.contrast {
            let others = !self.a.is_empty() || !self.b.is_empty() || self.than.is_some();
            if others || !self.against.is_empty() {
                return Err("contrast stands in the place of a, b, against and than".to_owned());
            }
            return contrast.check(experiment, open).map_err(|e| format!("contrast: {e}"));
        }
        whole_cell(experiment, &self.a, open).map_err(|e| format!("a: {e}"))?;
        if self.against.is_empty() {
            whole_cell(experiment, &self.b, open).map_err(|e| format!("b: {e}"))?;
        } else if !self.b.is_empty() {
            return Err("against stands in the place of b".to_owned());
        }
        for cell in &self.against {
            whole_cell(experiment, cell, open).map_err(|e| format!("against: {e}"))?;
        }
        let comparators = self.against.iter().chain(self.against.is_empty().then_some(&self.b));
        if { comparators }.any(|cell| *cell == self.a) {
            return Err("a and what it is compared with are the same cell".to_owned());
        }
        if self.against.iter().enumerate().any(|(i, cell)| self.against[..i].contains(cell)) {
            return Err("against names a cell twice".to_owned());
        }
        if let Some(than) = &self.than {
            whole_cell(experiment, &than.a, open).map_err(|e| format!("than.a: {e}"))?;
            whole_cell(experiment, &than.b, open).map_err(|e| format!("than.b: {e}"))?;
            if than.a == than.b || (than.a == self.a && than.b == self.b) {
                return Err("than: the two differences are one, or a difference is 0".to_owned());
            }
        }
        Ok(())
    }
}

impl LevelContrast {
    fn check(&self, experiment: &Experiment, open: &[&str]) -> Result<(), String> {
        has_axis(experiment, &self.axis)?;
        for (id, weight) in &self.weights {
            named_levels(experiment, &Levels::from([(self.axis.clone(), id.clone())]))?;
            if !weight.is_finite() || *weight == 0.0 {
                return Err(format!("the weight of '{id}' must be a number other than 0"));
            }
        }
        let sum: f64 = self.weights.values().sum();
        if self.weights.len() < 2 || sum.abs() > 1e-9 {
            return Err(format!("the weights of two levels or more must sum to 0, not to {sum}"));
        }
        let open = [open, &[self.axis.as_str()]].concat();
        whole_cell(experiment, &self.at, &open).map_err(|e| format!("at: {e}"))
    }
}

impl Trend {
    fn check(&self, experiment: &Experiment, open: &[&str]) -> Result<(), String> {
        has_axis(experiment, &self.axis)?;
        let open = [open, &[self.axis.as_str()]].concat();
        whole_cell(experiment, &self.at, &open).map_err(|e| format!("at: {e}"))?;
        let axis = experiment.axes.iter().find(|axis| axis.name == self.axis);
        for level in axis.into_iter().flat_map(|axis| &axis.levels) {
            match level.value {
                None => return Err(format!("level '{}' has no value", level.id)),
                Some(value) if self.log && value <= 0.0 => {
                    return Err(format!(
                        "level '{}' has the value {value}, and log = true needs values above 0",
                        level.id
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

impl Best {
    fn check(&self, experiment: &Experiment, open: &[&str]) -> Result<(), String> {
        whole_cell(experiment, &self.a, open).map_err(|e| format!("a: {e}"))?;
        if self.over.is_empty() {
            return Err("over names no axis: there would be nothing to compare with".to_owned());
        }
        for name in &self.over {
            has_axis(experiment, name).map_err(|e| format!("over: {e}"))?;
            if open.contains(&name.as_str()) {
                return Err(format!("over and each both name the axis '{name}'"));
            }
        }
        match duplicate(self.over.iter().map(String::as_str)) {
            Some(name) => Err(format!("over names the axis '{name}' twice")),
            None => Ok(()),
        }
    }
}

fn has_axis(experiment: &Experiment, name: &str) -> Result<(), String> {
    if experiment.axes.iter().any(|axis| axis.name == name) {
        return Ok(());
    }
    let known: Vec<&str> = experiment.axes.iter().map(|axis| axis.name.as_str()).collect();
    Err(format!("there is no axis '{name}'; there are: {}", known.join(", ")))
}

/// A cell must name a level of every axis that has several and is not `open`.
fn whole_cell(experiment: &Experiment, cell: &Levels, open: &[&str]) -> Result<(), String> {
    named_levels(experiment, cell)?;
    let several = experiment.axes.iter().filter(|axis| axis.levels.len() > 1);
    let mut unnamed =
        several.filter(|a| !cell.contains_key(&a.name) && !open.contains(&a.name.as_str()));
    match unnamed.next() {
        None => Ok(()),
        Some(axis) => Err(format!("the cell names no level of the axis '{}'", axis.name)),
    }
}
