//! Machine code against the interpreter, bit for bit, on kernels made by hand.

use convoke_core::target::{Isa, Target};

use super::{Buffers, DType, Element, Executor, JitError, Kernel, Program, Serial, Verified};
use crate::handmade::{Case, Kind, WINDOWS, load, special, store};

/// What this CPU can run, for both element types.
fn runnable() -> Vec<Kind> {
    let targets = [Target::PORTABLE, Target::SSE, Target::SSE_FMA, Target::AVX2, Target::AVX512, Target::NEON];
    let kinds =
        targets.iter().flat_map(|t| [DType::F32, DType::F64].map(|dtype| Kind { isa: t.isa, fma: t.fma, dtype }));
    kinds.filter(|kind| is_runnable(*kind)).collect()
}

fn is_runnable(kind: Kind) -> bool {
    match Program::compile(&kind.window_sum(WINDOWS[0])) {
        Ok(_) => true,
        Err(JitError::Isa { .. } | JitError::Feature { .. }) => false,
        Err(e) => panic!("{kind:?}: {e}"),
    }
}

/// One of them.
fn any() -> Kind {
    runnable()[0]
}

/// Runs the kernel both ways, on one thread and on three.
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
    let case = Case::<T>::new(kernel, batch, special);
    for executor in [&Serial as &dyn Executor, &Scoped(3)] {
        let mut dst = case.fresh.clone();
        let buffers = Buffers { src: &case.src, weights: &[], bias: &[], dst: &mut dst, scratch: &mut [] };
        program.run(batch, buffers, executor).unwrap();
        if let Err(why) = case.compare(&dst) {
            panic!("{why}:\n{}", crate::clif::asm_text(kernel).unwrap());
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

#[test]
fn every_kernel_on_every_instruction_set_that_runs_here() {
    for kind in runnable() {
        for kernel in kind.kernels() {
            check(&kernel, 2);
        }
    }
}

#[test]
fn every_instruction_set_of_this_machine_is_among_them() {
    let native = crate::native_target();
    assert!(runnable().iter().any(|kind| (kind.isa, kind.fma) == (native.isa, native.fma)));
}

#[test]
fn batches_of_ranges_that_are_empty_or_start_outside() {
    for kind in runnable() {
        for window in WINDOWS {
            let kernel = kind.window_sum(window);
            (0..4).for_each(|batch| check(&kernel, batch));
        }
    }
}

#[test]
fn bounds_round_up_on_both_sides_of_zero() {
    for divisor in [1, 2, 3, 4, 7] {
        check(&any().bounds_of_loops(divisor), 1);
    }
}

#[test]
fn sizes_are_checked_before_anything_runs() {
    let program = Program::compile(&any().window_sum(WINDOWS[0])).unwrap();
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
    let program = Program::compile(&any().window_sum(WINDOWS[0])).unwrap();
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
    let others: &[Isa] = if cfg!(target_arch = "x86_64") { &[Isa::Neon] } else { &[Isa::Avx512, Isa::Avx2, Isa::Sse] };
    for &isa in others {
        let mut kernel = Kernel::clone(&any().window_sum(WINDOWS[0]));
        kernel.isa = isa;
        let error = Program::compile_kernel(&kernel).unwrap_err();
        assert!(matches!(&error, JitError::Isa { isa: name, .. } if *name == isa.name()), "{error}");
    }
}

#[test]
fn distances_past_64_bits_are_refused() {
    for kind in runnable() {
        let mut kernel = Kernel::clone(&kind.straight(1, vec![load(0, 0, 1, 1), store(0, 0, 1, 1)], 1, 1));
        kernel.tiles[0].body[0] = load(0, i64::MAX / 2, 1, 1);
        assert!(matches!(Program::compile_kernel(&kernel), Err(JitError::Offset { .. })));
    }
}
