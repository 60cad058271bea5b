use super::*;
use crate::threads::Pools;
use convoke_core::spec::{NetworkSpec, NodeKind};
use convoke_jit::Serial;

/// Images of other sizes, on one thread and on three.
#[test]
fn threads_make_what_one_makes() {
    for input in ["2, 40, 30, 50] @ nchw", "2, 30, 50, 40] @ nhwc", "1, 40, 30, 50] @ nChw16c"] {
        for fields in ["to: (41, 77), mode: linear", "scale: (1.5, 0.9), align: asymmetric, round: floor"] {
            let text = format!("network net {{ input: f32[{input}, resize a {{ {fields} }} }}");
            let spec: NetworkSpec = text.parse().unwrap();
            let NodeKind::Interpolate(one) = &spec.nodes[0].kind else { panic!("{text}") };
            let (from, to) = (&spec.values[0].shape, &spec.values[1].shape);
            let batch = spec.fixed_batch().unwrap();
            let src: Vec<f32> = (0..batch * from.image()).map(|i| (i * 7919 % 2003) as f32 / 1000.0 - 1.0).collect();
            let one = Interpolator::new(one, to);
            let made = |executor: &dyn Executor| {
                let mut dst = vec![f32::NAN; batch * to.image()];
                run(executor, &one, &src, &mut dst);
                dst
            };
            let alone = made(&Serial);
            assert!(alone.iter().all(|x| x.is_finite()));
            assert_eq!(Pools::default().team(3, made).unwrap(), alone, "{text}");
            let mut plain = vec![f32::NAN; alone.len()];
            one.run(&src, &mut plain, 0);
            assert_eq!(plain, alone, "the vectors of the machine give the same bits");
        }
    }
}
