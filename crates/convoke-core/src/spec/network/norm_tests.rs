use super::*;
use crate::spec::NetworkSpec;

fn net(body: &str) -> NetworkSpec {
    let text = format!("network net {{ {body} }}");
    text.parse().unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn refused(body: &str, parts: &[&str]) {
    let text = format!("network net {{ {body} }}");
    let error = text.parse::<NetworkSpec>().unwrap_err().to_string();
    parts.iter().for_each(|part| assert!(error.contains(part), "{part} is not in\n{error}"));
}

#[test]
fn texts_read_back() {
    let net = net("input: f32[2, 6, 4, 5],
        layer_norm a {}
        layer_norm b { axis: 1, epsilon: 1e-6, affine: false }
        group_norm c { groups: 3, epsilon: 0 }
        instance_norm d { affine: true }");
    assert_eq!(net.to_string().parse::<NetworkSpec>().unwrap(), net, "{net}");
    let names: Vec<_> = net.parameters().map(|p| format!("{} {}", p.name, p.len)).collect();
    assert_eq!(names, ["a.weight 5", "a.bias 5", "c.weight 6", "c.bias 6", "d.weight 6", "d.bias 6"]);
    let NodeKind::Norm(b) = &net.nodes[1].kind else { panic!("{net}") };
    assert_eq!(*b, Norm { groups: Groups::Elements { axis: 1 }, epsilon: 1e-6, weights: 0 });
    let all = ["layer_norm", "layer_norm", "group_norm", "instance_norm"];
    assert_eq!(net.nodes.iter().map(|node| node.kind.name()).collect::<Vec<_>>(), all);
}

/// Sizes are counted as they are written, whatever they are.
#[test]
fn a_layer_norm_has_a_weight_for_each_element_of_a_group() {
    let weights = |input: &str, fields: &str| {
        let net = net(&format!("input: {input}, layer_norm a {{ {fields} }}"));
        net.parameters_len() / 2
    };
    assert_eq!(weights("f32[2, 6, 4, 5]", ""), 5);
    assert_eq!(weights("f32[2, 6, 4, 5]", "axis: 2"), 20);
    assert_eq!(weights("f32[2, 6, 4, 5]", "axis: 1"), 120);
    assert_eq!(weights("f32[2, 4, 5, 6] @ nhwc", ""), 6);
    assert_eq!(weights("f32[2, 4, 5, 6] @ nhwc", "axis: 2"), 30);
    assert_eq!(weights("f32[2, 7, 6] @ nlc", ""), 6);
}

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    let input = "input: f32[1, 32, 8, 8]";
    refused(&format!("{input}, group_norm a {{ groups: 5 }}"), &["5 does not divide 32", "such as 4", "1:63"]);
    refused(
        &format!("{input}, group_norm a {{ groups: 2000000000 }}"),
        &["2000000000 does not divide 32", "such as 32"],
    );
    refused(&format!("{input}, group_norm a {{ groups: 0 }}"), &["groups"]);
    refused(&format!("{input}, group_norm a {{}}"), &["group_norm `a` has no `groups`", "groups: 32"]);
    refused(&format!("{input}, layer_norm a {{ axis: 4 }}"), &["there is no size 4 among 4", "from 1 to 3"]);
    refused(&format!("{input}, layer_norm a {{ axis: 0 }}"), &["there is no size 0 among 4"]);
    refused(&format!("{input}, layer_norm a {{ axis: x }}"), &["`axis` takes the number of a size"]);
    refused(&format!("{input}, layer_norm a {{ epsilon: -1e-5 }}"), &["from 0 on, not -1e-5"]);
    refused(&format!("{input}, layer_norm a {{ epsilon: yes }}"), &["`epsilon` takes a number"]);
    refused(&format!("{input}, instance_norm a {{ groups: 2 }}"), &["has no field `groups`", "affine"]);
    refused(&format!("{input}, instance_norm a {{ affine: 2 }}"), &["affine"]);
    let blocks = "input: f32[1, 48, 8, 8] @ nChw16c";
    refused(&format!("{blocks}, layer_norm a {{}}"), &["blocks of channels", "reorder"]);
    refused(&format!("{blocks}, group_norm a {{ groups: 2 }}"), &["24 do not divide 16", "reorder"]);
    refused(&format!("{blocks}, group_norm a {{ groups: 4 }}"), &["12 do not divide 16"]);
}
