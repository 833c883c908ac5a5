//! Sixteen lanes: 8 channels of 2 images, `lane = 2 * channel + image`. An operation is lane by
//! lane and rounds once, so that every implementation gives the same bits.

/// Channel at each of the eight places of a group of weights: the order in which AVX2's
/// additions and unpackings of neighbours deliver channels. It is its own inverse.
pub const ORDER: [usize; 8] = [0, 1, 4, 5, 2, 3, 6, 7];

/// `[f(0), f(1), ...]`. `std::array::from_fn` and `map` say the same, but stay calls where a unit
/// of code generation is optimized by itself.
#[inline(always)]
pub fn each<const N: usize>(f: impl Fn(usize) -> f32) -> [f32; N] {
    let mut numbers = [0.0; N];
    for (at, number) in numbers.iter_mut().enumerate() {
        *number = f(at);
    }
    numbers
}

/// # Safety
/// The processor must have the implementation's instructions; pointers must be valid for the
/// numbers that are read or written, and those of a whole row on a row's boundary.
pub trait Vector: Copy {
    /// Rows of a register tile of the convolution with one and with two groups of outputs;
    /// 0: not to be used.
    const ROWS: [usize; 2];
    /// Input channels of a register tile of the gradient of weights with one tap, and with
    /// three.
    const DEPTH: [usize; 2];
    /// Rows that registers hold beside a chain.
    const HELD: usize;

    unsafe fn zero() -> Self;
    unsafe fn splat(value: f32) -> Self;
    /// Two numbers at `p`, an image each, for all channels.
    unsafe fn pair(p: *const f32) -> Self;
    /// Eight numbers at `p`, channels in [`ORDER`], for both images.
    unsafe fn twice(p: *const f32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    unsafe fn store(self, p: *mut f32);
    /// The sums over the two images: eight numbers, channels in [`ORDER`].
    unsafe fn store_sum(self, p: *mut f32);
    /// The transpose of 8 by 8 numbers: number `j` of row `i` becomes number `i` of row `j`.
    unsafe fn transpose(from: [*const f32; 8], to: [*mut f32; 8]);
    /// `a * b + self`, rounded once.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn sqrt(self) -> Self;
    /// `if self > other { self } else { other }`; NaN counts as not larger.
    unsafe fn larger(self, other: Self) -> Self;
    /// `if y > 0 { self } else { 0 }`
    unsafe fn where_positive(self, y: Self) -> Self;
    /// `if a == b { self } else { 0 }` and `if a == b { 0 } else { self }`.
    unsafe fn where_equal(self, a: Self, b: Self) -> (Self, Self);
}

/// Plain Rust: what the bits are, on any machine.
#[derive(Clone, Copy)]
pub struct Plain([f32; 16]);

impl Plain {
    #[inline(always)]
    fn each(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Plain(each(|l| f(self.0[l], other.0[l])))
    }
}

impl Vector for Plain {
    const ROWS: [usize; 2] = [4, 0];
    const DEPTH: [usize; 2] = [4, 2];
    const HELD: usize = 6;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Plain([0.0; 16])
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Plain([value; 16])
    }
    #[inline(always)]
    unsafe fn pair(p: *const f32) -> Self {
        Plain(each(|l| *p.add(l % 2)))
    }
    #[inline(always)]
    unsafe fn twice(p: *const f32) -> Self {
        Plain(each(|l| *p.add(ORDER[l / 2])))
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Plain(p.cast::<[f32; 16]>().read())
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        p.cast::<[f32; 16]>().write(self.0);
    }
    #[inline(always)]
    unsafe fn store_sum(self, p: *mut f32) {
        for (at, channel) in ORDER.into_iter().enumerate() {
            *p.add(at) = self.0[2 * channel] + self.0[2 * channel + 1];
        }
    }
    #[inline(always)]
    unsafe fn transpose(from: [*const f32; 8], to: [*mut f32; 8]) {
        for (i, from) in from.into_iter().enumerate() {
            for (j, to) in to.into_iter().enumerate() {
                *to.add(i) = *from.add(j);
            }
        }
    }
    #[inline(always)]
    unsafe fn fma(mut self, a: Self, b: Self) -> Self {
        for l in 0..16 {
            self.0[l] = a.0[l].mul_add(b.0[l], self.0[l]);
        }
        self
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.each(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.each(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.each(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.each(other, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Plain(each(|l| self.0[l].sqrt()))
    }
    #[inline(always)]
    unsafe fn larger(self, other: Self) -> Self {
        self.each(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn where_positive(self, y: Self) -> Self {
        self.each(y, |g, y| if y > 0.0 { g } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self) -> (Self, Self) {
        let pick =
            |of: bool| Plain(each(|l| if (a.0[l] == b.0[l]) == of { self.0[l] } else { 0.0 }));
        (pick(true), pick(false))
    }
}
