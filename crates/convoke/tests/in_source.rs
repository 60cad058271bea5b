//! A network of `conv!` gives the bits of the same network that is compiled at run time.
#![cfg(feature = "jit")]

use std::path::Path;

use convoke::{Compiler, Limits, NetworkSpec, Parameters};
use convoke_core::front;

convoke::conv!(file = "../convoke-macros/tests/networks/graph.conv", layer = "graph");

#[test]
fn networks_in_the_source_give_the_bits_of_those_at_run_time() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../convoke-macros/tests/networks/graph.conv");
    let text = std::fs::read_to_string(&file).expect("there is a file");
    let networks = front::contents(&text, &Limits::default(), &[]).expect("it is legal").networks;
    let spec: &NetworkSpec = &networks[0];
    let mut parameters = Parameters::open(&file.with_extension("safetensors")).expect("there are parameters");
    let network = Compiler::new().network_from::<f32>(spec, &mut parameters).expect("it compiles");

    let image: graph::InputImage = std::array::from_fn(|i| (i * 37 % 101) as f32 / 50.0 - 1.0);
    let more: graph::InputMore = std::array::from_fn(|i| (i * 53 % 89) as f32 / 40.0 - 1.0);
    let outputs: Vec<Vec<f32>> = spec.output_values().map(|value| vec![f32::NAN; 2 * value.shape.image()]).collect();
    let (mut found, mut expected) = (outputs.clone(), outputs);
    let mut places: Vec<&mut [f32]> = expected.iter_mut().map(Vec::as_mut_slice).collect();
    network.run(&[&image, &more], &mut places).expect("it runs");

    let [up, active, sum, classes, same, big] = found.as_mut_slice() else { panic!("there are six outputs") };
    graph::run(
        &image,
        &more,
        &mut graph::Arena::new(),
        up.as_mut_slice().try_into().expect("it is as long"),
        active.as_mut_slice().try_into().expect("it is as long"),
        sum.as_mut_slice().try_into().expect("it is as long"),
        classes.as_mut_slice().try_into().expect("it is as long"),
        same.as_mut_slice().try_into().expect("it is as long"),
        big.as_mut_slice().try_into().expect("it is as long"),
    );
    let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|x| x.to_bits()).collect::<Vec<u32>>();
    assert_eq!(bits(&found), bits(&expected));
}
