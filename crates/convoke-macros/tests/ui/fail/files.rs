use convoke_macros::conv;

conv!(file = "no/such/file.conv");
conv!(file = "../../../tmp/layers.conv", layer = "third");
conv!(file = "../../../tmp/broken.conv");
conv!(layer = "first");
conv!(file = 3, layers = "first");

fn main() {}
