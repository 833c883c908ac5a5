//! The paper's networks, with the parameter names of the authors' PyTorch classes.

mod arch;
mod builder;
pub mod graph;
pub mod state;
pub mod tensors;
pub mod weights;

/// Euclidean norm of the difference of two lists of tensors; both have the same sizes.
pub fn distance(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    debug_assert!(a.iter().map(Vec::len).eq(b.iter().map(Vec::len)));
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.fold(0.0, |sum, (&a, &b)| sum + square(f64::from(a) - f64::from(b))).sqrt()
}

/// Euclidean norm of a list of tensors.
pub fn norm(tensors: &[Vec<f32>]) -> f64 {
    tensors.iter().flatten().fold(0.0, |sum, &value| sum + square(f64::from(value))).sqrt()
}

fn square(value: f64) -> f64 {
    value * value
}
