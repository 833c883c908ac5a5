//! Names in a declaration: each must match something, and none may be given twice. A name
//! that matches nothing would otherwise pass for a number that is as it should be.

use super::declare::{Experiment, ProfilePanel};
use super::names;
use std::collections::BTreeMap;

/// The first value that occurs a second time.
pub fn duplicate<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::BTreeSet::new();
    values.into_iter().find(|value| !seen.insert(*value))
}

/// Checks every name of an experiment as its file declares it.
///
/// # Errors
/// A sentence that names the field.
pub fn experiment(experiment: &Experiment) -> Result<(), String> {
    if experiment.id == "claims" {
        return Err("an experiment cannot be called 'claims': the report's figure of all claims \
                    has that name"
            .to_owned());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !experiment.id.chars().all(plain) {
        return Err("the name of the file may hold letters, digits, '_', '-' and '.' alone: \
                    files, pages and LaTeX labels are called by it"
            .to_owned());
    }
    axes(experiment)?;
    if experiment.metrics.is_empty() {
        return Err("no [[metric]]: nothing would be shown".to_owned());
    }
    if let Some(name) = duplicate(experiment.metrics.iter().map(|m| m.name.as_str())) {
        return Err(format!("[[metric]] '{name}' is declared twice"));
    }
    let taken = [names::COURSE, names::WHOLE_COURSE];
    if let Some(name) = taken.into_iter().find(|&name| experiment.measures.contains_key(name)) {
        let problem = "is what the evaluations along a run are called: choose another name";
        return Err(format!("[measure.{name}] {problem}"));
    }
    contrast(experiment)?;
    for metric in &experiment.metrics {
        if let Some(problem) = names::metric_problem(experiment, &metric.name) {
            return Err(format!("[[metric]] {problem}"));
        }
        let sizes = [("resolution", Some(metric.resolution)), ("max_spread", metric.max_spread)];
        for (field, value) in sizes {
            if value.is_some_and(|value| !value.is_finite() || value < 0.0) {
                let name = &metric.name;
                return Err(format!("[[metric]] '{name}': {field} must be a number from 0 up"));
            }
        }
    }
    published(experiment)?;
    render(experiment)
}

fn axes(experiment: &Experiment) -> Result<(), String> {
    if let Some(name) = duplicate(experiment.axes.iter().map(|axis| axis.name.as_str())) {
        return Err(format!("[[axis]] '{name}' is declared twice"));
    }
    for axis in &experiment.axes {
        let name = &axis.name;
        if axis.label.is_empty() {
            return Err(format!("axis '{name}' has no label"));
        }
        if axis.levels.is_empty() {
            return Err(format!("axis '{name}' is an axis without levels, which has no cells"));
        }
        if let Some(label) = duplicate(
            axis.levels.iter().map(|level| level.label.as_str()).filter(|label| !label.is_empty()),
        ) {
            return Err(format!("axis '{name}' has two levels with the label '{label}'"));
        }
        if let Some(id) = duplicate(axis.levels.iter().map(|level| level.id.as_str())) {
            return Err(format!("axis '{name}' has the level '{id}' twice"));
        }
        for level in &axis.levels {
            if level.value.is_some_and(|value| !value.is_finite()) {
                return Err(format!("axis '{name}', level '{}': value must be finite", level.id));
            }
        }
        // Names of cells are `axis=level axis=level`, in files and on the command line.
        let ids = axis.levels.iter().map(|level| &level.id).chain([name]);
        let unfit = |id: &&String| id.is_empty() || id.contains([' ', '=', '\t', '\n']);
        if let Some(id) = { ids }.find(unfit) {
            return Err(format!("axis '{name}': '{id}' must not be empty nor hold spaces or '='"));
        }
    }
    Ok(())
}

fn contrast(experiment: &Experiment) -> Result<(), String> {
    let Some(contrast) = &experiment.contrast else { return Ok(()) };
    for id in [&contrast.of, &contrast.minus] {
        let cell = BTreeMap::from([(contrast.axis.clone(), id.clone())]);
        named_levels(experiment, &cell).map_err(|problem| format!("[contrast]: {problem}"))?;
    }
    if contrast.of == contrast.minus {
        return Err(format!("[contrast]: of and minus are both '{}'", contrast.of));
    }
    Ok(())
}

/// Checks that axes and levels of a (partly) named cell exist.
///
/// # Errors
/// A sentence that names the axis or level and lists those that there are.
pub fn named_levels(
    experiment: &Experiment,
    cell: &BTreeMap<String, String>,
) -> Result<(), String> {
    for (name, id) in cell {
        let Some(axis) = experiment.axes.iter().find(|axis| &axis.name == name) else {
            let known: Vec<&str> = experiment.axes.iter().map(|axis| axis.name.as_str()).collect();
            return Err(format!("there is no axis '{name}'; there are: {}", known.join(", ")));
        };
        if !axis.levels.iter().any(|level| &level.id == id) {
            let known: Vec<&str> = axis.levels.iter().map(|level| level.id.as_str()).collect();
            let known = known.join(", ");
            return Err(format!("axis '{name}' has no level '{id}'; it has: {known}"));
        }
    }
    Ok(())
}

/// Checks that a metric is one of the experiment's.
///
/// # Errors
/// A sentence that names the metric and lists those that there are.
pub fn named_metric(experiment: &Experiment, name: &str) -> Result<(), String> {
    if experiment.metrics.iter().any(|metric| metric.name == name) {
        return Ok(());
    }
    let known: Vec<&str> = experiment.metrics.iter().map(|metric| metric.name.as_str()).collect();
    let (id, known) = (&experiment.id, known.join(", "));
    Err(format!("experiment '{id}' has no metric '{name}'; it has: {known}"))
}

fn published(experiment: &Experiment) -> Result<(), String> {
    for (place, published) in experiment.published.iter().enumerate() {
        let problem = |problem| format!("[[published]] number {}: {problem}", place + 1);
        named_levels(experiment, &published.cell).map_err(problem)?;
        named_metric(experiment, &published.metric).map_err(problem)?;
        let open = |axis: &&super::Axis| !published.cell.contains_key(&axis.name);
        if let Some(axis) = experiment.axes.iter().filter(|a| a.levels.len() > 1).find(open) {
            return Err(problem(format!("the cell names no level of the axis '{}'", axis.name)));
        }
        if !published.value.is_finite() {
            return Err(problem("value must be a finite number".to_owned()));
        }
        let same = |other: &super::Published| {
            other.cell == published.cell && other.metric == published.metric
        };
        if experiment.published[..place].iter().any(same) {
            return Err(problem("the same cell and metric stand above already".to_owned()));
        }
    }
    Ok(())
}

fn render(experiment: &Experiment) -> Result<(), String> {
    let render = &experiment.render;
    for (field, axis) in [("rows", &render.rows), ("x", &render.x), ("series", &render.series)] {
        if let Some(axis) = axis.as_ref().filter(|name| !has_axis(experiment, name)) {
            return Err(format!("[render]: {field} = '{axis}' is no axis of the experiment"));
        }
    }
    render.panels.iter().try_for_each(|panel| check_panel(experiment, panel))
}

fn has_axis(experiment: &Experiment, name: &str) -> bool {
    experiment.axes.iter().any(|axis| axis.name == name)
}

fn check_panel(experiment: &Experiment, panel: &ProfilePanel) -> Result<(), String> {
    let (title, name) = (&panel.title, &panel.measure);
    let measure = experiment.measures.get(name);
    if measure.is_none() && name != names::COURSE {
        let fix = "declare it as [measure.<name>], or show the 'course' of the runs";
        return Err(format!("panel '{title}' shows a measure '{name}': {fix}"));
    }
    let known: Vec<&str> = match measure {
        Some(measure) => names::series(measure).to_vec(),
        None => names::of_an_evaluation().chain(["epoch"]).collect(),
    };
    for (field, series) in [("x", &panel.x), ("y", &panel.y)] {
        if !known.contains(&series.as_str()) {
            let known = known.join(", ");
            return Err(format!("panel '{title}': {field} = '{series}' is none of: {known}"));
        }
    }
    let first = experiment.axes.first();
    let is_level = |id: &String| first.is_some_and(|axis| axis.levels.iter().any(|l| l.id == *id));
    if panel.only.as_ref().is_some_and(|id| !is_level(id)) {
        let fix = "name a level id of the first axis";
        return Err(format!("panel '{title}': 'only' is no such level: {fix}"));
    }
    Ok(())
}
