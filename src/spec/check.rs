//! Values that a spec may not have, checked once when it comes in.

use super::*;

/// A field with an impossible value.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{field} = {value}: {problem}")]
pub struct SpecError {
    /// Dotted path of the field, as in a spec file.
    pub field: String,
    pub value: String,
    /// What is wrong with it and what would be right.
    pub problem: String,
}

fn refuse(field: &str, value: impl ToString, problem: &str) -> SpecError {
    SpecError { field: field.to_owned(), value: value.to_string(), problem: problem.to_owned() }
}

/// Ok if `good`, else an error for `field`.
fn ensure(good: bool, field: &str, value: impl ToString, problem: &str) -> Result<(), SpecError> {
    if good { Ok(()) } else { Err(refuse(field, value, problem)) }
}

/// Most points of a class of the toy.
const MAX_POINTS: u32 = 1_000_000;
/// Most copies of an example, corrupted or noisy.
const MAX_COPIES: u32 = 1_000;
/// Most examples that are trained on in an epoch, where their number is known: the order in
/// which they come is held in memory.
const MAX_EXAMPLES: u64 = 100_000_000;

fn positive(field: &str, value: u32) -> Result<(), SpecError> {
    ensure(value > 0, field, value, "must be at least 1")
}

fn ratio(field: &str, value: f64) -> Result<(), SpecError> {
    ensure((0.0..=1.0).contains(&value), field, value, "must be between 0 and 1")
}

fn above_zero(field: &str, value: f64) -> Result<(), SpecError> {
    ensure(value > 0.0 && value.is_finite(), field, value, "must be a number above 0")
}

fn not_negative(field: &str, value: f64) -> Result<(), SpecError> {
    ensure(value >= 0.0 && value.is_finite(), field, value, "must be 0 or a number above it")
}

impl RunSpec {
    /// Checks every field of this spec and of its parents.
    ///
    /// # Errors
    /// The first field with an impossible value, by its dotted path.
    pub fn check(&self) -> Result<(), SpecError> {
        self.check_data()?;
        positive("network.width", self.network.width)?;
        self.check_train()?;
        match &self.start {
            Start::Random { scale } => ensure(
                *scale as f32 > 0.0 && (*scale as f32).is_finite(),
                "start.random.scale",
                scale,
                "must be a number above 0, in single precision too",
            ),
            Start::Run(parent) => {
                ensure(
                    parent.network == self.network,
                    "start.run.network",
                    format!("{:?}", parent.network.arch),
                    "must be the network of the run that starts from it",
                )?;
                ensure(
                    parent.numerics == self.numerics,
                    "start.run.numerics",
                    &parent.numerics,
                    "must be the numerics of the run that starts from it",
                )?;
                parent
                    .check()
                    .map_err(|e| SpecError { field: format!("start.run.{}", e.field), ..e })
            }
        }
    }

    fn check_data(&self) -> Result<(), SpecError> {
        ensure(
            self.network.arch != Arch::Mlp || !self.network.batch_norm,
            "network.batch_norm",
            true,
            "the mlp has no BatchNorm; write false",
        )?;
        match &self.data {
            DataSpec::Images(images) => {
                positive("data.images.pool", images.pool)?;
                if let Some(along) = images.test_along {
                    ensure(
                        along > 0 && (images.test == 0 || along <= images.test),
                        "data.images.test_along",
                        along,
                        &match images.test {
                            0 => "must be at least 1; leave it out to evaluate on all images"
                                .to_owned(),
                            test => format!(
                                "must be between 1 and data.images.test = {test}; leave it out \
                                 to evaluate on all of them"
                            ),
                        },
                    )?;
                }
                ensure(
                    images.evaluate_on == EvaluateOn::Test || images.train > 0,
                    "data.images.train",
                    images.train,
                    "a validation split needs a number of training images to leave out the rest",
                )
            }
            DataSpec::Toy(toy) => {
                ensure(
                    (1..=MAX_POINTS).contains(&toy.points_per_class),
                    "data.toy.points_per_class",
                    toy.points_per_class,
                    "must be between 1 and 1,000,000",
                )?;
                above_zero("data.toy.std", toy.std)?;
                above_zero("data.toy.shift", toy.shift)?;
                ensure(
                    self.network.arch == Arch::Mlp,
                    "network.arch",
                    format!("{:?}", self.network.arch),
                    "the toy has points, not images: only the mlp takes them",
                )
            }
        }
    }

    fn check_train(&self) -> Result<(), SpecError> {
        let train = &self.train;
        let is_toy = matches!(self.data, DataSpec::Toy(_));
        if let Some(corruption) = &train.corruption {
            let field = "train.corruption.replication";
            let replication = corruption.replication;
            positive(field, replication)?;
            ensure(replication <= MAX_COPIES, field, replication, "must be at most 1000")?;
            ratio("train.corruption.zero_out", corruption.zero_out)?;
            ratio("train.corruption.random_labels", corruption.random_labels)?;
            ensure(
                !is_toy || corruption.zero_out == 0.0,
                "train.corruption.zero_out",
                corruption.zero_out,
                "a toy point has no pixels to zero; write 0",
            )?;
        }
        if let Some(augmentation) = &train.augmentation {
            ratio("train.augmentation.flip", augmentation.flip)?;
            ensure(
                augmentation.crop_padding <= 64,
                "train.augmentation.crop_padding",
                augmentation.crop_padding,
                "must be at most 64 pixels",
            )?;
            ensure(
                !is_toy,
                "train.augmentation",
                "set",
                "toy points cannot be cropped; use train.noise_copies",
            )?;
        }
        if let Some(noise) = &train.noise_copies {
            let (field, copies) = ("train.noise_copies.copies", noise.copies);
            positive(field, copies)?;
            ensure(copies <= MAX_COPIES, field, copies, "must be at most 1000")?;
            not_negative("train.noise_copies.std", noise.std)?;
            ensure(
                is_toy,
                "train.noise_copies",
                "set",
                "only the toy takes noisy copies; images use train.augmentation",
            )?;
        }
        let copied = u64::from(train.corruption.as_ref().map_or(1, |c| c.replication))
            * u64::from(train.noise_copies.as_ref().map_or(1, |n| n.copies + 1));
        let examples = match &self.data {
            DataSpec::Images(images) => u64::from(images.train),
            DataSpec::Toy(toy) => 2 * u64::from(toy.points_per_class),
        };
        ensure(
            examples * copied <= MAX_EXAMPLES,
            "train",
            format!("{examples} examples, {copied} copies of each"),
            "must be at most 100 million in all; take fewer copies or fewer examples",
        )?;
        positive("train.batch_size", train.batch_size)?;
        above_zero("train.learning_rate", train.learning_rate)?;
        match train.optimizer {
            Optimizer::Sgd { momentum, weight_decay } => {
                ensure(
                    (0.0..1.0).contains(&momentum),
                    "train.optimizer.sgd.momentum",
                    momentum,
                    "must be at least 0 and below 1",
                )?;
                not_negative("train.optimizer.sgd.weight_decay", weight_decay)?;
            }
            Optimizer::Adam { weight_decay } => {
                not_negative("train.optimizer.adam.weight_decay", weight_decay)?
            }
        }
        self.check_schedule()?;
        positive("train.evaluate_every", train.evaluate_every)
    }

    fn check_schedule(&self) -> Result<(), SpecError> {
        match &self.train.schedule {
            Schedule::Constant => {}
            Schedule::MultiStep { milestones, gamma } => {
                above_zero("train.schedule.multi_step.gamma", *gamma)?;
                ensure(
                    milestones.is_sorted_by(|a, b| a < b),
                    "train.schedule.multi_step.milestones",
                    format!("{milestones:?}"),
                    "must be increasing epochs",
                )?;
            }
            Schedule::Plateau { patience, factor } => {
                positive("train.schedule.plateau.patience", *patience)?;
                above_zero("train.schedule.plateau.factor", *factor)?;
            }
        }
        match self.train.stop {
            Stop::Epochs(epochs) => positive("train.stop.epochs", epochs),
            Stop::Memorized { max_epochs, check_from } => {
                positive("train.stop.memorized.max_epochs", max_epochs)?;
                ensure(
                    (0.0..=100.0).contains(&check_from),
                    "train.stop.memorized.check_from",
                    check_from,
                    "must be a percentage between 0 and 100",
                )
            }
        }
    }
}
