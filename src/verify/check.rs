//! Names and numbers of the claims file: whatever matches nothing is an error when the file
//! is read, since a claim that looks at nothing would hold for ever.

use super::claims::{Claim, Claims, Part, Requirement, Scale, Test};
use super::reference::{self, ReferenceError};
use crate::experiments::{Experiment, duplicate, named_levels, named_metric};
use std::collections::BTreeMap;
use std::path::Path;

type Levels = BTreeMap<String, String>;

impl Claims {
    /// Reads a claims file and checks it against the declarations of `tables`.
    ///
    /// # Errors
    /// If it is missing or malformed, a number is out of its range, or a name matches nothing.
    pub fn read(path: &Path, tables: &Path) -> Result<Claims, ReferenceError> {
        let claims: Claims = reference::read(path)?;
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
        named_metric(experiment, &self.metric).map_err(|e| format!("metric: {e}"))?;
        for requirement in &self.require {
            requirement.check(experiment).map_err(|e| format!("require: {e}"))?;
        }
        if self.part.is_empty() {
            return Err("part is empty: nothing would be tested".to_owned());
        }
        for (place, part) in self.part.iter().enumerate() {
            part.check(experiment).map_err(|e| format!("part {}: {e}", place + 1))?;
        }
        Ok(())
    }

    fn check_margin(&self) -> Result<(), String> {
        let margin = self.margin;
        let two_sided = |part: &Part| matches!(part.test, Test::Equivalent { .. });
        let one_sided = |part: &Part| matches!(part.test, Test::NotWorse { .. });
        let range = match self.scale {
            Scale::Ratio if self.part.iter().any(|p| two_sided(p) || one_sided(p)) => {
                (margin > 1.0, "above 1 for a ratio that is to stay near 1")
            }
            Scale::Ratio => (margin > 0.0, "above 0 for a ratio"),
            Scale::Difference if self.part.iter().any(two_sided) => {
                (margin > 0.0, "above 0 for an equivalence")
            }
            Scale::Difference => (margin >= 0.0, "at least 0"),
        };
        match range {
            (true, _) if margin.is_finite() => Ok(()),
            (_, range) => Err(format!("margin = {margin} must be finite and {range}")),
        }
    }
}

impl Requirement {
    fn check(&self, experiment: &Experiment) -> Result<(), String> {
        named_metric(experiment, &self.metric).map_err(|e| format!("metric: {e}"))?;
        whole_cell(experiment, &self.cell, &[])?;
        if self.at_least.is_finite() {
            return Ok(());
        }
        Err(format!("at_least = {} must be a finite number", self.at_least))
    }
}

impl Part {
    fn check(&self, experiment: &Experiment) -> Result<(), String> {
        if let Some(metric) = &self.metric {
            named_metric(experiment, metric).map_err(|e| format!("metric: {e}"))?;
        }
        for name in &self.each {
            has_axis(experiment, name).map_err(|e| format!("each: {e}"))?;
        }
        if let Some(name) = duplicate(self.each.iter().map(String::as_str)) {
            return Err(format!("each names the axis '{name}' twice"));
        }
        let mut open: Vec<&str> = self.each.iter().map(String::as_str).collect();
        match &self.test {
            Test::Above { a, b } | Test::Equivalent { a, b } | Test::NotWorse { a, b } => {
                whole_cell(experiment, a, &open).map_err(|e| format!("a: {e}"))?;
                whole_cell(experiment, b, &open).map_err(|e| format!("b: {e}"))?;
                if a == b {
                    return Err("a and b are the same cell".to_owned());
                }
            }
            Test::Trend { axis, at, log, .. } => {
                has_axis(experiment, axis).map_err(|e| format!("trend: {e}"))?;
                open.push(axis);
                whole_cell(experiment, at, &open).map_err(|e| format!("at: {e}"))?;
                let axis = experiment.axes.iter().find(|a| &a.name == axis);
                for level in axis.into_iter().flat_map(|axis| &axis.levels) {
                    match level.value {
                        None => {
                            return Err(format!("trend: level '{}' has no value", level.id));
                        }
                        Some(value) if *log && value <= 0.0 => {
                            return Err(format!(
                                "trend: level '{}' has the value {value}, and log = true needs \
                                 values above 0",
                                level.id
                            ));
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        Ok(())
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
