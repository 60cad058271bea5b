//! Layers over a signal in blocks, beside one call for all of it: `cargo bench -p convoke-benches --bench stream`.
//!
//! Criterion's elements are frames, so that "elem/s" reads as frames a second.

use convoke::{Compiler, LayerSpec};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Frames of the signal.
const FRAMES: usize = 16_384;

/// A layer for signals of [`FRAMES`] frames.
fn layer(channels: usize, layout: &str, fields: &str) -> LayerSpec {
    let sizes = if layout == "nlc" { [FRAMES, channels] } else { [channels, FRAMES] };
    let [a, b] = sizes;
    let text = format!("conv1d layer {{ input: f32[1, {a}, {b}] @ {layout}, out_channels: {channels}, {fields} }}");
    text.parse().expect("the layer is legal")
}

fn streams(c: &mut Criterion) {
    for (name, spec) in [
        ("wavenet, ncl", layer(64, "ncl", "kernel_size: 2, dilation: 4, padding: causal, bias: true, accuracy: exact")),
        ("wavenet, nlc", layer(64, "nlc", "kernel_size: 2, dilation: 4, padding: causal, bias: true, accuracy: exact")),
        ("wavenet far, ncl", layer(64, "ncl", "kernel_size: 2, dilation: 512, padding: causal, accuracy: exact")),
        ("depthwise, ncl", layer(64, "ncl", "kernel_size: 5, groups: depthwise, padding: causal, accuracy: exact")),
        ("fir, exact", layer(1, "ncl", "kernel_size: 255, padding: causal, accuracy: exact")),
        ("fir, fast", layer(1, "ncl", "kernel_size: 255, padding: causal, accuracy: fast")),
    ] {
        let mut group = c.benchmark_group(name);
        group.sample_size(10);
        let weights = data(spec.weights_len());
        let bias = spec.bias.then(|| data(spec.out_channels));
        let kernel = convoke::compile(&spec).expect("the layer compiles");
        let packed = kernel.pack(&weights, bias.as_deref()).expect("lengths are the layer's");
        let (src, mut dst) = (data(spec.src_image()), vec![0.0_f32; spec.dst_image()]);
        group.throughput(Throughput::Elements(FRAMES as u64));
        group.bench_function("one call", |b| {
            b.iter(|| kernel.run(&packed, &src, &mut dst).expect("lengths are the layer's"));
        });
        let stream = Compiler::new().stream(&spec, &weights, bias.as_deref(), &[]);
        let mut stream = stream.expect("the layer has a stream");
        for frames in [1, 5, 16, 64, 480, 4096] {
            let block = data(frames * spec.in_channels);
            let mut out = Vec::new();
            group.throughput(Throughput::Elements(frames as u64));
            group.bench_function(format!("blocks of {frames}"), |b| {
                b.iter(|| stream.push(&block, &mut out).expect("the block is whole"));
            });
        }
    }
}

/// What it takes to make a stream.
fn compile(c: &mut Criterion) {
    let spec = layer(64, "ncl", "kernel_size: 2, dilation: 4, padding: causal, accuracy: exact");
    let weights = data(spec.weights_len());
    let compile = || Compiler::new().stream(&spec, &weights, None, &[]).expect("the layer has a stream");
    c.bench_function("compile a stream", |b| b.iter(compile));
}

/// Numbers that are no denormals.
fn data(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect()
}

criterion_group!(benches, streams, compile);
criterion_main!(benches);
