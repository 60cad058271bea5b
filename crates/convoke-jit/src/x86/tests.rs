//! Machine code in the simulator against the interpreter, bit for bit, on kernels made by hand and on whole layers.

use std::collections::HashMap;

use convoke_core::eval::{from_bytes, interp, to_bytes};
use convoke_core::ir::{Loop, Role, Stmt, Verified};
use convoke_core::pipeline;
use convoke_core::span::{Span, Spanned};
use convoke_core::spec::{Batch, DType, Limits, Storage, VectorAxis, arbitrary};
use convoke_core::target::{Isa, Target};
use convoke_simulator::{Function, Lane, Region};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use super::{text, tile};
use crate::handmade::{self, Case, Kind, load, same_elements, special, store};

#[test]
fn kernels_made_by_hand() {
    for isa in [Isa::Avx2, Isa::Avx512] {
        for dtype in [DType::F32, DType::F64] {
            let kind = Kind { isa, fma: true, dtype };
            for (number, kernel) in kind.kernels().iter().enumerate() {
                if let Err(why) = check(kernel, 2, special) {
                    panic!("kernel {number} of {kind:?}: {why}\n{}", text(kernel, &kernel.tiles[0]).unwrap());
                }
            }
        }
    }
}

#[test]
fn gathers() {
    for (isa, registers) in [(Isa::Avx2, 3), (Isa::Avx2, 16), (Isa::Avx512, 3), (Isa::Avx512, 32)] {
        let kernel = handmade::gathers(isa, registers);
        let checked = check(&kernel, 1, handmade::gathered);
        checked.unwrap_or_else(|why| panic!("{why}\n{}", text(&kernel, &kernel.tiles[0]).unwrap()));
    }
}

#[test]
fn random_deformable_layers() {
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    let layers = (arbitrary::deformable_spec(), any::<u64>());
    let result = TestRunner::new(config).run(&layers, |(spec, seed)| {
        for target in [Target::AVX2, Target::AVX512] {
            let kernel = pipeline::compile(&spec, &target, &Limits::default()).unwrap().kernel;
            let batch = spec.fixed_batch().unwrap_or(2);
            let mut state = seed | 1;
            let value = |_: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f64 / f64::from(1 << 21) - 4.0
            };
            check(&kernel, batch, value).map_err(|why| TestCaseError::fail(format!("{why}\n{spec}")))?;
        }
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(TestError::Abort(why)) => panic!("gave up: {why}"),
    }
}

#[test]
fn an_access_outside_of_its_buffer_names_the_instruction() {
    let kind = Kind { isa: Isa::Avx512, fma: true, dtype: DType::F32 };
    let kernel = kind.straight(1, vec![load(0, 1, 5, 1), store(0, 0, 5, 1)], 6, 5);
    let mut case = Case::<f32>::new(&kernel, 1, special);
    assert_eq!(check_as(&kernel, &case), Ok(()));
    case.src.pop();
    let why = check_as(&kernel, &case).unwrap_err();
    assert!(why.contains("`vmovups zmm0{k1}{z},[rdi+4]`"), "{why}");
    assert!(why.ends_with("reads 4 bytes at 20 of the 20 of src"), "{why}");
}

#[test]
fn random_layers() {
    let config = Config { cases: 800, failure_persistence: None, ..Config::default() };
    let vector = proptest::option::of(proptest::sample::select(VectorAxis::ALL));
    let layers = (arbitrary::layer_spec(), vector, any::<u64>());
    let result = TestRunner::new(config).run(&layers, |(mut spec, vector, seed)| {
        for target in [Target::AVX2, Target::AVX512] {
            // Also what the planner would not choose, where it can be had.
            spec.schedule.vector = vector.map(|axis| Spanned::new(axis, Span::default()));
            let compiled = pipeline::compile(&spec, &target, &Limits::default()).or_else(|_| {
                spec.schedule.vector = None;
                pipeline::compile(&spec, &target, &Limits::default())
            });
            let kernel = compiled.unwrap().kernel;
            let batch = match spec.batch {
                Batch::Fixed(n) => n,
                Batch::Named(_) => 2,
            };
            let mut state = seed | 1;
            let value = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 44) as f64 / f64::from(1 << 18) - 2.0
            };
            let fail = |why| TestCaseError::fail(format!("{}: {why}\nseed {seed} and\n{spec}", kernel.name));
            check(&kernel, batch, value).map_err(fail)?;
        }
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(TestError::Abort(why)) => panic!("gave up: {why}"),
    }
}

/// Layers of integers, whose buffers have types of their own.
#[test]
fn random_layers_of_integers() {
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let vector = proptest::option::of(proptest::sample::select(VectorAxis::ALL));
    let layers = (arbitrary::integer_spec(), vector, any::<u64>());
    let result = TestRunner::new(config).run(&layers, |(mut spec, vector, seed)| {
        spec.schedule.vector = vector.map(|axis| Spanned::new(axis, Span::default()));
        for target in [Target::AVX2, Target::AVX512, Target::AVX2_VNNI, Target::AVX512_VNNI] {
            let kernel = pipeline::compile(&spec, &target, &Limits::default()).unwrap().kernel;
            let batch = spec.fixed_batch().unwrap_or(2);
            let fail = |why| TestCaseError::fail(format!("{}: {why}\nseed {seed} and\n{spec}", kernel.name));
            check_bytes(&kernel, batch, seed).map_err(fail)?;
        }
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(TestError::Abort(why)) => panic!("gave up: {why}"),
    }
}

/// Layers of halves, on halves of all kinds.
#[test]
fn random_layers_of_halves() {
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let vector = proptest::option::of(proptest::sample::select(VectorAxis::ALL));
    let result =
        TestRunner::new(config).run(&(arbitrary::half_spec(), vector, any::<u64>()), |(mut spec, vector, seed)| {
            for target in [Target::AVX2, Target::AVX512] {
                spec.schedule.vector = vector.map(|axis| Spanned::new(axis, Span::default()));
                let compiled = pipeline::compile(&spec, &target, &Limits::default()).or_else(|_| {
                    spec.schedule.vector = None;
                    pipeline::compile(&spec, &target, &Limits::default())
                });
                let kernel = compiled.unwrap().kernel;
                let fail = |why| TestCaseError::fail(format!("{}: {why}\nseed {seed} and\n{spec}", kernel.name));
                check_bytes(&kernel, spec.fixed_batch().unwrap_or(2), seed).map_err(fail)?;
            }
            Ok(())
        });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, _)) => panic!("{why}"),
        Err(TestError::Abort(why)) => panic!("gave up: {why}"),
    }
}

#[test]
fn every_half() {
    for (isa, storage) in
        [Isa::Avx2, Isa::Avx512].into_iter().flat_map(|isa| [(isa, Storage::F16), (isa, Storage::Bf16)])
    {
        for kernel in handmade::halves(isa, storage) {
            let src = handmade::halves_src(&kernel);
            let bytes = kernel.buffers[1].len.constant as usize * kernel.storage(Role::Dst).bytes();
            let mut dst = vec![0x11; bytes];
            let mut machine = Machine::new(&kernel, 1).unwrap();
            machine.place_bytes(Role::Src, src.clone(), 2);
            machine.place_bytes(Role::Dst, dst.clone(), 2);
            for nest in &kernel.nests {
                machine.repeat(&nest.outer).unwrap_or_else(|why| panic!("{why}\n{kernel:?}"));
            }
            let mut buffers = interp::Buffers { src: &src, dst: &mut dst, ..interp::Buffers::default() };
            interp::run_bytes(&kernel, 1, &mut buffers).unwrap();
            let same = same_elements(kernel.storage(Role::Dst), machine.bytes(Role::Dst), &dst);
            same.unwrap_or_else(|why| {
                panic!("{storage:?} on {isa:?}: {why}\n{}", text(&kernel, &kernel.tiles[0]).unwrap())
            });
        }
    }
}

/// The simulator against the interpreter on any bytes at all, but for factors that are no numbers.
fn check_bytes(kernel: &Verified, batch: usize, seed: u64) -> Result<(), String> {
    let mut state = seed | 1;
    let mut fill = |role: Role| {
        let buffer = kernel.buffers.iter().find(|b| b.role == role);
        let bytes = buffer.map_or(0, |b| b.len.eval(&[batch as i64]) as usize * b.storage.bytes());
        let byte = |at: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let byte = (state >> 56) as u8;
            // Beside halves, floats of middling size.
            let is_float = kernel.storage(Role::Src).is_half() && matches!(role, Role::Weights | Role::Bias);
            match at % 4 {
                3 if is_float => byte & 0x80 | 0x3f,
                3 if role == Role::Bias => byte & 0x3f,
                _ => byte,
            }
        };
        (0..bytes).map(byte).collect::<Vec<u8>>()
    };
    let [src, weights, bias, residual, offset, mask, positions, mut dst, mut indices, mut scratch, mut local] =
        Role::ALL.map(&mut fill);
    let mut machine = Machine::new(kernel, batch)?;
    let all = [&src, &weights, &bias, &residual, &offset, &mask, &positions, &dst, &indices, &scratch, &local];
    for (role, bytes) in Role::ALL.into_iter().zip(all) {
        machine.place_bytes(role, bytes.clone(), 1);
    }
    for nest in &kernel.nests {
        machine.repeat(&nest.outer)?;
    }
    let (found, found_indices) = (machine.bytes(Role::Dst), machine.bytes(Role::Indices));
    let mut buffers = interp::Buffers {
        src: &src,
        weights: &weights,
        bias: &bias,
        residual: &residual,
        offset: &offset,
        mask: &mask,
        positions: &positions,
        dst: &mut dst,
        indices: &mut indices,
        scratch: &mut scratch,
        local: &mut local,
    };
    interp::run_bytes(kernel, batch, &mut buffers).map_err(|e| e.to_string())?;
    same_elements(Storage::I32, found_indices, &indices)?;
    same_elements(kernel.storage(Role::Dst), found, &dst)
}

fn check(kernel: &Verified, batch: usize, value: impl FnMut(usize) -> f64) -> Result<(), String> {
    match kernel.dtype {
        DType::F32 => check_as::<f32>(kernel, &Case::new(kernel, batch, value)),
        DType::F64 => check_as::<f64>(kernel, &Case::new(kernel, batch, value)),
    }
}

fn check_as<T: Lane>(kernel: &Verified, case: &Case<T>) -> Result<(), String> {
    let mut machine = Machine::new(kernel, case.batch)?;
    machine.place(Role::Src, &case.src);
    machine.place(Role::Weights, &case.weights);
    machine.place(Role::Bias, &case.bias);
    machine.place(Role::Residual, &case.residual);
    machine.place(Role::Offset, &case.offset);
    machine.place(Role::Mask, &case.mask);
    machine.place(Role::Dst, &case.fresh);
    machine.place(Role::Scratch, &case.scratch);
    machine.place(Role::Local, &case.local);
    for nest in &kernel.nests {
        machine.repeat(&nest.outer)?;
    }
    case.compare(&from_bytes::<T>(machine.bytes(Role::Dst)))
}

/// Walks nests, and has the simulator run the tiles.
struct Machine<'k> {
    kernel: &'k Verified,
    functions: Vec<Function>,
    memory: Vec<Region>,
    /// Where each buffer starts.
    start: HashMap<Role, u64>,
    values: Vec<i64>,
}

impl<'k> Machine<'k> {
    /// With the code of every tile.
    fn new(kernel: &'k Verified, batch: usize) -> Result<Self, String> {
        let mut functions = Vec::new();
        for tile in &kernel.tiles {
            let code = tile::assemble(kernel, tile, false).map_err(|e| e.to_string())?;
            functions.push(Function::new(&code.bytes, code.code_len)?);
        }
        let mut values = vec![0; kernel.vars.len()];
        values[0] = batch as i64;
        Ok(Self { kernel, functions, memory: Vec::new(), start: HashMap::new(), values })
    }

    /// What a buffer holds.
    fn bytes(&self, role: Role) -> &[u8] {
        &self.memory.iter().find(|r| r.name == role.name()).unwrap().bytes
    }

    /// Buffers lie far apart, aligned to an element only.
    fn place<T: Lane>(&mut self, role: Role, data: &[T]) {
        self.place_bytes(role, to_bytes(data), T::BYTES);
    }

    fn place_bytes(&mut self, role: Role, bytes: Vec<u8>, element: usize) {
        let start = 0x1000_0000_0000 * (self.memory.len() as u64 + 1) + 3 * element as u64;
        self.memory.push(Region { name: role.name(), start, bytes, is_written: role.is_written() });
        self.start.insert(role, start);
    }

    fn repeat(&mut self, l: &'k Loop) -> Result<(), String> {
        for i in l.range.eval(&self.values) {
            self.values[l.var.0 as usize] = i;
            for stmt in &l.body {
                let call = match stmt {
                    Stmt::For(inner) => {
                        self.repeat(inner)?;
                        continue;
                    }
                    Stmt::Call(call) => call,
                };
                let pointer = |a: &convoke_core::ir::Arg| {
                    let bytes = self.kernel.storage(a.role).bytes() as i64;
                    self.start[&a.role].wrapping_add_signed(a.offset.eval(&self.values).wrapping_mul(bytes))
                };
                let ranges = call.ranges.iter().map(|r| r.eval(&self.values));
                let ends = ranges.flat_map(|r| [r.start as u64, r.end as u64]);
                let arguments: Vec<u64> = call.args.iter().map(pointer).chain(ends).collect();
                let name = &self.kernel.tiles[call.tile].name;
                let ran = self.functions[call.tile].call(&mut self.memory, &arguments);
                ran.map_err(|why| format!("{name} with {arguments:x?}: {why}"))?;
            }
        }
        Ok(())
    }
}
