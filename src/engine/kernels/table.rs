//! One set of kernels for each set of instructions.

use super::pointwise::{Apply, Eight, Hand, Passed, PassedSums};
use super::pooling::Pool;
use super::rows::{Rows, Transpose};
use super::simd::Simd;
use super::update::Update;
use super::vector::{Plain, Vector};
use super::weights::Weights;

/// Each needs a processor that has the instructions of the [`Simd`] that it was made for, and
/// valid pointers in its argument.
#[derive(Clone, Copy)]
pub struct Table {
    /// Groups of outputs that [`Table::rows`] and [`Table::weights`] take at most.
    pub columns: usize,
    pub rows: unsafe fn(&Rows),
    pub weights: unsafe fn(&Weights),
    pub transpose: unsafe fn(&Transpose),
    pub total: unsafe fn(*const f32, usize) -> Eight,
    pub squares: unsafe fn(*const f32, usize, &Eight) -> Eight,
    pub apply: unsafe fn(&Apply),
    pub passed: unsafe fn(&Passed) -> PassedSums,
    pub hand: unsafe fn(&Hand),
    pub pool: unsafe fn(&Pool),
    pub update: unsafe fn(&Update),
}

macro_rules! table {
    ($name:ident, $vector:ty $(, $features:literal)?) => {
        mod $name {
            use super::*;
            $(#[target_feature(enable = $features)])?
            unsafe fn rows(o: &Rows) {
                super::super::rows::rows::<$vector>(o);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn weights(o: &Weights) {
                super::super::weights::weights::<$vector>(o);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn transpose(o: &Transpose) {
                super::super::rows::transpose::<$vector>(o);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn total(x: *const f32, len: usize) -> Eight {
                super::super::pointwise::total::<$vector>(x, len)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn squares(x: *const f32, len: usize, mean: &Eight) -> Eight {
                super::super::pointwise::squares::<$vector>(x, len, mean)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn apply(o: &Apply) {
                super::super::pointwise::apply::<$vector>(o);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn passed(o: &Passed) -> PassedSums {
                super::super::pointwise::passed::<$vector>(o)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn hand(o: &Hand) {
                super::super::pointwise::hand::<$vector>(o);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn pool(o: &Pool) {
                super::super::pooling::pool::<$vector>(o);
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn update(o: &Update) {
                super::super::update::update::<$vector>(o);
            }
            pub const TABLE: Table = Table {
                columns: if <$vector as Vector>::ROWS[1] > 0 { 2 } else { 1 },
                rows,
                weights,
                transpose,
                total,
                squares,
                apply,
                passed,
                hand,
                pool,
                update,
            };
        }
    };
}

#[cfg(target_arch = "x86_64")]
table!(avx512, std::arch::x86_64::__m512, "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma");
#[cfg(target_arch = "x86_64")]
table!(avx2, super::super::x86::Two, "avx2,fma");
table!(plain, Plain);

impl Table {
    /// The kernels for these instructions, which the processor has: a [`Simd`] says so.
    pub fn new(simd: Simd) -> Table {
        match simd.kind() {
            #[cfg(target_arch = "x86_64")]
            super::simd::Kind::Avx512 => avx512::TABLE,
            #[cfg(target_arch = "x86_64")]
            super::simd::Kind::Avx2 => avx2::TABLE,
            super::simd::Kind::Plain => plain::TABLE,
        }
    }
}
