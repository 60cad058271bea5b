use super::*;
use crate::threads::Pools;
use convoke_core::spec::{NetworkSpec, NodeKind};
use convoke_jit::Serial;

/// Norms on one thread, on three, and without the vectors of the machine.
#[test]
fn threads_make_what_one_makes() {
    let inputs =
        ["2, 48, 31, 17] @ nchw", "2, 31, 17, 48] @ nhwc", "1, 31, 17, 200] @ nhwc", "3, 40, 31, 17] @ nChw16c"];
    for input in inputs {
        for layer in [
            "instance_norm a {}",
            "group_norm a { groups: 8 }",
            "group_norm a { groups: 1 }",
            "layer_norm a { axis: 2 }",
        ] {
            let text = format!("network net {{ input: f32[{input}, {layer} }}");
            let Ok(spec) = text.parse::<NetworkSpec>() else {
                assert!(input.contains("16c"), "{text}");
                continue;
            };
            let NodeKind::Norm(one) = &spec.nodes[0].kind else { panic!("{text}") };
            let shape = &spec.values[1].shape;
            let len = spec.fixed_batch().unwrap() * shape.image();
            let src: Vec<f32> = (0..len).map(|i| (i * 7919 % 2003) as f32 / 1000.0 - 0.3).collect();
            let given: Vec<Cow<'_, [f32]>> = [1.0, 0.5]
                .map(|x| (0..one.weights).map(|i| x - (i * 5 % 7) as f32 / 3.0).collect::<Vec<_>>().into())
                .into();
            let norm = super::new(one, shape, &given);
            let made = |executor: &dyn Executor| {
                let mut dst = vec![f32::NAN; len];
                norm.run(executor, &src, &mut dst);
                dst
            };
            let alone = made(&Serial);
            assert!(alone.iter().all(|x| x.is_finite()), "{text}");
            assert_eq!(Pools::default().team(3, made).unwrap(), alone, "{text}");
            let one = Normalizer::new(one, shape);
            if one.kept() == 0 {
                let mut dst = vec![f32::NAN; len];
                let numbers = Some([&given[0][..], &given[1][..]]);
                plain(&one, numbers, Piece::Rows(&src, &mut dst, 0));
                assert_eq!(dst, alone, "the vectors of the machine give the same bits\n{text}");
            }
        }
    }
}
