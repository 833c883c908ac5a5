//! The figures of an evaluation, by the names that declarations and messages use.

use crate::train::metrics::Evaluation;

/// Every figure, in the order of the fields.
pub fn figures(evaluation: &Evaluation) -> [(&'static str, f64); 8] {
    // Without `..`, so that no new field can be forgotten.
    let Evaluation {
        epoch,
        learning_rate,
        train_loss,
        train_accuracy,
        test_loss,
        test_accuracy,
        distance,
        distance_relative,
    } = *evaluation;
    [
        ("epoch", f64::from(epoch)),
        ("learning_rate", learning_rate),
        ("train_loss", train_loss),
        ("train_accuracy", train_accuracy),
        ("test_loss", test_loss),
        ("test_accuracy", test_accuracy),
        ("distance", distance),
        ("distance_relative", distance_relative),
    ]
}

/// The figure of this name, if there is one.
pub fn figure(evaluation: &Evaluation, name: &str) -> Option<f64> {
    figures(evaluation).into_iter().find(|(own, _)| *own == name).map(|(_, value)| value)
}
