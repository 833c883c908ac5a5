//! Verdicts from a reference alone: its raw values are enough to judge every claim again, so
//! that a change of the claims needs no training.

use super::claims::Claims;
use super::reference::{BlessedVerdict, Reference, ReferenceValue};
use crate::experiments::results::{CellResult, ExperimentResult, RunResult, SeedResult};
use crate::experiments::{Cell, Experiment, Plan};
use crate::train::metrics::{Metrics, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The reference with the verdicts that the claims give on its own values.
pub fn rejudge(reference: &Reference, plan: &Plan, claims: &Claims) -> Reference {
    let results = results(reference, plan);
    let judged = claims.claim.iter().filter_map(|claim| claim.evaluate(&results));
    let verdict = |outcome| BlessedVerdict::from(&outcome);
    let verdicts = judged.map(|e| (e.outcome.id.clone(), verdict(e.outcome))).collect();
    Reference { verdicts, ..reference.clone() }
}

/// Results that hold what the reference holds of the plan's experiments.
pub fn results(reference: &Reference, plan: &Plan) -> Vec<ExperimentResult> {
    let held = |id: &str| reference.values.iter().any(|value| value.experiment == id);
    let result = |(experiment, cells): &(Experiment, Vec<Cell>)| {
        let empty =
            cells.iter().map(|cell| CellResult { levels: cell.levels.clone(), seeds: Vec::new() });
        let mut result =
            ExperimentResult { experiment: experiment.clone(), cells: empty.collect() };
        for (place, cell) in cells.iter().enumerate() {
            let name = result.cell_name(&result.cells[place]);
            let own: Vec<&ReferenceValue> = reference
                .values
                .iter()
                .filter(|value| value.experiment == experiment.id && value.cell == name)
                .collect();
            result.cells[place].seeds = seeds(&own, cell, plan);
        }
        result
    };
    plan.experiments.iter().filter(|(e, _)| held(&e.id)).map(result).collect()
}

fn seeds(values: &[&ReferenceValue], cell: &Cell, plan: &Plan) -> Vec<SeedResult> {
    let known = values.iter().flat_map(|v| v.seeds.iter().chain(&v.excluded).copied());
    let known: BTreeSet<u64> = known.collect();
    let Some((_, first)) = cell.runs.first() else { return Vec::new() };
    let seed = |seed: u64| {
        let of = |value: &&ReferenceValue| {
            let place = value.seeds.iter().position(|s| *s == seed)?;
            Some((value.metric.clone(), value.values[place]))
        };
        let excluded = values.iter().any(|value| value.excluded.contains(&seed));
        let status = if excluded { Status::Diverged } else { Status::Finished };
        let run = RunResult {
            key: first.clone(),
            spec: plan.runs[first].spec.with_seed(seed),
            metrics: Metrics { status, epochs: 0, evaluations: Vec::new() },
            result_hash: String::new(),
            parent: None,
        };
        SeedResult {
            seed,
            key: first.clone(),
            run: Some(Arc::new(run)),
            values: values.iter().filter_map(of).collect(),
            measured: BTreeMap::new(),
        }
    };
    known.into_iter().map(seed).collect()
}
