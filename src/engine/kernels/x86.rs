//! The vector of sixteen lanes on x86: one register of AVX-512, or two of AVX2.

use super::vector::Vector;
use std::arch::x86_64::*;

/// Rows `i` and `i + 4` side by side, from their first or second half on.
#[inline(always)]
unsafe fn halves(from: [*const f32; 8], i: usize, half: usize) -> __m256 {
    let low = _mm256_castps128_ps256(_mm_loadu_ps(from[i].add(4 * half)));
    _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(from[i + 4].add(4 * half)))
}

#[inline(always)]
unsafe fn transpose(from: [*const f32; 8], to: [*mut f32; 8]) {
    for half in 0..2 {
        let a = halves(from, 0, half);
        let b = halves(from, 1, half);
        let c = halves(from, 2, half);
        let d = halves(from, 3, half);
        let (ab, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (cd, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        _mm256_storeu_ps(to[4 * half], _mm256_shuffle_ps::<0x44>(ab, cd));
        _mm256_storeu_ps(to[4 * half + 1], _mm256_shuffle_ps::<0xee>(ab, cd));
        _mm256_storeu_ps(to[4 * half + 2], _mm256_shuffle_ps::<0x44>(ab_high, cd_high));
        _mm256_storeu_ps(to[4 * half + 3], _mm256_shuffle_ps::<0xee>(ab_high, cd_high));
    }
}

impl Vector for __m512 {
    const ROWS: [usize; 2] = [16, 14];
    const DEPTH: [usize; 2] = [8, 4];
    const HELD: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        _mm512_setzero_ps()
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        _mm512_set1_ps(value)
    }
    #[inline(always)]
    unsafe fn pair(p: *const f32) -> Self {
        _mm512_castpd_ps(_mm512_set1_pd(p.cast::<f64>().read_unaligned()))
    }
    #[inline(always)]
    unsafe fn twice(p: *const f32) -> Self {
        let index = _mm512_set_epi32(7, 7, 6, 6, 3, 3, 2, 2, 5, 5, 4, 4, 1, 1, 0, 0);
        _mm512_permutexvar_ps(index, _mm512_castps256_ps512(_mm256_loadu_ps(p)))
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        _mm512_load_ps(p)
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        _mm512_store_ps(p, self);
    }
    #[inline(always)]
    unsafe fn store_sum(self, p: *mut f32) {
        let low = _mm512_castps512_ps256(self);
        let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self)));
        _mm256_storeu_ps(p, _mm256_hadd_ps(low, high));
    }
    #[inline(always)]
    unsafe fn transpose(from: [*const f32; 8], to: [*mut f32; 8]) {
        transpose(from, to);
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        _mm512_fmadd_ps(a, b, self)
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        _mm512_add_ps(self, other)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        _mm512_sub_ps(self, other)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        _mm512_mul_ps(self, other)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        _mm512_div_ps(self, other)
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        _mm512_sqrt_ps(self)
    }
    #[inline(always)]
    unsafe fn larger(self, other: Self) -> Self {
        // The instruction gives its second operand where neither is larger, or one is NaN.
        _mm512_max_ps(self, other)
    }
    #[inline(always)]
    unsafe fn where_positive(self, y: Self) -> Self {
        let mask = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(y, _mm512_setzero_ps());
        _mm512_maskz_mov_ps(mask, self)
    }
    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self) -> (Self, Self) {
        let mask = _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b);
        (_mm512_maskz_mov_ps(mask, self), _mm512_maskz_mov_ps(!mask, self))
    }
}

/// AVX2: channels 0 to 3, and 4 to 7.
#[derive(Clone, Copy)]
pub struct Two(__m256, __m256);

impl Vector for Two {
    const ROWS: [usize; 2] = [6, 0];
    const DEPTH: [usize; 2] = [4, 2];
    const HELD: usize = 6;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Two(_mm256_setzero_ps(), _mm256_setzero_ps())
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Two(_mm256_set1_ps(value), _mm256_set1_ps(value))
    }
    #[inline(always)]
    unsafe fn pair(p: *const f32) -> Self {
        let v = _mm256_castpd_ps(_mm256_set1_pd(p.cast::<f64>().read_unaligned()));
        Two(v, v)
    }
    #[inline(always)]
    unsafe fn twice(p: *const f32) -> Self {
        let v = _mm256_loadu_ps(p);
        Two(_mm256_unpacklo_ps(v, v), _mm256_unpackhi_ps(v, v))
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self {
        Two(_mm256_load_ps(p), _mm256_load_ps(p.add(8)))
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32) {
        _mm256_store_ps(p, self.0);
        _mm256_store_ps(p.add(8), self.1);
    }
    #[inline(always)]
    unsafe fn store_sum(self, p: *mut f32) {
        _mm256_storeu_ps(p, _mm256_hadd_ps(self.0, self.1));
    }
    #[inline(always)]
    unsafe fn transpose(from: [*const f32; 8], to: [*mut f32; 8]) {
        transpose(from, to);
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        Two(_mm256_fmadd_ps(a.0, b.0, self.0), _mm256_fmadd_ps(a.1, b.1, self.1))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Two(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Two(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Two(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Two(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1))
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Two(_mm256_sqrt_ps(self.0), _mm256_sqrt_ps(self.1))
    }
    #[inline(always)]
    unsafe fn larger(self, other: Self) -> Self {
        Two(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1))
    }
    #[inline(always)]
    unsafe fn where_positive(self, y: Self) -> Self {
        let zero = _mm256_setzero_ps();
        Two(
            _mm256_and_ps(self.0, _mm256_cmp_ps::<_CMP_GT_OQ>(y.0, zero)),
            _mm256_and_ps(self.1, _mm256_cmp_ps::<_CMP_GT_OQ>(y.1, zero)),
        )
    }
    #[inline(always)]
    unsafe fn where_equal(self, a: Self, b: Self) -> (Self, Self) {
        let masks = [_mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0), _mm256_cmp_ps::<_CMP_EQ_OQ>(a.1, b.1)];
        let equal = Two(_mm256_and_ps(masks[0], self.0), _mm256_and_ps(masks[1], self.1));
        (equal, Two(_mm256_andnot_ps(masks[0], self.0), _mm256_andnot_ps(masks[1], self.1)))
    }
}
