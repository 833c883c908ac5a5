//! What a run will take of the disk, from counts of its parameters.

use crate::data::catalog::{DATASETS, DatasetInfo, Format};
use crate::spec::{Arch, DataSpec, NetworkSpec, Optimizer, RunSpec};

/// Bytes of one value of weights.
const VALUE: u64 = 4;
/// Spec, environment and manifest, and the names and shapes before the weights.
const RECORDS: u64 = 16 << 10;
/// Text of one evaluation.
const EVALUATION: u64 = 320;

/// Values of a network: what is trained, and BatchNorm's running statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values {
    pub trained: u64,
    pub statistics: u64,
}

impl Values {
    /// Adds a convolution; it has a bias where no BatchNorm follows.
    fn conv(&mut self, network: &NetworkSpec, (inputs, outputs): (u64, u64), kernel: u64) {
        let weights = inputs.saturating_mul(outputs).saturating_mul(kernel * kernel);
        let bias = if network.batch_norm { 0 } else { outputs };
        self.trained = self.trained.saturating_add(weights).saturating_add(bias);
    }

    fn norm(&mut self, network: &NetworkSpec, channels: u64) {
        if network.batch_norm {
            self.trained = self.trained.saturating_add(2 * channels);
            self.statistics = self.statistics.saturating_add(2 * channels);
        }
    }

    fn linear(&mut self, inputs: u64, outputs: u64) {
        let weights = inputs.saturating_mul(outputs);
        self.trained = self.trained.saturating_add(weights).saturating_add(outputs);
    }

    /// Counts the values of a network that takes `input` (channels, height, width).
    pub fn of(network: &NetworkSpec, input: [u64; 3], outputs: u64) -> Values {
        let mut values = Values::default();
        match network.arch {
            Arch::Mlp => {
                let width = u64::from(network.width);
                values.linear(input.iter().product(), width);
                values.linear(width, width);
                values.linear(width, outputs);
            }
            Arch::Resnet18 => values.resnet(network, input[0], outputs, [2, 2, 2, 2], 1),
            Arch::Resnet50 => values.resnet(network, input[0], outputs, [3, 4, 6, 3], 4),
            Arch::Vgg16 => values.vgg(network, input[0], outputs),
            Arch::Densenet40 => values.densenet(network, input[0], outputs),
        }
        values
    }

    fn resnet(
        &mut self,
        network: &NetworkSpec,
        inputs: u64,
        outputs: u64,
        blocks: [u64; 4],
        expansion: u64,
    ) {
        let mut channels = u64::from(network.width);
        self.conv(network, (inputs, channels), 3);
        self.norm(network, channels);
        for (stage, count) in blocks.into_iter().enumerate() {
            let planes = u64::from(network.width) << stage;
            let wide = planes * expansion;
            for block in 0..count {
                let body = if expansion == 1 {
                    vec![(channels, planes, 3), (planes, planes, 3)]
                } else {
                    vec![(channels, planes, 1), (planes, planes, 3), (planes, wide, 1)]
                };
                let halves = stage > 0 && block == 0;
                let shortcut = (halves || channels != wide).then_some((channels, wide, 1));
                for (from, to, kernel) in body.into_iter().chain(shortcut) {
                    self.conv(network, (from, to), kernel);
                    self.norm(network, to);
                }
                channels = wide;
            }
        }
        self.linear(channels, outputs);
    }

    fn vgg(&mut self, network: &NetworkSpec, inputs: u64, outputs: u64) {
        let mut channels = inputs;
        for multiple in [1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8] {
            let next = multiple * u64::from(network.width);
            // These convolutions have a bias whether or not BatchNorm follows.
            self.conv(&NetworkSpec { batch_norm: false, ..network.clone() }, (channels, next), 3);
            self.norm(network, next);
            channels = next;
        }
        self.linear(channels, outputs);
    }

    fn densenet(&mut self, network: &NetworkSpec, inputs: u64, outputs: u64) {
        let growth = u64::from(network.width);
        let mut channels = 2 * growth;
        self.conv(network, (inputs, channels), 3);
        for block in 1..=3 {
            for _ in 0..6 {
                self.norm(network, channels);
                self.conv(network, (channels, 4 * growth), 1);
                self.norm(network, 4 * growth);
                self.conv(network, (4 * growth, growth), 3);
                channels += growth;
            }
            if block < 3 {
                self.norm(network, channels);
                self.conv(network, (channels, channels / 2), 1);
                channels /= 2;
            }
        }
        self.norm(network, channels);
        self.linear(channels, outputs);
    }

    fn bytes(self) -> u64 {
        VALUE.saturating_mul(self.trained.saturating_add(self.statistics))
    }
}

/// Estimated bytes of a run on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Once it is finished.
    pub stored: u64,
    /// More than that while it is trained: the old and the new checkpoint, and what it has
    /// kept along the way.
    pub working: u64,
}

impl Space {
    /// What a run will take.
    pub fn of(spec: &RunSpec) -> Space {
        let (input, outputs) = signature(&spec.data);
        let values = Values::of(&spec.network, input, outputs);
        let train = &spec.train;
        let snapshots = train.snapshots.len() as u64;
        let evaluations = 2 + u64::from(train.stop.max_epochs() / train.evaluate_every.max(1));
        let text = RECORDS + EVALUATION * evaluations;
        let moments = match train.optimizer {
            Optimizer::Sgd { momentum: 0.0, .. } => 0,
            Optimizer::Sgd { .. } => 1,
            Optimizer::Adam { .. } => 2,
        };
        let state = (VALUE * moments).saturating_mul(values.trained);
        let checkpoint = values.bytes().saturating_add(state).saturating_add(text);
        Space {
            stored: values.bytes().saturating_mul(1 + snapshots).saturating_add(text),
            working: checkpoint
                .saturating_mul(2)
                .saturating_add(values.bytes().saturating_mul(snapshots)),
        }
    }

    /// What runs take together while `jobs` of them are trained at a time.
    pub fn together(runs: impl Iterator<Item = Space>, jobs: usize) -> u64 {
        let (mut stored, mut working) = (0u64, Vec::new());
        for space in runs {
            stored = stored.saturating_add(space.stored);
            working.push(space.working);
        }
        working.sort_unstable_by(|a, b| b.cmp(a));
        working.into_iter().take(jobs).fold(stored, u64::saturating_add)
    }
}

/// What a network for `data` takes and gives.
fn signature(data: &DataSpec) -> ([u64; 3], u64) {
    let DataSpec::Images(images) = data else { return ([2, 1, 1], 1) };
    let info = DATASETS.iter().find(|info| info.name == images.dataset);
    let (channels, side) = match info.map(|info| info.format) {
        Some(Format::Idx) => (1, 28),
        Some(Format::RestrictedImagenet) => (3, 224),
        _ => (3, 32),
    };
    let side = side / u64::from(images.pool.max(1));
    let classes = |info: &DatasetInfo| u64::from(info.classes);
    ([channels, side, side], info.map_or(10, classes))
}

/// Bytes in words: `1.2 MB`.
pub fn words(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let steps = (0..units.len() - 1).take_while(|&i| bytes / 1000u64.pow(i as u32) >= 1000);
    let unit = steps.count();
    let value = bytes as f64 / 1000f64.powi(unit as i32);
    let digits = usize::from(unit > 0 && value < 100.0);
    format!("{value:.digits$} {}", units[unit])
}
