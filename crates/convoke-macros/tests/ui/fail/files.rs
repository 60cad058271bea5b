use convoke_macros::conv;

conv!(file = "no/such/file.conv");
conv!(file = "../../../crates/convoke-macros/tests/ui/layers.conv", layer = "third");
conv!(file = "../../../crates/convoke-macros/tests/ui/broken.conv");
conv!(layer = "first");
conv!(file = 3, layers = "first");

fn main() {}
