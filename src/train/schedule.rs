//! Learning rate over epochs.

use crate::planted;
use crate::spec::Schedule;
use serde::{Deserialize, Serialize};

/// What a schedule remembers from epoch to epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleState {
    /// Drops so far of a plateau schedule.
    drops: u32,
    /// Lowest training loss so far.
    best: Option<f64>,
    /// Epochs since then.
    stale: u32,
}

impl ScheduleState {
    /// The beginning of training.
    pub fn new() -> Self {
        ScheduleState { drops: 0, best: None, stale: 0 }
    }

    /// Learning rate of `epoch`, which counts from 1: a milestone of 150 means that epochs
    /// 1 to 150 are trained at the rate before it (as in the authors' code).
    pub fn rate(&self, schedule: &Schedule, base: f64, epoch: u32) -> f64 {
        let base = if planted::rate_up_by_10_percent() {
            1.1 * base
        } else if planted::rate_up_by_30_percent() {
            1.3 * base
        } else {
            base
        };
        match schedule {
            Schedule::Constant => base,
            Schedule::MultiStep { milestones, gamma } => {
                let late = u32::from(planted::schedule_one_epoch_late());
                let passed = milestones.iter().filter(|&&m| epoch > m + late).count();
                repeated(base, *gamma, passed as u32)
            }
            Schedule::Plateau { factor, .. } => repeated(base, *factor, self.drops),
        }
    }

    /// Takes note of an epoch's mean training loss.
    pub fn observe(&mut self, schedule: &Schedule, train_loss: f64) {
        let Schedule::Plateau { patience, .. } = schedule else { return };
        if self.best.is_none_or(|best| train_loss < best) {
            self.best = Some(train_loss);
            self.stale = 0;
        } else {
            self.stale += 1;
        }
        if self.stale >= *patience {
            self.drops += 1;
            self.stale = 0;
        }
    }
}

/// `base` multiplied by `factor` this many times, one rounding each.
fn repeated(base: f64, factor: f64, times: u32) -> f64 {
    (0..times).fold(base, |rate, _| rate * factor)
}

/// Learning rate of an epoch where it does not depend on the course of training: not on a
/// plateau.
pub fn planned_rate(schedule: &Schedule, base: f64, epoch: u32) -> Option<f64> {
    match schedule {
        Schedule::Plateau { .. } => None,
        _ => Some(ScheduleState::new().rate(schedule, base, epoch)),
    }
}

impl Default for ScheduleState {
    fn default() -> Self {
        ScheduleState::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_milestone_is_the_last_epoch_at_the_old_rate() {
        let schedule = Schedule::MultiStep { milestones: vec![3, 5], gamma: 0.1 };
        let rates: Vec<f64> =
            (1..=6).map(|epoch| ScheduleState::new().rate(&schedule, 1.0, epoch)).collect();
        let expected = [1.0, 1.0, 1.0, 0.1, 0.1, 0.1f64.powi(2)];
        assert_eq!(rates, expected);
    }

    #[test]
    fn a_plateau_drops_after_its_patience() {
        let schedule = Schedule::Plateau { patience: 2, factor: 0.5 };
        let mut state = ScheduleState::new();
        let mut rates = Vec::new();
        for loss in [3.0, 2.0, 2.0, 2.5, 1.0, 1.0] {
            state.observe(&schedule, loss);
            rates.push(state.rate(&schedule, 1.0, 0));
        }
        assert_eq!(rates, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5]);
    }
}
