//! How much weight decay a run was given: what makes "with l2" mean the same at another size.

use super::cost;
use crate::spec::{DataSpec, Optimizer, RunSpec};
use crate::train::schedule::planned_rate;
use serde::Serialize;

/// What one run's training on its labels does to the weights by decay alone: SGD multiplies
/// them by `1 - rate x decay` at every step, and momentum makes each step count
/// `1 / (1 - momentum)` times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Dose {
    /// Sum over the steps of rate times weight decay.
    pub sum: f64,
    /// The same over `1 - momentum`.
    pub over_momentum: f64,
    /// `over_momentum` as a multiple of what the authors' settings give: [`PAPER`] without
    /// momentum, [`PAPER_WITH_MOMENTUM`] with it. `None` without weight decay, and of the toy,
    /// whose settings are others.
    pub of_paper: Option<f64>,
}

/// Sum of rate times decay in the authors' code (chao1224/BadGlobalMinima, commit 950b0c0):
/// decay 5e-4, 391 steps an epoch, 150 epochs at 0.1, 100 at 0.01, 100 at 0.001. 3.15.
pub const PAPER: f64 = 5e-4 * 391.0 * (150.0 * 0.1 + 100.0 * 0.01 + 100.0 * 0.001);
/// The same with their momentum of 0.9: 31.5.
pub const PAPER_WITH_MOMENTUM: f64 = PAPER / (1.0 - 0.9);

impl Dose {
    /// The dose of a run that trains for `epochs`; that of a run before it is not counted.
    ///
    /// `None` where it is no such sum: with Adam, whose steps do not scale with the gradient,
    /// on a plateau schedule, whose rates the course of training decides, and on a data set of
    /// unknown size.
    pub fn of(spec: &RunSpec, epochs: u32) -> Option<Dose> {
        let train = &spec.train;
        let (momentum, decay) = match train.optimizer {
            Optimizer::Sgd { momentum, weight_decay } => (momentum, weight_decay),
            Optimizer::Adam { weight_decay } => (0.0, weight_decay),
        };
        if decay == 0.0 {
            return Some(Dose { sum: 0.0, over_momentum: 0.0, of_paper: None });
        }
        if matches!(train.optimizer, Optimizer::Adam { .. }) {
            return None;
        }
        let steps = (cost::known_examples(spec)? / f64::from(train.batch_size)).ceil();
        let rates = (1..=epochs).map(|e| planned_rate(&train.schedule, train.learning_rate, e));
        let sum = decay * steps * rates.sum::<Option<f64>>()?;
        let over_momentum = sum / (1.0 - momentum);
        let paper = if momentum > 0.0 { PAPER_WITH_MOMENTUM } else { PAPER };
        let is_toy = matches!(spec.data, DataSpec::Toy(_));
        Some(Dose { sum, over_momentum, of_paper: (!is_toy).then(|| over_momentum / paper) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9 * b.abs()
    }

    /// The authors' settings on CIFAR-10.
    fn authors(optimizer: Optimizer, schedule: Schedule) -> RunSpec {
        let images = ImageDataSpec {
            dataset: "cifar-10".to_owned(),
            train: 0,
            draw: Draw::First,
            test: 0,
            test_along: None,
            evaluate_on: EvaluateOn::Test,
            pool: 1,
        };
        let network = NetworkSpec { arch: Arch::Resnet18, width: 64, batch_norm: true };
        let toy = example::toy();
        let train = TrainSpec {
            batch_size: 128,
            optimizer,
            learning_rate: 0.1,
            schedule,
            stop: Stop::Epochs(350),
            ..toy.train
        };
        RunSpec { data: DataSpec::Images(images), network, train, ..toy }
    }

    fn drops() -> Schedule {
        Schedule::MultiStep { milestones: vec![150, 250], gamma: 0.1 }
    }

    #[test]
    fn the_authors_settings_give_the_papers_doses() {
        let l2 = authors(Optimizer::Sgd { momentum: 0.0, weight_decay: 5e-4 }, drops());
        let dose = Dose::of(&l2, 350).unwrap();
        assert!((3.145..3.15).contains(&dose.sum), "{dose:?}");
        assert!(close(dose.sum, dose.over_momentum) && close(dose.of_paper.unwrap(), 1.0));
        let both = authors(Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 }, drops());
        let dose = Dose::of(&both, 350).unwrap();
        assert!((31.4..31.6).contains(&dose.over_momentum), "{dose:?}");
        assert!(close(dose.sum, PAPER) && close(dose.of_paper.unwrap(), 1.0));
    }

    #[test]
    fn a_short_run_of_few_images_has_a_small_dose() {
        let mut spec = authors(Optimizer::Sgd { momentum: 0.0, weight_decay: 1e-2 }, drops());
        let DataSpec::Images(images) = &mut spec.data else { panic!("images") };
        images.train = 130;
        spec.train.batch_size = 50;
        // Three steps an epoch, the last of 30 images; copies make more of them.
        assert!(close(Dose::of(&spec, 10).unwrap().sum, 1e-2 * 0.1 * 3.0 * 10.0));
        let unit = crate::corrupt::ZeroOutUnit::Values;
        let (zero_out, random_labels) = (0.0, 1.0);
        let corruption =
            crate::corrupt::CorruptionSpec { replication: 2, zero_out, unit, random_labels };
        spec.train.corruption = Some(corruption);
        assert!(close(Dose::of(&spec, 10).unwrap().sum, 1e-2 * 0.1 * 6.0 * 10.0));
    }

    #[test]
    fn no_decay_is_no_dose_and_what_is_no_sum_is_not_given() {
        let none = Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 };
        let dose = Dose::of(&authors(none, drops()), 350).unwrap();
        assert_eq!(dose, Dose { sum: 0.0, over_momentum: 0.0, of_paper: None });
        let some = Optimizer::Sgd { momentum: 0.0, weight_decay: 5e-4 };
        let plateau = Schedule::Plateau { patience: 10, factor: 0.3 };
        assert_eq!(Dose::of(&authors(some.clone(), plateau), 350), None);
        assert_eq!(Dose::of(&authors(Optimizer::Adam { weight_decay: 5e-4 }, drops()), 350), None);
        let mut unknown = authors(some, drops());
        let DataSpec::Images(images) = &mut unknown.data else { panic!("images") };
        images.dataset = "insects".to_owned();
        assert_eq!(Dose::of(&unknown, 350), None);
        // Ten points of the toy are two batches of five.
        unknown.train.batch_size = 5;
        let (points_per_class, center, std, shift) = (5, 0.2, 0.15, 0.5);
        unknown.data = DataSpec::Toy(ToySpec { points_per_class, center, std, shift });
        let dose = Dose::of(&unknown, 3).unwrap();
        assert!(close(dose.sum, 5e-4 * 2.0 * 3.0 * 0.1) && dose.of_paper.is_none(), "{dose:?}");
    }
}
