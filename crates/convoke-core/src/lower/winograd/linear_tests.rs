//! Programs against their matrices, and how long they are.

use super::*;
use crate::lower::winograd::toom_cook::Matrices;
use crate::lower::winograd::{all, points};

/// Whole numbers that look random.
fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 58) as f64 - 32.0
    };
    (0..count).map(|_| next()).collect()
}

fn check(matrix: &[Vec<Surd>]) -> LinearProgram {
    let program = LinearProgram::new(matrix);
    assert_eq!(program.outputs.len(), matrix.len());
    for (i, step) in program.steps.iter().enumerate() {
        assert!(step.operands().all(|value| value < program.inputs + i), "{step:?} is step {i}");
    }
    for seed in 0..20 {
        let x = numbers(program.inputs, seed);
        for (row, y) in matrix.iter().zip(program.apply(&x)) {
            let exact = row.iter().zip(&x).map(|(c, x)| c.to_f64() * x).sum::<f64>();
            assert!((y - exact).abs() <= 1e-12 * exact.abs().max(256.0), "{y} is not {exact} in {program:?}");
        }
    }
    program
}

#[test]
fn programs_compute_their_matrix() {
    for (m, taps) in all() {
        let Matrices { output, kernel, input } = Matrices::new(points(m + taps - 1), taps);
        [output, kernel, input].iter().for_each(|matrix| drop(check(matrix)));
    }
    let [zero, one, two, root] = [Surd::ZERO, Surd::ONE, Surd::ratio(2, 1), Surd::root(1, 1)];
    // An output that is an input, one that is its negative, multiples of another row.
    check(&[vec![zero, one], vec![zero, -one], vec![one, two], vec![two, two + two], vec![-root, -two * root]]);
    // Nothing to start from.
    check(&[vec![-one, -one, zero], vec![-one, zero, root], vec![root, root, -root], vec![-one, one, -one]]);
    // Pairs of columns with a sum alone, and rows that are equal.
    check(&[vec![one, one, two], vec![two, two, one], vec![one, one, two]]);
    // A pair of rows of which neither part starts from a term.
    check(&[vec![two, root, two, root], vec![two, -root, two, -root], vec![two, root, zero, zero]]);
}

#[test]
fn programs_are_short() {
    let count = |m: usize, taps: usize| {
        let Matrices { output, input, .. } = Matrices::new(points(m + taps - 1), taps);
        [input, output].map(|matrix| {
            let program = LinearProgram::new(&matrix);
            (program.steps.len(), program.constants().len())
        })
    };
    // Steps and constants, of `B^T` and `A^T`.
    assert_eq!(count(2, 3), [(4, 0), (4, 0)]);
    assert_eq!(count(4, 3), [(12, 6), (11, 4)]);
    assert_eq!(count(5, 3), [(21, 15), (20, 12)]);
    assert_eq!(count(6, 3), [(24, 8), (20, 5)]);
    assert_eq!(count(4, 2), [(10, 8), (11, 6)]);
    assert_eq!(count(4, 4), [(21, 15), (17, 9)]);
    assert_eq!(count(2, 5), [(12, 6), (8, 2)]);
}
