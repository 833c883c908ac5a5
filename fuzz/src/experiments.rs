//! What a measurement gives.

#[path = "../../src/experiments/measured.rs"]
mod measured;

pub mod results {
    pub use super::measured::Measured;
}
