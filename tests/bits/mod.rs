//! Everything that a device computes of a few networks, boiled down to a hash each, and the
//! hashes that the definition (`docs/numerics.md`) gives: `tests/engine.lock`.

use crate::cases::{ADAM, Case, SGD};
use bad_global_minima::backend::{Backend, Batch, Totals, With};
use bad_global_minima::models::graph::{Graph, Shape};
use bad_global_minima::models::state::State;
use bad_global_minima::spec::{Arch, NetworkSpec, Optimizer};
use sha2::{Digest, Sha256};

/// Hashes that the plain loops gave.
pub const LOCK: &str = include_str!("../engine.lock");

/// Sizes of the batches that are trained on: a whole block and none, odd, one image, two
/// blocks and more, with an odd last one.
const BATCHES: [usize; 6] = [25, 32, 1, 33, 8, 97];

/// One line of the lock.
pub struct Line {
    pub name: String,
    pub case: Case,
    pub rule: Optimizer,
}

/// All networks with both rules, with and without BatchNorm.
pub fn lines() -> Vec<Line> {
    // Widths that fill a group of eight channels and ones that do not; odd sides.
    let networks = [
        ("mlp", Arch::Mlp, 100, Shape::new(2, 1, 1), 1),
        ("resnet18", Arch::Resnet18, 3, Shape::new(1, 9, 11), 10),
        ("resnet50", Arch::Resnet50, 2, Shape::new(3, 7, 7), 7),
        ("vgg16", Arch::Vgg16, 2, Shape::new(1, 14, 14), 10),
        ("densenet40", Arch::Densenet40, 2, Shape::new(3, 9, 8), 10),
    ];
    let mut lines = Vec::new();
    for (name, arch, width, input, outputs) in networks {
        for batch_norm in [true, false] {
            if arch == Arch::Mlp && batch_norm {
                continue; // it has none
            }
            for (rule_name, rule) in [("sgd", SGD), ("adam", ADAM)] {
                let norm = if batch_norm { "batchnorm" } else { "bare" };
                let network = NetworkSpec { arch, width, batch_norm };
                let case = Case { network, input, outputs, seed: 13 };
                lines.push(Line { name: format!("{name} {norm} {rule_name}"), case, rule });
            }
        }
    }
    lines
}

/// Trains, evaluates, differentiates and calibrates, and hashes all numbers that come out.
/// `device` makes a network with these weights.
pub fn hash(line: &Line, device: impl FnOnce(&Graph, &State) -> Box<dyn Backend>) -> String {
    let Line { case, rule, .. } = line;
    let graph = case.graph();
    let mut device = device(&graph, &case.state(&graph));
    device.set_optimizer(rule);
    device.set_totals(Totals::default());
    let mut hash = Hash(Sha256::new());
    let data = |index: usize| case.data(index as u64, BATCHES[index]);
    let fine = "the device works";
    let rate = if matches!(rule, Optimizer::Adam { .. }) { 1e-3 } else { 0.02 };
    for step in 0..BATCHES.len() {
        device.train(&Batch::Host(data(step).examples()), rate).expect(fine);
    }
    hash.totals(device.totals());
    hash.state(&device.state());
    let moments = device.optimizer_state();
    hash.lists(&moments.first);
    hash.lists(&moments.second);
    let test = data(5);
    device.set_totals(Totals::default());
    device.evaluate(&Batch::Host(test.examples())).expect(fine);
    hash.totals(device.totals());
    hash.list(&device.logits(&test.inputs).expect(fine));
    let few = data(0);
    let of_inputs = device.input_gradient(few.examples()).expect(fine);
    assert!(of_inputs.iter().any(|&g| g != 0.0), "{}: a dead network shows nothing", line.name);
    hash.list(&of_inputs);
    hash.lists(&device.gradient(few.examples(), With::Evaluation).expect(fine));
    hash.lists(&device.gradient(few.examples(), With::Batch).expect(fine));
    device.calibrate(&test.inputs).expect(fine);
    hash.state(&device.state());
    hash.finish()
}

struct Hash(Sha256);

impl Hash {
    fn list(&mut self, values: &[f32]) {
        assert!(values.iter().all(|v| v.is_finite()), "a case that diverges shows nothing");
        for value in values {
            self.0.update(value.to_bits().to_le_bytes());
        }
    }

    fn lists(&mut self, lists: &[Vec<f32>]) {
        lists.iter().for_each(|values| self.list(values));
    }

    fn state(&mut self, state: &State) {
        self.lists(&state.parameters);
        for running in &state.running {
            self.list(&running.mean);
            self.list(&running.variance);
        }
        self.0.update(state.batches_tracked.to_le_bytes());
    }

    fn totals(&mut self, totals: Totals) {
        self.0.update(totals.loss.to_bits().to_le_bytes());
        self.0.update(totals.correct.to_le_bytes());
    }

    /// The first 64 bits.
    fn finish(self) -> String {
        let digest = self.0.finalize();
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The hash that the lock has for a line.
pub fn locked(name: &str) -> Option<&'static str> {
    LOCK.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
