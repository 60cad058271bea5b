//! The two oracles against each other: every lowering of a random layer is verified, runs, and gives what the reference
//! gives, within the error bound; and a parallel nest gives the same bits in any order.

use convoke_core::eval::interp::{self, Buffers};
use convoke_core::eval::reference::{self, Position};
use convoke_core::eval::Element;
use convoke_core::ir::{self, Role, Var, Verified};
use convoke_core::lower::weights::WeightsPacking;
use convoke_core::plan::{self, Plan};
use convoke_core::spec::{arbitrary, DType, LayerSpec};
use convoke_core::target::Target;
use proptest::prelude::*;

const TARGETS: [Target; 6] =
    [Target::AVX512, Target::AVX2, Target::SSE, Target::SSE_FMA, Target::NEON, Target::PORTABLE];

/// The tensors of a layer, the weights as the user has them.
struct Tensors<T> {
    batch: usize,
    src: Vec<T>,
    weights: Vec<T>,
    bias: Vec<T>,
}

impl<T: Element> Tensors<T> {
    fn new(spec: &LayerSpec, seed: u64, mut value: impl FnMut(u64) -> f64) -> Self {
        let mut state = seed | 1;
        let mut fill = |len: usize| -> Vec<T> {
            let next = |_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                T::from_f64(value(state >> 20))
            };
            (0..len).map(next).collect()
        };
        let batch = spec.fixed_batch().unwrap_or(2);
        let bias = if spec.bias { spec.out_channels } else { 0 };
        let (src, weights, bias) = (fill(batch * spec.src_image()), fill(spec.weights_len()), fill(bias));
        Self { batch, src, weights, bias }
    }
}

fn compile(spec: &LayerSpec, target: &Target) -> Result<(Plan, Verified), String> {
    let plan = plan::choose(spec, target).map_err(|e| format!("{e:?}"))?;
    let kernel = convoke_core::lower::lower(spec, &plan, target);
    let text = kernel.to_string();
    let verified = ir::verify(kernel).map_err(|e| format!("{e}\n{text}"))?;
    Ok((plan, verified))
}

fn interpret<T: Element>(spec: &LayerSpec, plan: &Plan, kernel: &Verified, t: &Tensors<T>, backwards: bool) -> Vec<T> {
    let packing = WeightsPacking::new(spec, plan.algorithm);
    let mut weights = vec![T::default(); packing.packed_len()];
    packing.pack(&t.weights, &mut weights);
    let len = |role| {
        let buffer = kernel.buffers.iter().find(|b| b.role == role);
        buffer.map_or(0, |b| (b.len.constant + b.len.factor(Var::BATCH) * t.batch as i64) as usize)
    };
    let nan = T::from_f64(f64::NAN);
    let (mut dst, mut scratch) = (vec![nan; t.batch * spec.dst_image()], vec![nan; len(Role::Scratch)]);
    let mut buffers =
        Buffers { src: &t.src, weights: &weights, bias: &t.bias, dst: &mut dst, scratch: &mut scratch };
    if backwards {
        for (i, nest) in kernel.nests.iter().enumerate() {
            let range = interp::outer_range(kernel, i, t.batch).unwrap();
            if nest.outer.parallel {
                for at in range.rev() {
                    interp::run_nest(kernel, i, at..at + 1, t.batch, &mut buffers).unwrap();
                }
            } else {
                interp::run_nest(kernel, i, range, t.batch, &mut buffers).unwrap();
            }
        }
    } else {
        interp::run(kernel, t.batch, &mut buffers).unwrap();
    }
    dst
}

fn check<T: Element>(spec: &LayerSpec, target: &Target, seed: u64) -> Result<(), TestCaseError> {
    let (plan, kernel) = compile(spec, target).map_err(|e| TestCaseError::fail(format!("{}: {e}", target.name())))?;
    let tensors = Tensors::<T>::new(spec, seed, |bits| (bits % 2001) as f64 / 1000.0 - 1.0);
    let got = interpret(spec, &plan, &kernel, &tensors, false);
    let backwards = interpret(spec, &plan, &kernel, &tensors, true);
    let linear = LayerSpec { then: Vec::new(), ..spec.clone() };
    for (index, (got, backwards)) in got.iter().zip(&backwards).enumerate() {
        let at = Position::of(spec, index);
        let Tensors { src, weights, bias, .. } = &tensors;
        let exact: f64 = reference::output_at(spec, src, weights, bias, at);
        let sum: f64 = reference::output_at(&linear, src, weights, bias, at);
        let magnitude = reference::magnitude_at(spec, src, weights, bias, at);
        let bound = reference::error_bound::<T>(spec, sum, magnitude);
        let error = (got.to_f64() - exact).abs();
        prop_assert!(
            error <= bound,
            "{} at {at:?}: {got} is not within {bound:e} of {exact}\n{spec}\n{}",
            target.name(),
            *kernel
        );
        prop_assert_eq!(got.bits(), backwards.bits());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn interp_agrees_with_reference(spec in arbitrary::layer_spec(), target in 0..TARGETS.len(), seed: u64) {
        match spec.dtype {
            DType::F32 => check::<f32>(&spec, &TARGETS[target], seed)?,
            DType::F64 => check::<f64>(&spec, &TARGETS[target], seed)?,
        }
    }
}
