use super::{Arena, Place};
use crate::front;
use crate::spec::{Limits, NetworkSpec};

fn network(text: &str) -> NetworkSpec {
    let mut contents = front::contents(text, &Limits::default(), &[]).expect("a legal network");
    contents.networks.remove(0)
}

#[test]
fn a_sequence_takes_two_places() {
    let layers: String =
        (0..20).map(|i| format!("conv2d c{i} {{ out_channels: 16, kernel_size: 3, padding: 1 }}\n")).collect();
    let net = network(&format!("network line {{ input: f32[1, 16, 8, 8], {layers} }}"));
    let arena = Arena::of(&net);
    assert_eq!(arena.len, 2 * 16 * 64);
    assert_eq!(arena.places[0], Place::Input(0, 0));
}

#[test]
fn what_lives_at_the_same_time_lies_apart() {
    let net = network(
        "network net {
            input: f32[1, 3, 8, 8],
            conv2d a { out_channels: 5, kernel_size: 1 }
            conv2d b { out_channels: 5, kernel_size: 1 }
            conv2d c { out_channels: 7, kernel_size: 3, padding: 1, input: a }
            concat d { inputs: [a, b, c] }
            flatten e { }
            linear f { out_channels: 3 }
            outputs: [f, b],
        }",
    );
    let arena = Arena::of(&net);
    // a, b and c are made where they are joined; f lies behind that, since b is an output.
    let line = |elements: usize| elements.next_multiple_of(16);
    assert_eq!(arena.len, line(17 * 64) + 16);
    let at = |name: &str| arena.places[net.values.iter().position(|value| value.name == name).expect("a value")];
    assert_eq!([at("a"), at("b"), at("c")], [0, 5 * 64, 10 * 64].map(Place::Arena));
    assert_eq!((at("d"), at("e"), at("f")), (Place::Arena(0), Place::Arena(0), Place::Arena(line(17 * 64))));
}

#[test]
fn parts_of_several_images_are_copied() {
    let net = |input: &str| {
        network(&format!(
            "network net {{
                input: {input},
                conv2d a {{ out_channels: 16, kernel_size: 1 }}
                concat b {{ inputs: [a, input, a] }}
                concat c {{ inputs: [b, a] }}
                add d {{ inputs: [c, c] }}
            }}"
        ))
    };
    // One image: the first a is in b, and b in c; what stands twice is copied.
    let arena = Arena::of(&net("f32[1, 16, 4, 4]"));
    assert_eq!(arena.places[1..4], [0, 0, 0].map(Place::Arena));
    assert_eq!(arena.len, 2 * 64 * 16);
    for input in ["f32[2, 16, 4, 4]", "f32[N, 16, 4, 4]", "f32[1, 4, 4, 16] @ nhwc"] {
        let arena = Arena::of(&net(input));
        let apart = arena.places.iter().filter(|place| **place == arena.places[2]).count();
        assert!(arena.places[1] != arena.places[2] && apart <= 2, "{input}: {arena:?}");
    }
}
