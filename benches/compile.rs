//! What compiling costs, stage by stage, for the layers of ResNet-50: `cargo bench -p convoke-benches --bench compile`.

use convoke_core::spec::{LayerSpec, Limits};
use convoke_core::target::Target;
use convoke_core::{front, ir, lower, plan};
use criterion::{Criterion, criterion_group, criterion_main};

fn stages(c: &mut Criterion) {
    let text = include_str!("../specs/resnet50.conv");
    let limits = Limits::default();
    let specs = front::layers(text, &limits).expect("the file is legal");
    let mut group = c.benchmark_group("resnet50, 20 layers");
    let target = Target::SSE_FMA;
    group.bench_function("parse and validate", |b| b.iter(|| front::layers(text, &limits).expect("the file is legal")));
    let choose = |spec: &LayerSpec| plan::choose(spec, &target).expect("a layer without pins has a plan");
    group.bench_function("plan", |b| b.iter(|| specs.iter().map(choose).collect::<Vec<_>>()));
    let plans: Vec<_> = specs.iter().map(choose).collect();
    let lower = |i: usize| lower::lower(&specs[i], &plans[i], &target);
    group.bench_function("lower", |b| b.iter(|| (0..specs.len()).map(lower).collect::<Vec<_>>()));
    let verify = |i: usize| ir::verify(lower(i)).expect("lowered kernels verify");
    group.bench_function("lower and verify", |b| b.iter(|| (0..specs.len()).map(verify).collect::<Vec<_>>()));
    let compile = |spec: &LayerSpec| convoke::compile(spec).expect("the layer compiles");
    group.bench_function("all, to machine code", |b| b.iter(|| specs.iter().map(compile).collect::<Vec<_>>()));
}

criterion_group!(benches, stages);
criterion_main!(benches);
