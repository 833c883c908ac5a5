//! Premises of claims: what must hold of the compared cells before anything is said.

use super::claims::{Claim, Requirement};
use super::evidence::{self, Evidences};
use super::outcome::Premise;
use super::predicate::Levels;
use super::stats;
use crate::experiments::results::ExperimentResult;
use crate::experiments::within_sentence;

/// All premises of a claim, those that name no cell for every cell that is compared.
pub fn all(claim: &Claim, evidences: &Evidences, result: &ExperimentResult) -> Vec<Premise> {
    let mut compared: Vec<&Levels> = Vec::new();
    for cell in evidences.parts.iter().flat_map(|part| &part.cells) {
        if !compared.contains(&cell) {
            compared.push(cell);
        }
    }
    let cells = |requirement: &Requirement| -> Vec<Levels> {
        match &requirement.cell {
            Some(cell) => vec![cell.clone()],
            None => compared.iter().map(|&cell| cell.clone()).collect(),
        }
    };
    let of = |r| cells(r).into_iter().map(move |cell| premise(r, &cell, result));
    claim.require.iter().flat_map(of).collect()
}

fn premise(requirement: &Requirement, cell: &Levels, result: &ExperimentResult) -> Premise {
    let metric = &requirement.metric;
    let mut premise = Premise {
        cell: cell.values().cloned().collect::<Vec<_>>().join(", "),
        metric: metric.clone(),
        at_least: requirement.at_least,
        mean_at_least: requirement.mean_at_least,
        ..Premise::default()
    };
    let found = match evidence::find(result, cell) {
        Ok(found) => found,
        Err(problem) => {
            premise.note = problem;
            return premise;
        }
    };
    premise.cell = result.cell_label(found);
    premise.decay = found.dose();
    let label = result.experiment.metrics.iter().find(|m| &m.name == metric);
    let label = within_sentence(label.map_or(metric.as_str(), |metric| metric.label.as_str()));
    let samples = evidence::samples(found, metric);
    let Some(&(seed, lowest)) = samples.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else {
        premise.note = format!("no premise can be told: no run of {} has {label}", premise.cell);
        return premise;
    };
    let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
    let mean = stats::mean(&values);
    let short = |bound: Option<f64>, value: f64| bound.is_some_and(|bound| value < bound);
    premise.n = samples.len();
    premise.mean = Some(mean);
    premise.lowest = Some(lowest);
    premise.holds = !short(requirement.at_least, lowest) && !short(requirement.mean_at_least, mean);
    if !premise.holds {
        let bounds = [
            requirement.mean_at_least.map(|bound| format!("a mean of at least {bound}")),
            requirement.at_least.map(|bound| format!("at least {bound} at every seed")),
        ];
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        premise.note = format!(
            "the premise does not hold: {label} of {} is {mean:.2} in the mean and {lowest:.2} at \
             seed {seed}; required: {}",
            premise.cell,
            bounds.join(" and ")
        );
    }
    premise
}
