//! Every f32 layer of `specs/`, run by the JIT on one thread: `cargo bench -p convoke-benches --bench layers -- resnet50`.
//!
//! Criterion's elements are floating-point operations, so that "elem/s" reads as FLOP/s.

use convoke_core::front;
use convoke_core::spec::{Batch, DType, LayerSpec, Limits};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::path::{Path, PathBuf};

fn layers(c: &mut Criterion) {
    for (file, specs) in files() {
        let mut group = c.benchmark_group(&file);
        group.sample_size(10);
        for spec in specs.iter().filter(|s| s.dtype == DType::F32) {
            let kernel = convoke::compile(spec).expect("layers of specs/ compile");
            let batch = spec.fixed_batch().unwrap_or(1);
            let src = data(batch * spec.src_image());
            let bias = spec.bias.then(|| data(spec.out_channels));
            let packed = kernel.pack(&data(spec.weights_len()), bias.as_deref()).expect("lengths are the layer's");
            let (offset, mask) = (data(batch * spec.offset_image()), data(batch * spec.mask_image()));
            let mask = spec.mask.then_some(&mask[..]);
            let mut dst = vec![0.0_f32; batch * spec.dst_image()];
            group.throughput(Throughput::Elements(2 * spec.macs_per_image() * batch as u64));
            group.bench_function(&spec.name, |b| {
                b.iter(|| {
                    let ran = match spec.is_deformable() {
                        true => kernel.run_deformable(&packed, &src, &offset, mask, &mut dst),
                        false => kernel.run(&packed, &src, &mut dst),
                    };
                    ran.expect("lengths are the layer's");
                });
            });
        }
    }
}

/// The files of `specs/` by name, with their layers; a named batch stands for one image.
fn files() -> Vec<(String, Vec<LayerSpec>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs");
    let entries = std::fs::read_dir(folder).expect("specs/ is beside benches/");
    let mut files: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "conv"));
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let contents = front::contents(&text, &Limits::default(), &[]).expect("files of specs/ are legal");
        let of_networks = contents.networks.iter().flat_map(|network| network.layers().cloned());
        let mut specs: Vec<_> = contents.layers.iter().cloned().chain(of_networks).collect();
        for spec in &mut specs {
            spec.batch = Batch::Fixed(spec.fixed_batch().unwrap_or(1));
        }
        (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), specs)
    };
    files.into_iter().map(read).collect()
}

/// Numbers that are no denormals.
fn data(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect()
}

criterion_group!(benches, layers);
criterion_main!(benches);
