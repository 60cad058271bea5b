//! Kernels of random layers print as text that reads back as the same kernel.

use convoke_core::ir::Kernel;
use convoke_core::lower::lower;
use convoke_core::plan;
use convoke_core::spec::arbitrary::{deformable_spec, layer_spec};
use convoke_core::target::Target;
use proptest::prelude::*;

proptest! {
    #[test]
    fn lowered_kernels_read_back(spec in prop_oneof![9 => layer_spec(), 1 => deformable_spec()]) {
        for target in [Target::AVX512, Target::AVX2, Target::SSE_FMA, Target::PORTABLE] {
            let plan = plan::choose(&spec, &target).unwrap_or_else(|e| panic!("{e}\n{spec}"));
            let kernel = lower(&spec, &plan, &target);
            let text = kernel.to_string();
            let parsed = text.parse::<Kernel>().unwrap_or_else(|e| panic!("{e}\n{text}"));
            prop_assert_eq!(parsed, kernel);
        }
    }
}
