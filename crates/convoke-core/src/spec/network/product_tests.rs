use crate::eval::reference::run_network;
use crate::front;
use crate::spec::{Limits, NetworkSpec};

fn networks(text: &str) -> Result<NetworkSpec, String> {
    let contents = front::contents(text, &Limits::default(), &[]);
    contents.map(|mut contents| contents.networks.remove(0)).map_err(|all| all[0].message.clone())
}

fn network(text: &str) -> NetworkSpec {
    networks(text).unwrap_or_else(|message| panic!("{message}\n{text}"))
}

/// Attention of two images and three heads: the softmax of `q k^T / 2` times `v`, and the input again.
const ATTENTION: &str = "
network attention {
    inputs: [q: f32[2, 3, 5, 4] @ nhwc, k: f32[2, 3, 6, 4] @ nhwc, v: f32[2, 3, 6, 4] @ nhwc],
    matmul scores { inputs: [q, k], transpose_b: true, then: [mul(0.5), softmax] }
    matmul mixed { inputs: [scores, v], then: [residual(q), relu] }
}";

#[test]
fn sizes_and_sums_follow_from_the_inputs() {
    let net = network(ATTENTION);
    let shapes: Vec<_> = net.values[3..].iter().map(|value| value.shape.to_string()).collect();
    assert_eq!(shapes, ["f32[2, 3, 5, 6] @ nhwc", "f32[2, 3, 5, 4] @ nhwc"]);
    assert_eq!((net.nodes[0].inputs.clone(), net.nodes[1].inputs.clone()), (vec![0, 1], vec![3, 2, 0]));
    assert_eq!(net.nodes[1].residual(), Some(0));
    assert_eq!((net.parameters_len(), net.nodes[0].macs_per_image()), (0, 3 * 5 * 6 * 4));
    assert_eq!(net.nodes[0].operations_per_image(), 2 * 3 * 5 * 6 * 4);
}

#[test]
fn a_text_reads_back() {
    let net = network(ATTENTION);
    assert_eq!(network(&net.to_string()), net, "{net}");
    assert!(
        net.to_string().contains("inputs: [q, k],\n        transpose_b: true,\n        then: [mul(0.5), softmax],\n"),
        "{net}"
    );
    let one = network("network one { inputs: [a: f64[N, 1, 1], b: f64[N, 1, 1]], matmul c { inputs: [a, b] } }");
    assert_eq!(network(&one.to_string()), one, "{one}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let net = |body: &str| {
        let inputs = "[a: f32[2, 3, 5, 4] @ nhwc, b: f32[2, 3, 4, 6] @ nhwc, c: f32[2, 2, 4, 6] @ nhwc, d: f32[2, 3, 4, 6], \
            e: f32[2, 3, 4], f: f32[2, 16, 4, 4] @ nChw16c, g: f32[2, 3, 5, 4]]";
        networks(&format!("network net {{ inputs: {inputs}, {body} }}")).expect_err(body)
    };
    for (body, message) in [
        ("matmul m { input: a }", "matmul `m` has no field `input`"),
        ("matmul m { inputs: [a] }", "`matmul` takes two values, here are 1"),
        ("matmul m { inputs: [a, b, c] }", "`matmul` takes two values, here are 3"),
        ("matmul m { inputs: [a, x] }", "there is no value `x`"),
        ("matmul m { inputs: [a, b], out_channels: 6 }", "matmul `m` has no field `out_channels`"),
        ("matmul m { inputs: [a, b], transpose_b: 1 }", "`transpose_b` takes true or false, not 1"),
        (
            "matmul m { inputs: [a, c] }",
            "all sizes but the last two say which matrices are multiplied, and have to be equal: one is f32[2, 3, 5, 4] @ nhwc, the other f32[2, 2, 4, 6] @ nhwc",
        ),
        (
            "matmul m { inputs: [b, a] }",
            "the last size of the first value has to be the last but one of the second: one is f32[2, 3, 4, 6] @ nhwc, the other f32[2, 3, 5, 4] @ nhwc",
        ),
        (
            "matmul m { inputs: [a, b], transpose_b: true }",
            "with `transpose_b` the last sizes of both values have to be equal: one is f32[2, 3, 5, 4] @ nhwc, the other f32[2, 3, 4, 6] @ nhwc",
        ),
        (
            "matmul m { inputs: [a, d] }",
            "only values with as many sizes in one layout can be multiplied as matrices: one is f32[2, 3, 5, 4] @ nhwc, the other f32[2, 3, 4, 6] @ nchw",
        ),
        (
            "matmul m { inputs: [e, d] }",
            "only values with as many sizes in one layout can be multiplied as matrices: one is f32[2, 3, 4] @ ncl, the other f32[2, 3, 4, 6] @ nchw",
        ),
        (
            "matmul m { inputs: [f, f] }",
            "`matmul` takes values whose sizes are in the order of memory, not blocks of channels",
        ),
        ("matmul m { inputs: [a, b], then: scale }", "the steps behind a `matmul` take no numbers of channels"),
        (
            "matmul m { inputs: [g, d], then: softmax }",
            "`softmax` is over channels, and here they are not the last size",
        ),
        (
            "matmul m { inputs: [a, b], then: residual(a) }",
            "only tensors of one type can be added or multiplied: one is f32[2, 3, 5, 6] @ nhwc, the other f32[2, 3, 5, 4] @ nhwc",
        ),
        ("matmul m { inputs: [a, b], then: residual }", "`residual` does not say which value it takes"),
    ] {
        assert_eq!(net(body), message, "{body}");
    }
    let large = "network net { inputs: [a: f32[1, 200000, 1], b: f32[1, 1, 2000000]], matmul c { inputs: [a, b] } }";
    assert!(networks(large).expect_err("it is refused").contains("limit"));
    let text = "network net { inputs: [a: f32[1, 2, 3], b: f32[1, 4, 2]], matmul c { inputs: [a, b] } }";
    let diagnostics = front::contents(text, &Limits::default(), &[]).expect_err("it is refused");
    let span = diagnostics[0].labels[0].span;
    assert_eq!((&text[span.start..span.end], span.start), ("b", text.rfind("b]").expect("it is there")));
}

/// Whole numbers between -4 and 4.
fn numbers(len: usize, seed: usize) -> Vec<f64> {
    (0..len).map(|i| ((i * 37 + seed * 101 + i * i % 11) % 9) as f64 - 4.0).collect()
}

/// The reference against sums by hand: every number of leading sizes, both layouts, several images, sizes of one.
#[test]
fn the_values_are_the_sums_of_products() {
    for (layouts, lead) in
        [(["ncl", "nlc"], &[][..]), (["nchw", "nhwc"], &[3]), (["nchw", "nhwc"], &[1]), (["ncdhw", "ndhwc"], &[2, 3])]
    {
        for (m, k, n) in [(5, 4, 6), (1, 7, 1), (3, 1, 2), (1, 1, 1)] {
            for (layout, transposed) in layouts.into_iter().flat_map(|layout| [(layout, false), (layout, true)]) {
                let batch = 2;
                let dims = |rows: usize, columns: usize| {
                    let all = std::iter::once(batch).chain(lead.iter().copied()).chain([rows, columns]);
                    format!("f64[{}] @ {layout}", all.map(|n| n.to_string()).collect::<Vec<_>>().join(", "))
                };
                let b = if transposed { dims(n, k) } else { dims(k, n) };
                let text = format!(
                    "network net {{ inputs: [a: {}, b: {b}], matmul c {{ inputs: [a, b], transpose_b: {transposed}, then: abs }} }}",
                    dims(m, k)
                );
                let net = network(&text);
                assert_eq!(net.values[2].shape.to_string(), dims(m, n));
                let count = batch * lead.iter().product::<usize>();
                let (a, b) = (numbers(count * m * k, 1), numbers(count * k * n, 2));
                let found = run_network(&net, batch, &[&a, &b], |_| &[]).remove(0);
                for at in 0..count {
                    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                        let of_b = |l: usize| if transposed { j * k + l } else { l * n + j };
                        let sum: f64 = (0..k).map(|l| a[(at * m + i) * k + l] * b[at * k * n + of_b(l)]).sum();
                        assert_eq!(found[(at * m + i) * n + j], sum.abs(), "{text}");
                    }
                }
            }
        }
    }
}
