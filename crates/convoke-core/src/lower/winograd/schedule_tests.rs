//! Schedules as tiles, run by the interpreter.

use super::*;
use crate::eval::Element;
use crate::eval::interp::{self, Buffers};
use crate::ir::{
    Address, Affine, Arg, Buffer, Call, Extent, Kernel, Loop, Nest, Op, Ptr, Range, Role, Stmt, Tile, TileStmt, Var,
    verify,
};
use crate::lower::winograd::{LEAST_REGISTERS, all, transforms};
use crate::target::Isa;

const VECTORS: usize = 3;
/// Elements in [`VECTORS`] of the shortest vectors.
const LEAST_ROW: usize = 2 * VECTORS;

/// A kernel that applies `schedule` to [`VECTORS`] vectors of each input, one after the other.
fn kernel<T: Element>(program: &LinearProgram, schedule: &Schedule, isa: Isa, fma: bool) -> Kernel {
    let lanes = (isa.vector_bytes() / T::DTYPE.bytes()) as i64;
    let row = lanes * VECTORS as i64;
    let mut e = Emitter::new(T::DTYPE, fma);
    let (src, dst) = (Ptr(0), Ptr(1));
    let at = |ptr: Ptr, i: usize| Address { ptr, offset: i as i64 * row };
    schedule.prologue(&mut e);
    e.repeat(Extent::Count(VECTORS as u64), &[(src, lanes), (dst, lanes)], |e| {
        let load = &mut |e: &mut Emitter, input: usize, d: Reg| e.load(d, at(src, input), lanes as usize, 1);
        let store = &mut |e: &mut Emitter, output: usize, s: Reg| e.store(at(dst, output), s, lanes as usize, 1);
        schedule.body(e, load, store);
    });
    let (body, registers) = e.finish();
    let pointers = vec!["src".to_owned(), "dst".to_owned()];
    let tile = Tile { name: "transform".to_owned(), pointers, ranges: Vec::new(), registers, body };
    let arg = |role| Arg { role, offset: Affine::constant(0) };
    let call = Stmt::Call(Call { tile: 0, args: vec![arg(Role::Src), arg(Role::Dst)], ranges: Vec::new() });
    let outer = Loop { var: Var(1), range: Range::count(1), parallel: false, body: vec![call] };
    let buffer =
        |role, rows: usize| Buffer { role, storage: T::DTYPE.storage(), len: Affine::constant(rows as i64 * row) };
    Kernel {
        name: "transform".to_owned(),
        dtype: T::DTYPE,
        isa,
        fma,
        vnni: false,
        buffers: vec![buffer(Role::Src, program.inputs), buffer(Role::Dst, program.outputs.len())],
        vars: vec!["N".to_owned(), "i".to_owned()],
        tiles: vec![tile],
        nests: vec![Nest { label: "transform".to_owned(), outer }],
    }
}

/// Some elements of each output, and how many constants the loop sets.
fn run<T: Element>(program: &LinearProgram, registers: Registers, isa: Isa, fma: bool) -> (Vec<T>, usize) {
    let schedule = Schedule::new(program, registers, fma).expect("there are enough registers");
    let kernel = kernel::<T>(program, &schedule, isa, fma);
    assert!(kernel.tiles[0].registers <= registers.first as usize + registers.count);
    let row = kernel.lanes() * VECTORS;
    let set = kernel.tiles[0].body.iter().map(|stmt| match stmt {
        TileStmt::Loop(l) => l.body.iter().filter(|stmt| matches!(stmt, TileStmt::Op(Op::Const { .. }))).count(),
        TileStmt::Op(_) => 0,
    });
    let set = set.sum();
    let kernel = verify(kernel).unwrap_or_else(|e| panic!("{e}"));
    let src: Vec<T> = (0..program.inputs * row).map(|i| element(i / row, i % row)).collect();
    let mut dst = vec![T::default(); program.outputs.len() * row];
    interp::run(&kernel, 1, &mut Buffers { src: &src, dst: &mut dst, ..Buffers::default() }).expect("it runs");
    for i in 0..row {
        let x: Vec<f64> = (0..program.inputs).map(|input| element::<T>(input, i).to_f64()).collect();
        for (output, exact) in program.apply(&x).into_iter().enumerate() {
            let found = dst[output * row + i].to_f64();
            let bound = 600.0 * T::UNIT_ROUNDOFF;
            assert!((found - exact).abs() < bound, "output {output} of {i}: {found} is not {exact}");
        }
    }
    (dst.chunks(row).flat_map(|output| output[..LEAST_ROW].to_vec()).collect(), set)
}

/// Element `i` of an input, in -1..1.
fn element<T: Element>(input: usize, i: usize) -> T {
    let hash = ((input * 1000 + i + 1) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    T::from_f64((hash >> 11) as f64 / f64::powi(2.0, 52) - 1.0)
}

/// Those that transform windows of three.
const OF_THREE: [(usize, usize); 4] = [(2, 3), (4, 3), (5, 3), (6, 3)];

/// The programs of some F(m, r), that of the input first.
fn programs(of: impl IntoIterator<Item = (usize, usize)>) -> Vec<(String, LinearProgram)> {
    let both = |(m, taps)| {
        let t = transforms(m, taps);
        let name = |what| format!("{what} of F({m}, {taps})");
        [(name("input"), t.input.clone()), (name("output"), t.output.clone())]
    };
    of.into_iter().flat_map(both).collect()
}

fn check<T: Element>(name: &str, program: &LinearProgram) {
    for fma in [false, true] {
        let mut bits: Option<Vec<u64>> = None;
        let mut same = |results: Vec<T>, count: usize| {
            let found: Vec<u64> = results.into_iter().map(Element::bits).collect();
            let expected = bits.get_or_insert_with(|| found.clone());
            assert_eq!(*expected, found, "{name} with {count} registers, fma {fma}");
        };
        for isa in [Isa::Sse, Isa::Avx2, Isa::Avx512] {
            for count in [9, 14, 15, 16] {
                let (results, _) = run::<T>(program, Registers { first: 0, count }, isa, fma);
                same(results, count);
            }
        }
        let (results, set) = run::<T>(program, Registers { first: 1, count: 31 }, Isa::Avx512, fma);
        assert_eq!(set, 0, "{name} has room for all constants");
        same(results, 31);
    }
}

#[test]
fn any_number_of_registers_gives_the_same_bits() {
    for (name, program) in programs(all()) {
        check::<f32>(&name, &program);
        check::<f64>(&name, &program);
    }
}

#[test]
fn outputs_that_are_inputs_are_copied() {
    let program = LinearProgram { inputs: 3, steps: vec![Step::Add(0, 1)], outputs: vec![2, 3, 0, 3] };
    check::<f32>("copies", &program);
}

#[test]
fn too_few_registers_are_refused() {
    for fma in [false, true] {
        let fits = |program: &LinearProgram, count: usize| {
            Schedule::new(program, Registers { first: 0, count }, fma).is_some()
        };
        let least = |program: &LinearProgram| (0..32).find(|&count| fits(program, count)).unwrap_or(32);
        let of_three: Vec<_> = programs(OF_THREE).iter().map(|(_, program)| least(program)).collect();
        assert_eq!(of_three, [3, 3, 6, 6, 8, 8, 9, 8]);
        for (name, program) in programs(all()) {
            assert!(least(&program) <= LEAST_REGISTERS, "{name} takes {} registers", least(&program));
        }
    }
}

#[test]
fn constants_set_in_the_loop() {
    let set = |count: usize, fma: bool| -> Vec<usize> {
        let registers = Registers { first: 0, count };
        programs(OF_THREE).iter().map(|(_, program)| run::<f32>(program, registers, Isa::Avx512, fma).1).collect()
    };
    let found = [(14, false), (14, true), (15, true), (16, true)].map(|(count, fma)| set(count, fma));
    let expected =
        [[0, 0, 0, 0, 9, 6, 3, 0], [0, 0, 0, 0, 9, 5, 3, 0], [0, 0, 0, 0, 8, 4, 2, 0], [0, 0, 0, 0, 7, 3, 1, 0]];
    assert_eq!(found, expected);
}
