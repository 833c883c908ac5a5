//! What a run reports of itself.

#[path = "../../src/train/metrics.rs"]
pub mod metrics;
