//! The names that a declaration may use for numbers and rows of numbers.

use super::declare::Experiment;
use crate::measure::MeasureSpec;

/// Metrics that every run has: the last evaluation's figures, and the length of the training.
pub const OF_A_RUN: [&str; 7] = [
    "test_accuracy",
    "train_accuracy",
    "test_loss",
    "train_loss",
    "distance",
    "distance_relative",
    "epochs",
];

/// The measurement that is the course of the training itself.
pub const COURSE: &str = "course";

/// The same with the course of the runs that it starts from: of the fit of random labels, say.
pub const WHOLE_COURSE: &str = "whole_course";

/// Those metrics of a run that every evaluation along it has.
pub fn of_an_evaluation() -> impl Iterator<Item = &'static str> {
    OF_A_RUN.into_iter().filter(|name| *name != "epochs")
}

/// Names of the values of a measurement (`Measured::values`).
pub fn values(measure: &MeasureSpec) -> Vec<String> {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    match measure {
        MeasureSpec::Boundary { .. } => owned(&[
            "bayes_disagreement",
            "boundary_length",
            "points_fitted",
            "regions",
            "regions_of_class_1",
            "specks",
        ]),
        MeasureSpec::Norms => owned(&[
            "frobenius",
            "spectral",
            "path_l1",
            "path_l2",
            "margin_median",
            "spectral_margin",
            "path_l1_margin",
            "path_l2_margin",
        ]),
        MeasureSpec::Attack { epsilon, .. } => {
            let at = |e: &f64| [format!("accuracy@{e}"), format!("kept@{e}")];
            epsilon.iter().flat_map(at).collect()
        }
        MeasureSpec::Sharpness { .. } => owned(&["hessian_max", "residual"]),
        MeasureSpec::Coherence { .. } => owned(&["coherence"]),
        MeasureSpec::LayerDistance => owned(&["smallest", "largest"]),
        MeasureSpec::Interpolation { .. } => owned(&["barrier", "accuracy_dip"]),
    }
}

/// Names of the series of a measurement (`Measured::series`).
pub fn series(measure: &MeasureSpec) -> &'static [&'static str] {
    match measure {
        MeasureSpec::Boundary { .. } => &["grid", "start", "window", "size", "points"],
        MeasureSpec::Attack { .. } => &["epsilon", "accuracy", "kept"],
        MeasureSpec::Coherence { .. } => &["epochs", "coherence"],
        MeasureSpec::LayerDistance => &["depth", "absolute", "relative"],
        MeasureSpec::Interpolation { .. } => {
            &["t", "train_loss", "train_accuracy", "test_accuracy"]
        }
        MeasureSpec::Norms | MeasureSpec::Sharpness { .. } => &[],
    }
}

/// Whether a measurement gives a value of this name. The epochs of a coherence are the run's
/// snapshots, which a profile may choose.
fn gives(measure: &MeasureSpec, value: &str) -> bool {
    let is_epoch = |text: &str| text.parse::<u32>().is_ok();
    let at_epoch = value.strip_prefix("coherence@").is_some_and(is_epoch);
    values(measure).iter().any(|name| name == value)
        || (matches!(measure, MeasureSpec::Coherence { .. }) && at_epoch)
}

/// What is wrong with the name of a metric of an experiment, if anything.
pub fn metric_problem(experiment: &Experiment, name: &str) -> Option<String> {
    let bare = name.strip_prefix("gap.").unwrap_or(name);
    if bare != name && experiment.contrast.is_none() {
        return Some(format!("'{name}' is a gap, and the experiment has no [contrast]"));
    }
    let Some((measure, value)) = bare.split_once('.') else {
        return (!OF_A_RUN.contains(&bare)).then(|| {
            format!("'{bare}' is no metric of a run; there are: {}", OF_A_RUN.join(", "))
        });
    };
    if [COURSE, WHOLE_COURSE].contains(&measure) {
        let known: Vec<&str> = of_an_evaluation().collect();
        return (!known.contains(&value)).then(|| {
            format!("'{name}': an evaluation has no '{value}'; it has: {}", known.join(", "))
        });
    }
    match experiment.measures.get(measure) {
        None => Some(format!("'{name}': there is no [measure.{measure}]")),
        Some(spec) if gives(spec, value) => None,
        Some(spec) => Some(format!(
            "'{name}': the measurement gives no '{value}'; it gives: {}",
            values(spec).join(", ")
        )),
    }
}

/// A label within a sentence: its first letter is small, unless it begins an abbreviation.
pub fn within_sentence(label: &str) -> String {
    let mut letters = label.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), second) if second.is_none_or(|second| !second.is_uppercase()) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => label.to_owned(),
    }
}
