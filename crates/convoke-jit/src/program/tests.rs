//! Machine code against the interpreter, bit for bit, on kernels made by hand.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use convoke_core::target::{Isa, Target};

use super::{Buffers, DType, Element, Executor, JitError, Kernel, Ordering, Program, Role, Serial, Verified, share};
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

/// Runs the kernel both ways, on one thread and on more.
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
    for executor in [&Serial as &dyn Executor, &SCOPED, &Scoped { said: 2, called: 2 }] {
        let mut dst = case.fresh.clone();
        let mut local = local(&program, executor.threads());
        let buffers = Buffers { src: &case.src, dst: &mut dst, local: &mut local, ..Buffers::default() };
        program.run(batch, buffers, executor).unwrap();
        if let Err(why) = case.compare(&dst) {
            panic!("{why}:\n{}", crate::clif::asm_text(kernel).unwrap());
        }
    }
}

/// Local buffers for `threads` threads, with what no kernel writes in them.
fn local<T: Element>(program: &Program, threads: usize) -> Vec<T> {
    vec![T::from_f64(-77.0); usize::try_from(program.local_len(threads)).unwrap()]
}

/// New threads each time: as many as it says, or not.
struct Scoped {
    said: usize,
    called: usize,
}

const SCOPED: Scoped = Scoped { said: 3, called: 3 };

impl Executor for Scoped {
    fn threads(&self) -> usize {
        self.said
    }

    fn broadcast(&self, work: &(dyn Fn() + Sync)) {
        std::thread::scope(|scope| (0..self.called).for_each(|_| drop(scope.spawn(work))));
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
    let run =
        |src: &[f32], dst: &mut [f32], batch| program.run(batch, Buffers { src, dst, ..Buffers::default() }, &Serial);
    let error = run(&[0.0; 17], &mut dst, 2).unwrap_err();
    assert_eq!(error.to_string(), "src has 17 elements, and the kernel needs 18 at batch size 2");
    let error = run(&[0.0; 18], &mut dst[1..], 2).unwrap_err();
    assert_eq!(error.to_string(), "dst has 17 elements, and the kernel needs 18 at batch size 2");
    assert!(matches!(run(&[0.0; 18], &mut dst, usize::MAX), Err(JitError::Length { .. })));
    assert_eq!(dst, [7.0; 18]);
    let buffers = Buffers { src: &[0.0f64; 18], dst: &mut [0.0; 18], ..Buffers::default() };
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
        let buffers = Buffers { src: &src, dst: &mut dst, ..Buffers::default() };
        program.run(4, buffers, executor).unwrap();
        dst
    };
    assert_eq!(run(&Never), run(&Serial));
    assert_eq!(run(&Twice), run(&Serial));
    assert_eq!(run(&Serial)[0], 1.5);
}

#[test]
fn no_executor_makes_two_threads_use_one_local_buffer() {
    for kind in runnable() {
        let kernel = kind.shifted_in_local();
        match kind.dtype {
            DType::F32 => check_local::<f32>(&kernel),
            DType::F64 => check_local::<f64>(&kernel),
        }
    }
}

fn check_local<T: Element>(kernel: &Verified) {
    let program = Program::compile(kernel).unwrap();
    let case = Case::<T>::new(kernel, 4, special);
    let scoped = |said, called| Scoped { said, called };
    let few = [scoped(1, 1), scoped(1, 6), scoped(2, 0), scoped(2, 1), scoped(2, 2)];
    let many = [scoped(2, 9), scoped(3, 1), scoped(3, 3), scoped(3, 12), scoped(200, 2), scoped(0, 3)];
    for executor in few.iter().chain(&many) {
        for _ in 0..5 {
            let mut dst = case.fresh.clone();
            let mut local = local(&program, executor.said);
            let buffers = Buffers { src: &case.src, dst: &mut dst, local: &mut local, ..Buffers::default() };
            program.run(4, buffers, executor).unwrap();
            if let Err(why) = case.compare(&dst) {
                panic!("{} calls on {} threads: {why}", executor.called, executor.said);
            }
        }
    }
}

#[test]
fn local_buffers_are_as_many_as_threads_and_start_on_cache_lines() {
    let kernel = Kind { dtype: DType::F32, ..any() }.shifted_in_local();
    let program = Program::compile(&kernel).unwrap();
    let lanes = kernel.lanes();
    let (len, stride) = (64 + lanes, (64 + lanes).next_multiple_of(16));
    assert_eq!(program.len(Role::Local, 9), len as i128);
    let expected = [len, len, stride + len, 2 * stride + len].map(|n| n as i128);
    assert_eq!([0, 1, 2, 3].map(|threads| program.local_len(threads)), expected);
    assert_eq!(program.local_len(usize::MAX), (usize::MAX as i128 - 1) * stride as i128 + len as i128);

    let case = Case::<f32>::new(&kernel, 1, |i| i as f64);
    let run = |local: &mut [f32], executor: &dyn Executor| {
        let mut dst = case.fresh.clone();
        let result = program.run(1, Buffers { src: &case.src, dst: &mut dst, local, ..Buffers::default() }, executor);
        match result {
            Ok(()) => case.compare(&dst).unwrap(),
            Err(_) => assert_eq!(dst, case.fresh),
        }
        result.map_err(|e| e.to_string())
    };
    for (threads, executor) in [(1, &Serial as &dyn Executor), (3, &SCOPED)] {
        let needed = program.local_len(threads) as usize;
        let message = format!("local has {} elements, and the kernel needs {needed} on {threads} threads", needed - 1);
        assert_eq!(run(&mut vec![0.0; needed - 1], executor), Err(message));
        let mut local = vec![-77.0; needed + 40];
        run(&mut local, executor).unwrap();
        // Nothing is written between two local buffers, nor behind the last.
        let is_between = |i: &usize| *i >= needed || i % stride >= len;
        assert!((0..needed + 40).filter(is_between).all(|i| local[i] == -77.0), "{threads} threads");
    }
    let endless = Scoped { said: usize::MAX, called: 1 };
    assert!(run(&mut local(&program, 3), &endless).unwrap_err().starts_with("local has"));
}

#[test]
fn no_slot_is_used_twice_at_a_time_and_every_piece_is_done_once() {
    for (said, called) in [(3, 3), (3, 12), (3, 1), (2, 0), (2, 2), (1, 5), (40, 8), (usize::MAX, 4)] {
        let busy: Vec<AtomicBool> = (0..30).map(|_| AtomicBool::new(false)).collect();
        let done: Vec<AtomicUsize> = (0..30).map(|_| AtomicUsize::new(0)).collect();
        let run = |slot: usize, part: std::ops::Range<i64>| {
            assert!(slot < said && !busy[slot].swap(true, Ordering::SeqCst), "slot {slot} of {said}");
            std::thread::sleep(Duration::from_micros(200));
            part.for_each(|i| _ = done[(i + 7) as usize].fetch_add(1, Ordering::SeqCst));
            busy[slot].store(false, Ordering::SeqCst);
        };
        share(-7..23, said, &Scoped { said, called }, &run);
        let done: Vec<usize> = done.into_iter().map(AtomicUsize::into_inner).collect();
        assert_eq!(done, [1; 30], "{called} calls on {said} threads");
    }
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

#[test]
fn gathers_leave_out_what_is_not_there() {
    for kind in runnable().into_iter().filter(|kind| kind.dtype == DType::F32) {
        let kernel = crate::handmade::gathers(kind.isa, 3);
        let program = Program::compile(&kernel).unwrap();
        let case = Case::<f32>::new(&kernel, 1, crate::handmade::gathered);
        let mut dst = case.fresh.clone();
        let buffers = Buffers { src: &case.src, weights: &case.weights, dst: &mut dst, ..Buffers::default() };
        program.run(1, buffers, &Serial).unwrap();
        case.compare(&dst).unwrap();
    }
}
