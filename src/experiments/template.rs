//! A run before it has a seed, as profiles write it down. Levels of an experiment change
//! single fields of it; [`Template::lower`] makes the spec of a run from it.

use crate::augment::AugmentSpec;
use crate::corrupt::CorruptionSpec;
use crate::spec::{
    DataSpec, NetworkSpec, NoiseCopies, Numerics, Optimizer, Precision, RunSpec, Schedule, Start,
    Stop, TrainSpec,
};
use serde::{Deserialize, Serialize};

/// The phases of the paper's experiment, and which of them is looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    pub data: DataSpec,
    pub network: NetworkSpec,
    pub init: InitTemplate,
    /// Fitting the corrupted set: makes the adversarial initialization.
    pub pretrain: PhaseTemplate,
    /// Between the adversarial initialization and `train`, where `init.kind` is `treated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub treatment: Option<PhaseTemplate>,
    /// Training on the true labels.
    pub train: PhaseTemplate,
    /// The phase whose end is measured.
    pub look_at: LookAt,
    /// Of both phases, on a GPU.
    #[serde(default)]
    pub precision: Precision,
}

/// Where training on the true labels starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitTemplate {
    pub kind: InitKind,
    /// Multiplies the random initial weights of whichever phase comes first.
    pub scale: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitKind {
    /// Random weights.
    Random,
    /// Where `pretrain` ends.
    Adversarial,
    /// Where `treatment` ends, which starts from the adversarial initialization.
    Treated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookAt {
    Train,
    Pretrain,
}

/// One phase of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseTemplate {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corruption: Option<CorruptionSpec>,
    pub batch_size: u32,
    pub learning_rate: f64,
    pub schedule: ScheduleTemplate,
    /// Most epochs.
    pub epochs: u32,
    /// If set, training ends once every example is fitted, and must get there; the exact
    /// check is made from this running accuracy on, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memorize_from: Option<f64>,
    pub optimizer: OptimizerKind,
    pub use_augmentation: bool,
    pub use_l2: bool,
    pub use_momentum: bool,
    /// What the three switches switch on.
    pub strength: Strength,
    pub evaluate_every: u32,
    #[serde(default)]
    pub snapshots: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    Sgd,
    Adam,
}

/// As [`Schedule`], with milestones as fractions of the phase's epochs (rounded down), so
/// that they move with its length: 3/7 and 5/7 are the authors' 150 and 250 of 350.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleTemplate {
    Constant,
    MultiStep { milestones: Vec<f64>, gamma: f64 },
    Plateau { patience: u32, factor: f64 },
}

/// The regularizers at full strength.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strength {
    pub momentum: f64,
    pub weight_decay: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<AugmentSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_copies: Option<NoiseCopies>,
}

impl Template {
    /// The template without the treatment, unless its runs have one.
    ///
    /// # Errors
    /// If they do and there is none.
    pub fn checked(self) -> Result<Self, String> {
        match (self.init.kind, &self.treatment) {
            (InitKind::Treated, None) => {
                Err("init.kind is 'treated', but the base has no phase 'treatment'".to_owned())
            }
            (InitKind::Treated, Some(_)) => Ok(self),
            _ => Ok(Template { treatment: None, ..self }),
        }
    }

    /// The run of this template with a seed.
    pub fn lower(&self, seed: u64) -> RunSpec {
        let random = Start::Random { scale: self.init.scale };
        let run = |start, train| RunSpec {
            seed,
            data: self.data.clone(),
            network: self.network.clone(),
            start,
            train,
            precision: self.precision,
            numerics: Numerics::default(),
        };
        let after =
            |before, phase: &PhaseTemplate| run(Start::Run(Box::new(before)), phase.lower());
        let pretrain = || run(random.clone(), self.pretrain.lower());
        match (self.look_at, self.init.kind) {
            (LookAt::Pretrain, _) => pretrain(),
            (LookAt::Train, InitKind::Random) => run(random.clone(), self.train.lower()),
            (LookAt::Train, InitKind::Adversarial) => after(pretrain(), &self.train),
            (LookAt::Train, InitKind::Treated) => {
                let treatment = self.treatment.as_ref().expect("checked by the profile");
                after(after(pretrain(), treatment), &self.train)
            }
        }
    }
}

impl PhaseTemplate {
    fn lower(&self) -> TrainSpec {
        let strength = &self.strength;
        let weight_decay = if self.use_l2 { strength.weight_decay } else { 0.0 };
        let momentum = if self.use_momentum { strength.momentum } else { 0.0 };
        let augmented = self.use_augmentation;
        TrainSpec {
            corruption: self.corruption.clone(),
            augmentation: strength.augmentation.clone().filter(|_| augmented),
            noise_copies: strength.noise_copies.clone().filter(|_| augmented),
            batch_size: self.batch_size,
            optimizer: match self.optimizer {
                OptimizerKind::Sgd => Optimizer::Sgd { momentum, weight_decay },
                OptimizerKind::Adam => Optimizer::Adam { weight_decay },
            },
            learning_rate: self.learning_rate,
            schedule: self.schedule(),
            stop: match self.memorize_from {
                None => Stop::Epochs(self.epochs),
                Some(check_from) => Stop::Memorized { max_epochs: self.epochs, check_from },
            },
            evaluate_every: self.evaluate_every,
            snapshots: self.snapshots.clone(),
        }
    }

    fn schedule(&self) -> Schedule {
        match &self.schedule {
            ScheduleTemplate::Constant => Schedule::Constant,
            ScheduleTemplate::MultiStep { milestones, gamma } => {
                // The slack makes 3/7 of 350, written with a few digits, 150 and not 149.
                let epoch = |&fraction: &f64| (fraction * f64::from(self.epochs) + 1e-4) as u32;
                let mut milestones: Vec<u32> = milestones.iter().map(epoch).collect();
                milestones.dedup();
                Schedule::MultiStep { milestones, gamma: *gamma }
            }
            ScheduleTemplate::Plateau { patience, factor } => {
                Schedule::Plateau { patience: *patience, factor: *factor }
            }
        }
    }
}
