//! Executable memory: never writable and executable at once, and given back. One test a process would see of the others.
#![cfg(target_os = "linux")]

use convoke_core::spec::{LayerSpec, Limits};
use convoke_core::{ir, pipeline};
use convoke_jit::{Buffers, Program, Serial, native_target};

const LAYER: &str = "conv1d tiny { input: f32[1, 1, 8], out_channels: 1, kernel_size: 2 }";

fn verified() -> ir::Verified {
    let spec: LayerSpec = LAYER.parse().unwrap();
    pipeline::compile(&spec, &native_target(), &Limits::default()).unwrap().kernel
}

fn run(program: &Program) -> [f32; 7] {
    let mut weights = [0.0; 32];
    (weights[0], weights[16]) = (1.0, 1.0);
    let (src, mut dst) = ([1.0; 8], [0.0; 7]);
    let mut scratch = vec![0.0; usize::try_from(program.len(ir::Role::Scratch, 1)).unwrap()];
    let buffers = Buffers { src: &src, weights: &weights, dst: &mut dst, scratch: &mut scratch, ..Buffers::default() };
    program.run(1, buffers, &Serial).unwrap();
    dst
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// `start-end permissions …`.
fn size_of_mapping(line: &str) -> usize {
    let range = line.split(' ').next().unwrap();
    let (start, end) = range.split_once('-').unwrap();
    usize::from_str_radix(end, 16).unwrap() - usize::from_str_radix(start, 16).unwrap()
}

#[test]
fn memory_is_protected_and_given_back() {
    let kernel = verified();
    let alive: Vec<_> = (0..10).map(|_| Program::compile(&kernel).unwrap()).collect();
    alive.iter().for_each(|program| assert_eq!(run(program), [2.0; 7]));

    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let both: Vec<_> = maps.lines().filter(|line| line.split(' ').nth(1).unwrap().starts_with("rwx")).collect();
    assert!(both.is_empty(), "writable and executable: {both:?}");
    let anonymous = maps.lines().filter(|line| line.split_whitespace().count() == 5 && line.contains(" r-xp "));
    let executable: usize = anonymous.map(size_of_mapping).sum();
    assert!(executable >= alive.iter().map(Program::code_bytes).sum(), "{executable} bytes:\n{maps}");
    drop(alive);

    let before = resident_bytes();
    for _ in 0..10_000 {
        drop(Program::compile(&kernel).unwrap());
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "10,000 programs left {grown} bytes behind");
    assert_eq!(run(&Program::compile(&kernel).unwrap()), [2.0; 7]);
}
