//! The two kinds of number that the loops run in.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// `f32`: the definition itself. `f64`: the same formulas as a reference for its accuracy.
pub trait Real:
    Copy
    + Debug
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    const ZERO: Self;

    /// Rounded to the nearest.
    fn of(value: f64) -> Self;
    fn from_single(value: f32) -> Self;
    fn double(self) -> f64;
    /// `a * b + c`; rounded once in `f32`.
    fn fma(a: Self, b: Self, c: Self) -> Self;
    fn sqrt(self) -> Self;
    fn exp(self) -> Self;
    fn log(self) -> Self;
    /// `log(1 + self)`
    fn log1p(self) -> Self;

    /// A number of things.
    fn count(number: usize) -> Self {
        Self::of(number as f64)
    }

    fn abs(self) -> Self {
        if self < Self::ZERO { -self } else { self }
    }
}

impl Real for f32 {
    const ZERO: f32 = 0.0;

    fn of(value: f64) -> f32 {
        value as f32
    }

    fn from_single(value: f32) -> f32 {
        value
    }

    fn double(self) -> f64 {
        f64::from(self)
    }

    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    fn sqrt(self) -> f32 {
        self.sqrt()
    }

    fn exp(self) -> f32 {
        libm::expf(self)
    }

    fn log(self) -> f32 {
        libm::logf(self)
    }

    fn log1p(self) -> f32 {
        libm::log1pf(self)
    }
}

impl Real for f64 {
    const ZERO: f64 = 0.0;

    fn of(value: f64) -> f64 {
        value
    }

    fn from_single(value: f32) -> f64 {
        f64::from(value)
    }

    fn double(self) -> f64 {
        self
    }

    fn fma(a: f64, b: f64, c: f64) -> f64 {
        a * b + c
    }

    fn sqrt(self) -> f64 {
        self.sqrt()
    }

    fn exp(self) -> f64 {
        libm::exp(self)
    }

    fn log(self) -> f64 {
        libm::log(self)
    }

    fn log1p(self) -> f64 {
        libm::log1p(self)
    }
}
