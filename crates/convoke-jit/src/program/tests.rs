//! Machine code against the interpreter, bit for bit, on kernels made by hand.

use convoke_core::eval::interp;
use convoke_core::ir::{
    Access, Address, Affine, Arg, BinaryOp, Call, CeilDiv, Extent, Loop, Nest, Op, Ptr, Range, Reg, Stmt, Tile,
    TileLoop, TileStmt,
};
use convoke_core::target::Isa;

use super::{Buffer, Buffers, DType, Element, Executor, JitError, Kernel, Program, Role, Serial, Var, Verified};

const SRC: Ptr = Ptr(0);
const DST: Ptr = Ptr(1);
const DTYPES: [DType; 2] = [DType::F32, DType::F64];

/// A kernel of one tile with the pointers `src` and `dst`.
fn kernel(dtype: DType, fma: bool, tile: Tile, nests: Vec<Nest>, lengths: [Affine; 2], vars: &[&str]) -> Verified {
    let [src, dst] = lengths;
    let isa = if cfg!(target_arch = "x86_64") { Isa::Sse } else { Isa::Portable };
    let buffers = vec![Buffer { role: Role::Src, len: src }, Buffer { role: Role::Dst, len: dst }];
    let vars = vars.iter().map(|v| (*v).to_owned()).collect();
    let kernel = Kernel { name: "test".to_owned(), dtype, isa, fma, buffers, vars, tiles: vec![tile], nests };
    convoke_core::ir::verify(kernel).unwrap()
}

fn tile(registers: usize, ranges: &[&str], body: Vec<TileStmt>) -> Tile {
    let pointers = vec!["src".to_owned(), "dst".to_owned()];
    let ranges = ranges.iter().map(|r| (*r).to_owned()).collect();
    Tile { name: "test_tile".to_owned(), pointers, ranges, registers, body }
}

fn call(src: Affine, dst: Affine, ranges: Vec<Range>) -> Stmt {
    let arg = |role, offset| Arg { role, offset };
    Stmt::Call(Call { tile: 0, args: vec![arg(Role::Src, src), arg(Role::Dst, dst)], ranges })
}

fn nest(var: u32, range: Range, body: Vec<Stmt>) -> Nest {
    Nest { label: "compute".to_owned(), outer: Loop { var: Var(var), range, parallel: true, body } }
}

fn load(d: u32, offset: i64, lanes: usize, stride: i64) -> TileStmt {
    TileStmt::Op(Op::Load { d: Reg(d), from: Access { at: Address { ptr: SRC, offset }, lanes, stride } })
}

fn store(s: u32, offset: i64, lanes: usize, stride: i64) -> TileStmt {
    TileStmt::Op(Op::Store { to: Access { at: Address { ptr: DST, offset }, lanes, stride }, s: Reg(s) })
}

fn number(n: i64) -> Affine {
    Affine::constant(n)
}

/// Runs the kernel on numbers that include every kind of special value, both ways, on one thread and on three.
#[track_caller]
fn check(kernel: &Verified, batch: usize) {
    match kernel.dtype {
        DType::F32 => check_as::<f32>(kernel, batch),
        DType::F64 => check_as::<f64>(kernel, batch),
    }
}

#[track_caller]
fn check_as<T: Element>(kernel: &Verified, batch: usize) {
    let program = Program::compile(kernel).unwrap();
    let len = |role| usize::try_from(program.len(role, batch)).unwrap();
    let special =
        [1.5, -2.25, 0.0, -0.0, 3e-310, 1e-42, f64::INFINITY, -7.0, f64::NAN, 1.0 / 3.0, f64::NEG_INFINITY, 2.0];
    let src: Vec<T> = (0..len(Role::Src)).map(|i| T::from_f64(special[i * 7 % 12] + (i / 12) as f64)).collect();
    let fresh = || vec![T::from_f64(-99.0); len(Role::Dst)];
    let mut expected = fresh();
    let mut buffers = interp::Buffers { src: &src, weights: &[], bias: &[], dst: &mut expected, scratch: &mut [] };
    interp::run(kernel, batch, &mut buffers).unwrap();
    for executor in [&Serial as &dyn Executor, &Scoped(3)] {
        let mut dst = fresh();
        let buffers = Buffers { src: &src, weights: &[], bias: &[], dst: &mut dst, scratch: &mut [] };
        program.run(batch, buffers, executor).unwrap();
        for (i, (&a, &b)) in dst.iter().zip(&expected).enumerate() {
            let same = a.bits() == b.bits() || a.to_f64().is_nan() && b.to_f64().is_nan();
            assert!(same, "dst[{i}] is {a} and should be {b}:\n{}", crate::clif::clif_text(kernel).unwrap());
        }
    }
}

/// New threads each time.
struct Scoped(usize);

impl Executor for Scoped {
    fn threads(&self) -> usize {
        self.0
    }

    fn broadcast(&self, work: &(dyn Fn() + Sync)) {
        std::thread::scope(|scope| (0..self.0).for_each(|_| drop(scope.spawn(work))));
    }
}

/// One call of a straight tile.
fn straight(dtype: DType, fma: bool, registers: usize, body: Vec<TileStmt>, src: i64, dst: i64) -> Verified {
    let nests = vec![nest(1, Range::count(1), vec![call(number(0), number(0), vec![])])];
    kernel(dtype, fma, tile(registers, &[], body), nests, [number(src), number(dst)], &["N", "i"])
}

#[test]
fn every_binary_operation_and_select() {
    use BinaryOp::{Add, Div, Max, Min, Mul, Sub};
    for dtype in DTYPES {
        let lanes = 16 / dtype.bytes();
        // Every pair of the twelve special values meets: both operands walk over them with different steps.
        let (mut body, mut at) = (Vec::new(), 0);
        for shift in 0..12 {
            body.push(load(0, 0, lanes, 1));
            body.push(load(1, shift, lanes, 1));
            for op in [Add, Sub, Mul, Div, Max, Min] {
                body.push(TileStmt::Op(Op::Binary { op, d: Reg(2), a: Reg(0), b: Reg(1) }));
                body.push(store(2, at, lanes, 1));
                at += lanes as i64;
            }
            body.push(TileStmt::Op(Op::Select { d: Reg(2), a: Reg(0), b: Reg(1), c: Reg(1), e: Reg(0) }));
            body.push(store(2, at, lanes, 1));
            at += lanes as i64;
        }
        let inner = TileLoop { extent: Extent::Count(12), steps: vec![(SRC, 1), (DST, at)], body };
        let body = vec![TileStmt::Loop(inner)];
        check(&straight(dtype, false, 3, body, 12 + 12 + lanes as i64, at * 12), 1);
    }
}

#[test]
fn constants_broadcasts_and_exponents() {
    for dtype in DTYPES {
        let lanes = 16 / dtype.bytes();
        let (mut body, mut at) = (Vec::new(), 0);
        for value in [0.0, -0.0, 1.0, 0.1, -3.0e38, 1e-45, 127.0, 8_388_608.0 + 130.0] {
            body.push(TileStmt::Op(Op::Const { d: Reg(0), value }));
            body.push(store(0, at, lanes, 1));
            body.push(TileStmt::Op(Op::Exponent { d: Reg(1), a: Reg(0) }));
            body.push(store(1, at + lanes as i64, lanes, 1));
            body.push(TileStmt::Op(Op::Broadcast { d: Reg(0), from: Address { ptr: SRC, offset: at } }));
            body.push(store(0, at + 2 * lanes as i64, lanes, 1));
            at += 3 * lanes as i64;
        }
        check(&straight(dtype, false, 2, body, at, at), 1);
    }
}

#[test]
fn products_and_sums_round_once_or_twice_as_the_kernel_says() {
    for dtype in DTYPES {
        for fma in [false, true] {
            if fma && !crate::native_target().fma {
                continue;
            }
            let lanes = 16 / dtype.bytes();
            let mut body = vec![load(2, 1, lanes, 1), load(0, 0, lanes, 1), load(1, 2, lanes, 1)];
            // The factors die in either order, or not at all.
            let fused = |d, a, b, c| TileStmt::Op(Op::Fma { d: Reg(d), a: Reg(a), b: Reg(b), c: Reg(c) });
            let binary = |op, d, a, b| TileStmt::Op(Op::Binary { op, d: Reg(d), a: Reg(a), b: Reg(b) });
            if fma {
                body.extend([fused(3, 0, 1, 2), fused(4, 1, 0, 3), fused(2, 0, 1, 4), fused(0, 0, 0, 2)]);
            } else {
                body.extend([binary(BinaryOp::Mul, 3, 0, 1), binary(BinaryOp::Add, 4, 3, 2)]);
                body.extend([binary(BinaryOp::Mul, 3, 4, 0), binary(BinaryOp::Add, 0, 3, 2)]);
            }
            body.extend((0..5).filter(|r| fma || *r != 3).map(|r| store(r, i64::from(r) * lanes as i64, lanes, 1)));
            let steps = vec![(SRC, 1), (DST, 5 * lanes as i64)];
            let body = vec![TileStmt::Loop(TileLoop { extent: Extent::Count(40), steps, body })];
            check(&straight(dtype, fma, 5, body, 60, 200 * lanes as i64), 1);
        }
    }
}

#[test]
fn short_and_strided_loads_and_stores() {
    for dtype in DTYPES {
        for lanes in 1..=16 / dtype.bytes() {
            for stride in [1, 2, 3, 7] {
                let stride = if lanes == 1 { 1 } else { stride };
                let body = vec![
                    load(0, 2, lanes, stride),
                    store(0, 0, 16 / dtype.bytes(), 1),
                    load(1, 1, 16 / dtype.bytes(), 1),
                    store(1, 5, lanes, stride),
                ];
                check(&straight(dtype, false, 2, body, 40, 40), 1);
            }
        }
    }
}

/// A one-dimensional convolution of one channel with a window of ones, as nests and ranges.
fn window_sum(dtype: DType, input: i64, kernel_size: i64, stride: i64, dilation: i64, pad: i64) -> Verified {
    let output = (input + 2 * pad - dilation * (kernel_size - 1) - 1) / stride + 1;
    let sum = TileLoop {
        extent: Extent::Range(0),
        steps: vec![(SRC, dilation)],
        body: vec![load(1, 0, 1, 1), TileStmt::Op(Op::Binary { op: BinaryOp::Add, d: Reg(0), a: Reg(0), b: Reg(1) })],
    };
    let body = vec![TileStmt::Op(Op::Const { d: Reg(0), value: 0.5 }), TileStmt::Loop(sum), store(0, 0, 1, 1)];
    let (n, o) = (Var(1), Var(2));
    let position = Affine::var(o, stride);
    let divided = |numerator: Affine| CeilDiv { numerator, divisor: dilation };
    let taps = Range {
        lo: vec![CeilDiv::constant(0), divided(number(pad).plus_scaled(&position, -1))],
        hi: vec![CeilDiv::constant(kernel_size), divided(number(pad + input).plus_scaled(&position, -1))],
    };
    let src = position.offset(-pad).plus(n, input);
    let inner = Loop {
        var: o,
        range: Range::count(output),
        parallel: false,
        body: vec![call(src, Affine::var(n, output).plus(o, 1), vec![taps])],
    };
    let range = Range::of(number(0), Affine::var(Var::BATCH, 1));
    let nests = vec![nest(1, range, vec![Stmt::For(inner)])];
    let lengths = [Affine::var(Var::BATCH, input), Affine::var(Var::BATCH, output)];
    kernel(dtype, false, tile(2, &["k"], body), nests, lengths, &["N", "n", "o"])
}

#[test]
fn ranges_that_are_empty_or_start_outside() {
    for dtype in DTYPES {
        for (input, kernel_size, stride, dilation, pad) in
            [(9, 3, 1, 1, 1), (9, 3, 2, 1, 0), (5, 4, 1, 3, 11), (3, 2, 3, 5, 9), (7, 3, 2, 2, 6), (1, 1, 1, 4, 3)]
        {
            let kernel = window_sum(dtype, input, kernel_size, stride, dilation, pad);
            (0..4).for_each(|batch| check(&kernel, batch));
        }
    }
}

#[test]
fn bounds_round_up_on_both_sides_of_zero() {
    for divisor in [1, 2, 3, 4, 7] {
        let (n, o) = (Var(1), Var(2));
        let bound = |from: i64| CeilDiv { numerator: Affine::var(n, 1).offset(from), divisor };
        let range = Range { lo: vec![bound(-11), CeilDiv::constant(-9)], hi: vec![bound(-2), CeilDiv::constant(3)] };
        let dst = Affine::var(n, 13).plus(o, 1).offset(9);
        let inner = Loop { var: o, range, parallel: false, body: vec![call(Affine::var(n, 1), dst, vec![])] };
        let nests = vec![nest(1, Range::count(12), vec![Stmt::For(inner)])];
        let tile = tile(1, &[], vec![load(0, 0, 1, 1), store(0, 0, 1, 1)]);
        let lengths = [number(12), number(12 * 13)];
        check(&kernel(DType::F32, false, tile, nests, lengths, &["N", "n", "o"]), 1);
    }
}

#[test]
fn sizes_are_checked_before_anything_runs() {
    let program = Program::compile(&window_sum(DType::F32, 9, 3, 1, 1, 1)).unwrap();
    let mut dst = [7.0f32; 18];
    let run = |src: &[f32], dst: &mut [f32], batch| {
        program.run(batch, Buffers { src, weights: &[], bias: &[], dst, scratch: &mut [] }, &Serial)
    };
    let error = run(&[0.0; 17], &mut dst, 2).unwrap_err();
    assert_eq!(error.to_string(), "src has 17 elements, and the kernel needs 18 at batch size 2");
    let error = run(&[0.0; 18], &mut dst[1..], 2).unwrap_err();
    assert_eq!(error.to_string(), "dst has 17 elements, and the kernel needs 18 at batch size 2");
    assert!(matches!(run(&[0.0; 18], &mut dst, usize::MAX), Err(JitError::Length { .. })));
    assert_eq!(dst, [7.0; 18]);
    let buffers = Buffers { src: &[0.0f64; 18], weights: &[], bias: &[], dst: &mut [0.0; 18], scratch: &mut [] };
    let error = program.run(2, buffers, &Serial).unwrap_err();
    assert_eq!(error.to_string(), "kernel test computes in f32, and the data are f64");
}

#[test]
fn an_executor_that_does_nothing_or_too_much_is_harmless() {
    struct Never;
    impl Executor for Never {
        fn threads(&self) -> usize {
            usize::MAX
        }
        fn broadcast(&self, _: &(dyn Fn() + Sync)) {}
    }
    struct Twice;
    impl Executor for Twice {
        fn threads(&self) -> usize {
            2
        }
        fn broadcast(&self, work: &(dyn Fn() + Sync)) {
            work();
            work();
        }
    }
    let program = Program::compile(&window_sum(DType::F32, 9, 3, 1, 1, 1)).unwrap();
    let src: Vec<f32> = (0..36).map(|i| i as f32).collect();
    let run = |executor: &dyn Executor| {
        let mut dst = [f32::NAN; 36];
        let buffers = Buffers { src: &src, weights: &[], bias: &[], dst: &mut dst, scratch: &mut [] };
        program.run(4, buffers, executor).unwrap();
        dst
    };
    assert_eq!(run(&Never), run(&Serial));
    assert_eq!(run(&Twice), run(&Serial));
    assert_eq!(run(&Serial)[0], 1.5);
}

#[test]
fn other_instruction_sets_are_refused_by_name() {
    for isa in [Isa::Avx512, Isa::Avx2] {
        let mut kernel = Kernel::clone(&window_sum(DType::F32, 9, 3, 1, 1, 1));
        kernel.isa = isa;
        let error = Program::compile_kernel(&kernel).unwrap_err();
        assert!(matches!(&error, JitError::Isa { isa: name, .. } if *name == isa.name()), "{error}");
    }
}

#[test]
fn distances_past_64_bits_are_refused() {
    let mut kernel = Kernel::clone(&straight(DType::F64, false, 1, vec![load(0, 0, 1, 1), store(0, 0, 1, 1)], 1, 1));
    kernel.tiles[0].body[0] = load(0, i64::MAX / 4, 1, 1);
    assert!(matches!(Program::compile_kernel(&kernel), Err(JitError::Offset { .. })));
}
