use convoke_macros::conv;

// Parameters that no one gives, that are no file, no list, and not what the layers take.
conv! {
    network bare { input: f32[1, 8], linear a { out_channels: 4 } }
}
conv!(parameters = "no/such.safetensors", network gone { input: f32[1, 8], linear a { out_channels: 4 } });
conv!(parameters = "../../../tmp/networks.conv", network odd { input: f32[1, 8], linear a { out_channels: 4 } });
conv!(parameters = "../../../tmp/few.safetensors", network few {
    input: f32[1, 8],
    linear a { out_channels: 4, bias: true }
    linear b { out_channels: 2 }
});

// What has no code.
conv! {
    network doubles { input: f64[1, 8], elementwise a { then: relu } }
    network images { input: f32[N, 8], elementwise a { then: relu } }
    network pinned {
        input: f32[1, 8, 4, 4],
        max_pool2d a { kernel_size: 2, schedule { algorithm: pointwise } }
        elementwise b { then: relu }
    }
}
conv! {
    network large { input: f32[1, 4096], linear a { out_channels: 4096 } }
}

// Files.
conv!(file = "../../../tmp/networks.conv");
conv!(file = "../../../tmp/networks.conv", parameters = "../../../tmp/few.safetensors");
conv!(file = "../../../tmp/networks.conv", layer = "third");

// Arguments that do not belong there.
conv!(parameters = "../../../tmp/few.safetensors", conv1d a { input: f32[1, 1, 4], out_channels: 1, kernel_size: 2 });
conv!(layer = "first", network first { input: f32[1, 8], elementwise a { then: relu } });
conv!(file = "../../../tmp/networks.conv", network first { input: f32[1, 8], elementwise a { then: relu } });
conv!(file = "../../../tmp/networks.conv", weights = "few.safetensors");

fn main() {}
