use super::*;
use crate::threads::Pools;
use convoke_core::spec::NetworkSpec;
use convoke_jit::Serial;

/// Boxes of layers that move elements, on one thread and on three.
#[test]
fn threads_write_what_one_writes() {
    let layers = [
        ("f32[2, 40, 30, 50] @ nchw", "reorder a { layout: nhwc }"),
        ("f32[2, 30, 50, 40] @ nhwc", "reorder a { layout: nchw }"),
        ("f32[2, 40, 30, 50] @ nchw", "transpose a { axes: (0, 3, 1, 2) }"),
        ("f32[1, 8, 50, 60] @ nchw", "resize a { scale: (3, 2) }"),
        ("f32[2, 8, 100, 60] @ nchw", "pad a { padding: (1..2, 3..0) }"),
        ("f32[2, 16, 101, 60] @ nchw", "slice a { channels: 3..15, height: 1..100, stride: (2, 1) }"),
        ("f32[1, 1, 1, 40000] @ nchw", "concat a { inputs: [input, input], axis: 3 }"),
    ];
    let pools = Pools::default();
    for (input, layer) in layers {
        let spec: NetworkSpec = format!("network net {{ input: {input}, {layer} }}").parse().unwrap();
        let (from, to) = (&spec.values[0].shape, &spec.values[1].shape);
        let batch = spec.fixed_batch().unwrap();
        let src: Vec<u32> = (1..=(batch * from.image()) as u32).collect();
        let moves = spec.moves(&spec.nodes[0]).unwrap();
        let made = |executor: &dyn Executor| {
            let mut dst = vec![0; batch * to.image()];
            for one in &moves.moves {
                run(executor, one, batch, (&src, from.image()), (&mut dst, to.image()));
            }
            dst
        };
        let one = made(&Serial);
        assert!(one.iter().any(|&x| x > 0));
        assert_eq!(pools.team(3, made).unwrap(), one, "{layer}");
    }
}
