//! A run for the tests of whatever passes runs on.

use super::RunSpec;

/// A small network on ten points of the toy, for two epochs.
pub fn toy() -> RunSpec {
    serde_json::from_value(serde_json::json!({
        "seed": 0,
        "data": { "toy": { "points_per_class": 5, "center": 0.2, "std": 0.15, "shift": 0.5 } },
        "network": { "arch": "mlp", "width": 4, "batch_norm": false },
        "start": { "random": { "scale": 1.0 } },
        "train": {
            "corruption": null, "augmentation": null, "noise_copies": null, "batch_size": 5,
            "optimizer": { "sgd": { "momentum": 0.0, "weight_decay": 0.0 } },
            "learning_rate": 0.1, "schedule": "constant", "stop": { "epochs": 2 },
            "evaluate_every": 1, "snapshots": [],
        },
    }))
    .expect("a spec")
}
