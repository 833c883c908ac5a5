//! Axes that several experiments share: `<tables>/shared/axes.toml`.

use super::declare::{Axis, Experiment};
use super::{check, text};
use crate::data::files;
use serde::Deserialize;
use std::path::Path;

/// Where the shared axes are, below the folder of declarations.
const FILE: &str = "shared/axes.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "axis")]
    axes: Vec<Axis>,
}

/// Replaces every axis that only says `use = "NAME"` by the shared axis of that name.
///
/// # Errors
/// A sentence that names the field: an axis that says more, or a name that is not there.
pub fn take_axes(experiment: &mut Experiment, tables: &Path) -> Result<(), String> {
    let mut shared = None;
    for (place, axis) in experiment.axes.iter_mut().enumerate() {
        let Some(name) = axis.shared.take() else { continue };
        if !(axis.name.is_empty() && axis.label.is_empty() && axis.levels.is_empty()) {
            return Err(format!("[[axis]] {}: use = '{name}' stands alone", place + 1));
        }
        let shared = match &mut shared {
            Some(shared) => shared,
            none => none.insert(read(&tables.join(FILE))?),
        };
        let Some(found) = shared.iter().find(|axis: &&Axis| axis.name == name) else {
            let known: Vec<&str> = shared.iter().map(|axis| axis.name.as_str()).collect();
            let known = known.join(", ");
            return Err(format!("[[axis]] use = '{name}' is not in {FILE}; there are: {known}"));
        };
        *axis = found.clone();
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Axis>, String> {
    let problem = |problem: String| format!("{}: {problem}", path.display());
    let text = files::read_text(path).map_err(|e| problem(e.to_string()))?;
    let file: File = text::parse(&text).map_err(problem)?;
    if let Some(name) = check::duplicate(file.axes.iter().map(|axis| axis.name.as_str())) {
        return Err(problem(format!("[[axis]] '{name}' is declared twice")));
    }
    if file.axes.iter().any(|axis| axis.shared.is_some()) {
        return Err(problem("a shared axis cannot use another one".to_owned()));
    }
    Ok(file.axes)
}
