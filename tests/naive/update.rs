//! The update rules.

use super::real::Real;
use bad_global_minima::spec::Optimizer;

/// State of a rule: one list a parameter.
#[derive(Clone, Debug)]
pub struct Moments<T> {
    pub first: Vec<Vec<T>>,
    pub second: Vec<Vec<T>>,
    pub steps: i64,
}

impl<T: Real> Moments<T> {
    /// All zero. Vanilla SGD has no state, SGD with momentum one list, Adam two.
    pub fn new(rule: &Optimizer, parameters: &[Vec<T>]) -> Moments<T> {
        let zeros = || parameters.iter().map(|p| vec![T::ZERO; p.len()]).collect::<Vec<_>>();
        let (first, second) = match rule {
            Optimizer::Sgd { momentum: 0.0, .. } => (Vec::new(), Vec::new()),
            Optimizer::Sgd { .. } => (zeros(), Vec::new()),
            Optimizer::Adam { .. } => (zeros(), zeros()),
        };
        Moments { first, second, steps: 0 }
    }

    pub fn step(
        &mut self,
        rule: &Optimizer,
        parameters: &mut [Vec<T>],
        gradients: &[Vec<T>],
        rate: f64,
    ) {
        match *rule {
            Optimizer::Sgd { momentum, weight_decay } => {
                for (index, (w, g)) in parameters.iter_mut().zip(gradients).enumerate() {
                    for at in 0..w.len() {
                        let d = decayed(g[at], w[at], weight_decay);
                        let v = if momentum == 0.0 {
                            d
                        } else {
                            let v = &mut self.first[index][at];
                            *v = T::of(momentum) * *v + d;
                            *v
                        };
                        w[at] = w[at] - T::of(rate) * v;
                    }
                }
            }
            Optimizer::Adam { weight_decay } => {
                self.steps += 1;
                let (mut b1, mut b2) = (1.0, 1.0);
                for _ in 0..self.steps {
                    b1 *= 0.9;
                    b2 *= 0.999;
                }
                let (step, root) = (T::of(rate / (1.0 - b1)), T::of((1.0f64 - b2).sqrt()));
                for (index, (w, g)) in parameters.iter_mut().zip(gradients).enumerate() {
                    for at in 0..w.len() {
                        let d = decayed(g[at], w[at], weight_decay);
                        let m = &mut self.first[index][at];
                        *m = *m + (d - *m) * T::of(1.0 - 0.9);
                        let v = &mut self.second[index][at];
                        *v = *v * T::of(0.999) + (d * d) * T::of(1.0 - 0.999);
                        w[at] = w[at] - step * (*m / (v.sqrt() / root + T::of(1e-8)));
                    }
                }
            }
        }
    }
}

fn decayed<T: Real>(g: T, w: T, decay: f64) -> T {
    if decay == 0.0 { g } else { g + T::of(decay) * w }
}
