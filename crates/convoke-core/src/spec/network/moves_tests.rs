use super::*;

/// The moves of the last layer of a network.
fn moves(input: &str, layer: &str) -> Moves {
    let text = format!("network net {{ input: {input}, {layer} }}");
    let network: NetworkSpec = text.parse().expect(&text);
    network.moves(&network.nodes[network.nodes.len() - 1]).expect(layer)
}

fn one(input: &str, layer: &str) -> (usize, usize, Vec<[usize; 3]>) {
    let found = moves(input, layer);
    let [only] = &found.moves[..] else { panic!("{found:?}") };
    (only.from, only.to, only.loops.iter().map(|one| [one.len, one.from, one.to]).collect())
}

#[test]
fn what_goes_on_is_one_run() {
    assert_eq!(one("f32[1, 8, 4, 5]", "slice a { channels: 2..6 }"), (40, 0, vec![[80, 1, 1]]));
    assert_eq!(one("f32[1, 4, 5, 8] @ nhwc", "slice a { channels: 2..6 }"), (2, 0, vec![[20, 8, 4], [4, 1, 1]]));
    assert_eq!(one("f32[1, 4, 5, 8] @ nhwc", "slice a { height: 1..3 }"), (40, 0, vec![[80, 1, 1]]));
    assert_eq!(one("f32[1, 8, 4, 5]", "reorder a { layout: nchw }"), (0, 0, vec![[160, 1, 1]]));
    assert_eq!(one("f32[1, 32, 4, 5] @ nChw16c", "slice a { channels: 16..32 }"), (320, 0, vec![[320, 1, 1]]));
}

#[test]
fn layouts_are_walked_in_the_order_of_what_is_written() {
    assert_eq!(one("f32[1, 8, 4, 5]", "reorder a { layout: nhwc }"), (0, 0, vec![[20, 1, 8], [8, 20, 1]]));
    assert_eq!(
        one("f32[1, 8, 4, 5]", "transpose a { axes: (0, 2, 1, 3) }"),
        (0, 0, vec![[4, 5, 40], [8, 20, 5], [5, 1, 1]])
    );
    assert_eq!(
        one("f32[1, 1, 2, 3]", "resize a { scale: (2, 3) }"),
        (0, 0, vec![[2, 3, 18], [2, 0, 9], [3, 1, 3], [3, 0, 1]])
    );
}

#[test]
fn the_last_block_is_filled_up() {
    let found = moves("f32[1, 20, 2, 2]", "reorder a { layout: nChw16c }");
    assert_eq!(found.fill, Some(0.0));
    let ends: Vec<_> = found.moves.iter().map(|one| (one.from, one.to, one.loops[0].len)).collect();
    assert_eq!(ends, [(0, 0, 4), (64, 64, 4)]);
    assert_eq!(moves("f32[1, 32, 2, 2]", "reorder a { layout: nChw16c }").fill, None);
    let padded = moves("f32[1, 3, 2, 2]", "pad a { padding: 1, value: -1.5 }");
    assert_eq!((padded.fill, padded.moves[0].to), (Some(-1.5), 5));
}
