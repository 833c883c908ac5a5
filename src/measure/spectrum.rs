//! Largest singular value of a matrix, in plain double precision.

use std::ops::Range;

/// Largest singular value of a matrix of `rows` rows, row-major: the root of the largest
/// eigenvalue of its Gram matrix, by Householder's tridiagonalization (Golub and Van Loan,
/// "Matrix Computations", section 8.3) and bisection on Sturm's count. NaN if a value of the
/// matrix is not a number.
pub fn largest_singular_value(matrix: &[f32], rows: usize) -> f64 {
    if matrix.iter().any(|value| !value.is_finite()) {
        return f64::NAN;
    }
    let gram = gram(matrix, rows);
    let side = gram.len();
    largest_eigenvalue(&tridiagonal(gram), side).max(0.0).sqrt()
}

/// `A A^T` or `A^T A`, whichever is smaller.
fn gram(matrix: &[f32], rows: usize) -> Vec<Vec<f64>> {
    let columns = matrix.len() / rows;
    let wide = columns >= rows;
    let side = rows.min(columns);
    let depth = rows.max(columns);
    let vectors: Vec<Vec<f64>> = (0..side)
        .map(|i| {
            let at = |k: usize| if wide { i * columns + k } else { k * columns + i };
            (0..depth).map(|k| f64::from(matrix[at(k)])).collect()
        })
        .collect();
    let entry = |i: usize, j: usize| dot(&vectors[i], &vectors[j], 0..depth);
    let lower: Vec<Vec<f64>> = (0..side).map(|i| (0..=i).map(|j| entry(i, j)).collect()).collect();
    let mirrored = |i: usize, j: usize| lower[i.max(j)][i.min(j)];
    (0..side).map(|i| (0..side).map(|j| mirrored(i, j)).collect()).collect()
}

fn dot(a: &[f64], b: &[f64], range: Range<usize>) -> f64 {
    a[range.clone()].iter().zip(&b[range]).fold(0.0, |sum, (a, b)| sum + a * b)
}

/// Diagonal and squares of the off-diagonal of a symmetric matrix that is similar to `a`.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// The first is 0.
    off_squared: Vec<f64>,
}

fn tridiagonal(mut a: Vec<Vec<f64>>) -> Tridiagonal {
    let side = a.len();
    for k in 0..side.saturating_sub(2) {
        let rest = k + 1..side;
        // Reflects the column below the diagonal onto its first entry.
        let mut v = vec![0.0; side];
        for i in rest.clone() {
            v[i] = a[i][k];
        }
        let length = dot(&v, &v, rest.clone()).sqrt();
        if length == 0.0 {
            continue;
        }
        let head = v[k + 1];
        v[k + 1] += if head < 0.0 { -length } else { length };
        let half = dot(&v, &v, rest.clone()) / 2.0;
        let mut p = vec![0.0; side];
        for i in rest.clone() {
            p[i] = dot(&a[i], &v, rest.clone()) / half;
        }
        let along = dot(&p, &v, rest.clone()) / (2.0 * half);
        for i in rest.clone() {
            p[i] -= along * v[i];
        }
        for i in rest.clone() {
            for j in rest.clone() {
                a[i][j] -= v[i] * p[j] + p[i] * v[j];
            }
        }
        let reflected = if head < 0.0 { length } else { -length };
        a[k + 1][k] = reflected;
    }
    Tridiagonal {
        diagonal: (0..side).map(|i| a[i][i]).collect(),
        off_squared: (0..side)
            .map(|i| if i == 0 { 0.0 } else { a[i][i - 1] * a[i][i - 1] })
            .collect(),
    }
}

/// By bisection between Gershgorin's bounds, to the last bit that it can tell.
fn largest_eigenvalue(matrix: &Tridiagonal, side: usize) -> f64 {
    let off = |i: usize| if i < side { matrix.off_squared[i].sqrt() } else { 0.0 };
    let mut high =
        (0..side).map(|i| matrix.diagonal[i] + off(i) + off(i + 1)).fold(f64::MIN, f64::max);
    let mut low = matrix.diagonal.iter().copied().fold(f64::MIN, f64::max);
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        if has_eigenvalue_above(matrix, middle) { low = middle } else { high = middle }
    }
}

/// Sturm's count: the pivots of `T - x` that are not negative are as many as eigenvalues that
/// are at least `x`.
fn has_eigenvalue_above(matrix: &Tridiagonal, x: f64) -> bool {
    let mut pivot = 1.0;
    for (diagonal, off_squared) in matrix.diagonal.iter().zip(&matrix.off_squared) {
        pivot = diagonal - x - off_squared / pivot;
        if pivot >= 0.0 {
            return true;
        }
        // A pivot that vanishes would divide the next one.
        if pivot > -f64::MIN_POSITIVE {
            pivot = -f64::MIN_POSITIVE;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_matrices() {
        let close = |found: f64, expected: f64| {
            assert!((found - expected).abs() <= 1e-14 * expected, "{found}, expected {expected}");
        };
        // [[3, 0], [4, 5]] has singular values sqrt(45) and sqrt(5).
        close(largest_singular_value(&[3.0, 0.0, 4.0, 5.0], 2), 45f64.sqrt());
        close(largest_singular_value(&[-7.0], 1), 7.0);
        close(largest_singular_value(&[3.0, 4.0], 1), 5.0);
        close(largest_singular_value(&[3.0, 4.0], 2), 5.0);
        close(largest_singular_value(&[2.0; 12], 3), 2.0 * 12f64.sqrt());
        // Diagonal already: nothing to reflect.
        close(largest_singular_value(&[1.0, 0.0, 0.0, 0.0, -6.0, 0.0, 0.0, 0.0, 2.0], 3), 6.0);
        assert_eq!(largest_singular_value(&[0.0; 6], 2), 0.0);
        assert!(largest_singular_value(&[1.0, f32::NAN], 2).is_nan());
    }

    #[test]
    fn random_matrices_agree_with_power_iteration() {
        let mut stream = crate::rng::Stream::open(4, crate::rng::Purpose::Test, &[1]);
        for (rows, columns) in [(1, 9), (5, 5), (9, 2), (16, 72), (33, 20)] {
            let matrix: Vec<f32> = (0..rows * columns).map(|_| stream.normal() as f32).collect();
            let mut v = vec![1.0; columns];
            let mut size = 0.0;
            for _ in 0..20_000 {
                let product: Vec<f64> = matrix
                    .chunks(columns)
                    .map(|row| row.iter().zip(&v).map(|(a, b)| f64::from(*a) * b).sum())
                    .collect();
                size = product.iter().map(|p| p * p).sum::<f64>().sqrt();
                for (j, v) in v.iter_mut().enumerate() {
                    let row = |i: usize| f64::from(matrix[i * columns + j]) * product[i];
                    *v = (0..rows).map(row).sum();
                }
                let length = v.iter().map(|v| v * v).sum::<f64>().sqrt();
                v.iter_mut().for_each(|v| *v /= length);
            }
            let found = largest_singular_value(&matrix, rows);
            assert!((found - size).abs() < 1e-10 * size, "{rows}x{columns}: {found}, {size}");
        }
    }
}
