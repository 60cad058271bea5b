use crate::eval::reference;
use crate::plan::{arrange, pin};
use crate::spec::NetworkSpec;
use crate::target::Target;

const NET: &str = "network net {
    input: f32[2, 3, 6, 6],
    conv2d c1 { out_channels: 4, kernel_size: 3, bias: true }
    batch_norm bn1 { epsilon: 0.001, then: relu }
    conv2d c2 { out_channels: 4, kernel_size: 1, then: [scale, batch_norm(bn2), relu, scale] }
    add sum { inputs: [c2, bn1], then: [batch_norm(bn3, 0.5, false), relu] }
    batch_norm last { affine: false }
    elementwise behind { then: [batch_norm(bn4), tanh] }
}";

fn net(text: &str) -> NetworkSpec {
    text.parse().unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn texts_read_back() {
    let net = net(NET);
    assert_eq!(net.to_string().parse::<NetworkSpec>().unwrap(), net, "{net}");
    let names: Vec<_> = net.parameters().filter(|p| p.len == 4).map(|p| p.name).collect();
    let expected = "c1.bias bn1.weight bn1.bias bn1.running_mean bn1.running_var c2.scale bn2.weight bn2.bias \
        bn2.running_mean bn2.running_var c2.scale_2 bn3.running_mean bn3.running_var \
        last.running_mean last.running_var bn4.weight bn4.bias bn4.running_mean bn4.running_var";
    assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
}

/// Put into the layers before them they have the same parameters, and mean the same.
#[test]
fn arranged_networks_mean_the_same() {
    let net = net(NET);
    let of = |name: &str, len: usize| -> Vec<f64> {
        let seed = name.bytes().map(usize::from).sum::<usize>();
        (0..len).map(|i| ((i * 7 + seed) % 11) as f64 / 8.0 + if name.ends_with("var") { 0.1 } else { -0.6 }).collect()
    };
    let parameters: std::collections::HashMap<String, Vec<f64>> =
        net.parameters().map(|p| (p.name.clone(), of(&p.name, p.len))).collect();
    let input = of("input", 2 * 108);
    let run = |net: &NetworkSpec| reference::run_network(net, 2, &[&input], |name| &parameters[name]);
    let expected = run(&net);
    for made in [arrange(&net, &Target::AVX2), pin(&net, &Target::AVX2)] {
        assert_eq!(made.nodes.len(), 2, "{made}");
        let all = |net: &NetworkSpec| net.parameters().map(|p| p.name).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(all(&made), all(&net));
        let far = run(&made)[0].iter().zip(&expected[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far < 1e-12, "{far}\n{made}");
        assert_eq!(made.to_string().parse::<NetworkSpec>().unwrap(), made, "{made}");
    }
}

#[test]
fn the_formula_is_that_of_the_statistics() {
    let net = net("network net { input: f32[1, 2, 1], batch_norm bn { epsilon: 0.25, then: neg } }");
    let given = |name: &str| -> &[f64] {
        match name {
            "bn.weight" => &[2.0, 3.0],
            "bn.bias" => &[0.5, -1.0],
            "bn.running_mean" => &[1.0, -2.0],
            _ => &[2.0, 0.0],
        }
    };
    let made = reference::run_network::<f64>(&net, 1, &[&[4.0, 1.0]], given);
    // (4 - 1) / 1.5 * 2 + 0.5, and (1 + 2) / 0.5 * 3 - 1.
    assert_eq!(made, [[-4.5, -17.0]]);
}

#[test]
fn names_and_numbers_are_checked() {
    #[track_caller]
    fn refused(body: &str, parts: &[&str]) {
        let text = format!("network net {{ input: f32[1, 4, 5, 5], {body} }}");
        let error = text.parse::<NetworkSpec>().unwrap_err().to_string();
        parts.iter().for_each(|part| assert!(error.contains(part), "{part} is not in\n{error}"));
    }
    refused("elementwise a { then: batch_norm }", &["`batch_norm` takes a name", "batch_norm(name)"]);
    refused("elementwise a { then: batch_norm(2) }", &["`batch_norm` takes a name"]);
    refused("elementwise a { then: batch_norm(b, 1e-3, 2) }", &["`batch_norm` takes a name"]);
    refused("elementwise a { then: batch_norm(b, -1) }", &["from 0 on, not -1.0"]);
    refused("elementwise a { then: batch_norm(input) }", &["the name `input` is taken"]);
    refused("elementwise a { then: [batch_norm(b), batch_norm(b)] }", &["the name `b` is taken"]);
    refused("elementwise a { then: batch_norm(b) } elementwise b { then: relu }", &["the name `b` is taken"]);
    refused("batch_norm a { epsilon: -1 }", &["from 0 on, not -1.0"]);
    refused("batch_norm a { groups: 2 }", &["batch_norm `a` has no field `groups`"]);
    refused("batch_norm a { then: rleu }", &["rleu"]);
    let pair = "elementwise a { then: relu } matmul b { inputs: [a, input], then: batch_norm(c) }";
    refused(pair, &["batch_norm"]);
}
