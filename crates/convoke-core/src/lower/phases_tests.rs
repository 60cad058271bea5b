//! Phases against the definition, output by output.

use super::*;

/// What each output takes: pairs of input and tap, in the order of the sum.
fn by_definition(a: &SpatialAxis) -> Vec<Vec<(usize, usize)>> {
    let input = |o: usize, k: usize| {
        let distance = (o + a.pad_lo).checked_sub(k * a.dilation)?;
        (distance % a.stride == 0 && distance / a.stride < a.input).then_some(distance / a.stride)
    };
    let sum = |o: usize| (0..a.kernel).rev().filter_map(|k| Some((input(o, k)?, k))).collect();
    (0..a.output).map(sum).collect()
}

fn by_phases(a: &SpatialAxis) -> Vec<Vec<(usize, usize)>> {
    let order = order(Operation::Transposed, a);
    let mut outputs = vec![None; a.output];
    for run in cut_transposed(a) {
        let conv = run.axis;
        assert_eq!(conv.pad_lo + conv.input + conv.pad_hi, conv.output + conv.extent() - 1, "{a:?}: {run:?}");
        for (phase, q) in (0..run.count).flat_map(|phase| (0..conv.output).map(move |q| (phase, q))) {
            let taps = if run.empty { 0 } else { conv.kernel };
            let product = |t: usize| {
                let at = (q + t * conv.dilation).checked_sub(conv.pad_lo).filter(|&at| at < conv.input)?;
                Some((run.first + at, order[run.tap + phase * taps + t]))
            };
            let sum: Vec<_> = (0..taps).filter_map(product).collect();
            assert_eq!(outputs[run.output + phase + q * run.step].replace(sum), None, "{a:?}: written twice");
        }
    }
    outputs.into_iter().map(|sum| sum.unwrap_or_else(|| panic!("{a:?}: an output is missing"))).collect()
}

#[test]
fn phases_are_the_definition() {
    let mut axes = 0;
    for (input, kernel, stride, dilation) in
        (0..7 * 7 * 6 * 4).map(|i| (1 + i % 7, 1 + i / 7 % 7, 1 + i / 49 % 6, 1 + i / 294))
    {
        let spread = (input - 1) * stride + dilation * (kernel - 1) + 1;
        for (pad_lo, pad_hi, extra) in [(0, 0, 0), (1, 1, 0), (2, 0, 1), (0, 3, 0), (5, 4, 0), (9, 1, 3), (1, 9, 2)] {
            if extra >= stride.max(dilation) || spread + extra <= pad_lo + pad_hi {
                continue;
            }
            let output = spread + extra - pad_lo - pad_hi;
            let axis = SpatialAxis { input, output, kernel, stride, dilation, pad_lo, pad_hi };
            assert_eq!(by_phases(&axis), by_definition(&axis), "{axis:?}");
            axes += 1;
        }
    }
    assert!(axes > 3000, "{axes}");
}

#[test]
fn phases_that_differ_in_their_weights_are_one_run() {
    let axis = |input, output, kernel, stride, pad| SpatialAxis {
        input,
        output,
        kernel,
        stride,
        dilation: 1,
        pad_lo: pad,
        pad_hi: pad,
    };
    let counts = |axis: &SpatialAxis| cut_transposed(axis).iter().map(|r| r.count).collect::<Vec<_>>();
    assert_eq!(counts(&axis(28, 56, 2, 2, 0)), [2]);
    assert_eq!(counts(&axis(28, 56, 4, 2, 1)), [1, 1]);
    assert_eq!(counts(&axis(100, 800, 16, 8, 4)), [4, 4]);
}
