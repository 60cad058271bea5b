//! Transforms of length 2 and 4 in registers.

use super::super::emit::Emitter;
use crate::ir::{Address, BinaryOp, Reg};

/// A complex vector: its real and its imaginary part.
pub(super) type Complex = [Reg; 2];

/// Which way a transform goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Direction {
    Forward,
    Inverse,
}

/// Where the twiddle factors are, and a product that is not fused.
const FACTOR: [Reg; 3] = [Reg(10), Reg(11), Reg(12)];
const PRODUCT: Reg = Reg(13);

/// The registers of a butterfly: eight that hold data and two that are free, in turns.
struct Registers<'a> {
    e: &'a mut Emitter,
    free: [Reg; 2],
}

impl Registers<'_> {
    /// `a + b` and `a - b`.
    fn sum_and_difference(&mut self, a: Reg, b: Reg) -> [Reg; 2] {
        let difference = self.free[0];
        self.e.binary(BinaryOp::Sub, difference, a, b);
        self.e.binary(BinaryOp::Add, a, a, b);
        self.free[0] = b;
        [a, difference]
    }

    fn sums_and_differences(&mut self, a: Complex, b: Complex) -> [Complex; 2] {
        let [re, re_less] = self.sum_and_difference(a[0], b[0]);
        let [im, im_less] = self.sum_and_difference(a[1], b[1]);
        [[re, im], [re_less, im_less]]
    }

    /// `a + i b` and `a - i b`.
    fn turned(&mut self, a: Complex, b: Complex) -> [Complex; 2] {
        let [re_less, re] = self.sum_and_difference(a[0], b[1]);
        let [im, im_less] = self.sum_and_difference(a[1], b[0]);
        [[re, im], [re_less, im_less]]
    }

    /// `x` times the factor at `at`, or its conjugate.
    fn times(&mut self, x: Complex, at: Address, direction: Direction) -> Complex {
        let [re, im, negated] = match direction {
            Direction::Forward => FACTOR,
            Direction::Inverse => [FACTOR[0], FACTOR[2], FACTOR[1]],
        };
        for (i, &d) in FACTOR.iter().enumerate() {
            self.e.broadcast(d, Address { offset: at.offset + i as i64, ..at });
        }
        let y = self.free;
        self.e.binary(BinaryOp::Mul, y[0], x[1], negated);
        self.e.binary(BinaryOp::Mul, y[1], x[1], re);
        self.e.multiply_add(y[0], x[0], re, y[0], PRODUCT);
        self.e.multiply_add(y[1], x[0], im, y[1], PRODUCT);
        self.free = x;
        y
    }
}

/// A butterfly of `radix` 2 or 4: reads its elements, and writes them. Its factors, if they are not 1, are at `twiddles`.
pub(super) fn butterfly(
    e: &mut Emitter,
    radix: usize,
    direction: Direction,
    twiddles: Option<Address>,
    read: &mut dyn FnMut(&mut Emitter, usize, Complex),
    write: &mut dyn FnMut(&mut Emitter, usize, Complex),
) {
    let mut x: [Complex; 4] = std::array::from_fn(|i| [Reg(2 * i as u32), Reg(2 * i as u32 + 1)]);
    let mut r = Registers { e, free: [Reg(8), Reg(9)] };
    let factor = |i: usize| twiddles.map(|at| Address { offset: at.offset + 3 * (i as i64 - 1), ..at });
    for (i, &element) in x.iter().enumerate().take(radix) {
        read(r.e, i, element);
    }
    if direction == Direction::Inverse {
        for (i, element) in x.iter_mut().enumerate().take(radix).skip(1) {
            if let Some(at) = factor(i) {
                *element = r.times(*element, at, direction);
            }
        }
    }
    if radix == 2 {
        let all = r.sums_and_differences(x[0], x[1]);
        all.into_iter().enumerate().for_each(|(i, element)| write(r.e, i, element));
        return;
    }
    let [even, even_less] = r.sums_and_differences(x[0], x[2]);
    let [odd, odd_less] = r.sums_and_differences(x[1], x[3]);
    let [first, third] = r.sums_and_differences(even, odd);
    let [plus, minus] = r.turned(even_less, odd_less);
    let [second, fourth] = if direction == Direction::Forward { [minus, plus] } else { [plus, minus] };
    for (i, mut element) in [first, second, third, fourth].into_iter().enumerate() {
        if let (1.., Direction::Forward, Some(at)) = (i, direction, factor(i)) {
            element = r.times(element, at, direction);
        }
        write(r.e, i, element);
    }
}
