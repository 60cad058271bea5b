use super::{Buffers, RunError, outer_range, run, run_kernel, run_nest};
use crate::eval::Element;
use crate::ir::{Kernel, Verified, verify};

fn kernel(text: &str) -> Kernel {
    text.parse().unwrap_or_else(|e| panic!("{e} in\n{text}"))
}

/// Runs a tile of four `f32` lanes whose pointers are `src` (8 elements) and `dst` (8 elements).
fn check(body: &str, src: [f32; 8], expect: [f32; 8]) {
    let text = format!(
        "kernel k f32 sse fma {{
            buffer src[8] buffer dst[8] vars N, i
            tile t(src, dst; r) registers 8 {{ {body} }}
            nest n {{ for i in 0..1 {{ call t(src[0], dst[0]; 1..3) }} }}
        }}"
    );
    let kernel = verify(kernel(&text)).unwrap_or_else(|e| panic!("{e} in\n{text}"));
    let mut dst = [-1.0_f32; 8];
    let mut buffers = Buffers { src: &src, dst: &mut dst, ..Buffers::default() };
    run(&kernel, 0, &mut buffers).unwrap();
    assert_eq!(dst.map(Element::bits), expect.map(Element::bits), "{dst:?} is not {expect:?}");
}

const COUNT: [f32; 8] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];

#[test]
fn loads_and_stores() {
    check("v0 = load src[2] store dst[0] = v0", COUNT, [2.0, 3.0, 4.0, 5.0, -1.0, -1.0, -1.0, -1.0]);
    check("v0 = load src[1] lanes 3 stride 2 store dst[4] = v0", COUNT, [-1.0, -1.0, -1.0, -1.0, 1.0, 3.0, 5.0, 0.0]);
    check("v0 = load src[1] repeat 2 store dst[0] = v0", COUNT, [1.0, 1.0, 2.0, 2.0, -1.0, -1.0, -1.0, -1.0]);
    let most = "v0 = load src[1] lanes 3 stride 6 repeat 2 store dst[0] = v0";
    check(most, COUNT, [1.0, 1.0, 7.0, 0.0, -1.0, -1.0, -1.0, -1.0]);
    check("v0 = load src[7] repeat 9 store dst[0] = v0", COUNT, [7.0, 7.0, 7.0, 7.0, -1.0, -1.0, -1.0, -1.0]);
    check("v0 = load src[1] store dst[1] = v0 lanes 2 stride 4", COUNT, [-1.0, 1.0, -1.0, -1.0, -1.0, 2.0, -1.0, -1.0]);
    check("v0 = broadcast src[7] store dst[0] = v0", COUNT, [7.0, 7.0, 7.0, 7.0, -1.0, -1.0, -1.0, -1.0]);
}

#[test]
fn arithmetic() {
    let binary = |op: &str, expect: [f32; 4]| {
        let [a, b, c, d] = expect;
        let src = [1.0, -0.0, f32::NAN, 6.0, 2.0, 0.0, 1.0, f32::NAN];
        let body = format!("v0 = load src[0] v1 = load src[4] v2 = {op} v0, v1 store dst[0] = v2");
        check(&body, src, [a, b, c, d, -1.0, -1.0, -1.0, -1.0]);
    };
    // Not greater and not less: the second operand, so that its NaN and its zero go through.
    binary("max", [2.0, 0.0, 1.0, f32::NAN]);
    binary("min", [1.0, 0.0, 1.0, f32::NAN]);
    let four = "v0 = load src[0] v1 = load src[4]";
    let stores = |op: &str| format!("{four} v2 = {op} v0, v1 store dst[0] = v2");
    let src = [1.0, 8.0, -3.0, 0.5, 2.0, 4.0, 1.0, 0.25];
    check(&stores("add"), src, [3.0, 12.0, -2.0, 0.75, -1.0, -1.0, -1.0, -1.0]);
    check(&stores("sub"), src, [-1.0, 4.0, -4.0, 0.25, -1.0, -1.0, -1.0, -1.0]);
    check(&stores("mul"), src, [2.0, 32.0, -3.0, 0.125, -1.0, -1.0, -1.0, -1.0]);
    check(&stores("div"), src, [0.5, 2.0, -3.0, 2.0, -1.0, -1.0, -1.0, -1.0]);
}

#[test]
fn fma_rounds_once_and_mul_add_twice() {
    let e = f32::EPSILON;
    let src = [1.0 + e, 1.0 - e, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let load = "v0 = broadcast src[0] v1 = broadcast src[1] v2 = broadcast src[2]";
    let fused = format!("{load} v3 = fma v0, v1, v2 store dst[0] = v3");
    check(&fused, src, [-e * e, -e * e, -e * e, -e * e, -1.0, -1.0, -1.0, -1.0]);
    let apart = format!("{load} v3 = mul v0, v1 v3 = add v3, v2 store dst[0] = v3");
    check(&apart, src, [0.0, 0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -1.0]);
}

#[test]
fn select_and_exponent() {
    let src = [1.0, 2.0, f32::NAN, 3.0, 0.0, 2.0, 0.0, 1.0];
    let body = "v0 = load src[0] v1 = load src[4] v2 = const 10.0 v3 = const 20.0
                v4 = select v0 > v1, v2, v3 store dst[0] = v4
                v5 = const 12583040.0 v5 = exponent v5 store dst[4] = v5";
    check(body, src, [10.0, 20.0, 20.0, 10.0, f32::from_bits(128 << 23), 2.0, 2.0, 2.0]);
}

#[test]
fn loops_move_pointers_and_put_them_back() {
    // The range is 1..3: elements 2 and 4, then once more from the start.
    let body = "v0 = const 0.0
                loop r: src += 2 { v1 = broadcast src[0] v0 = add v0, v1 loop 0: src += 100 { v0 = const 9.0 } }
                v1 = broadcast src[1] v0 = add v0, v1
                store dst[0] = v0 lanes 1
                loop 3: dst += 1 { store dst[1] = v0 lanes 1 }";
    check(body, COUNT, [7.0, 7.0, 7.0, 7.0, -1.0, -1.0, -1.0, -1.0]);
}

const COPY: &str = "
kernel copy f64 avx2 {
    buffer src[8*N] buffer dst[8*N] vars N, n, i
    tile copy(src, dst) registers 1 { v0 = load src[0] store dst[0] = v0 }
    nest copy { parallel for n in 0..N { for i in 0..2 { call copy(src[8*n + 4*i], dst[8*n - 4*i + 4]) } } }
}";

#[test]
fn a_nest_runs_in_parts() {
    let kernel = verify(kernel(COPY)).unwrap();
    let src: Vec<f64> = (0..24).map(f64::from).collect();
    let mut whole = vec![0.0; 24];
    run(&kernel, 3, &mut Buffers { src: &src, dst: &mut whole, ..Buffers::default() }).unwrap();
    assert_eq!(whole[..9], [4.0, 5.0, 6.0, 7.0, 0.0, 1.0, 2.0, 3.0, 12.0]);
    let mut parts = vec![0.0; 24];
    let mut buffers = Buffers { src: &src, dst: &mut parts, ..Buffers::default() };
    assert_eq!(outer_range(&kernel, 0, 3), Ok(0..3));
    for part in [2..3, 0..2, 1..1] {
        run_nest(&kernel, 0, part, 3, &mut buffers).unwrap();
    }
    assert_eq!(parts, whole);
    run(&kernel, 0, &mut Buffers::<f64>::default()).unwrap();
}

/// Each iteration copies four elements by way of `local`; it begins to write there at `to`, and reads at 0.
fn through_local(to: i64, how: &str) -> Verified {
    let text = format!(
        "kernel k f32 sse {{
            buffer src[8] buffer dst[8] buffer local[12] vars N, p
            tile copy(from, to) registers 1 {{ v0 = load from[0] store to[0] = v0 }}
            nest n {{ {how} for p in 0..2 {{ call copy(src[4*p], local[{to}]) call copy(local[0], dst[4*p]) }} }}
        }}"
    );
    verify(kernel(&text)).unwrap_or_else(|e| panic!("{e} in\n{text}"))
}

#[test]
fn an_iteration_finds_nothing_in_local() {
    for how in ["", "parallel"] {
        let copy = |to| {
            let (mut dst, mut local) = ([-1.0_f32; 8], [7.0; 12]);
            let mut buffers = Buffers { src: &COUNT, dst: &mut dst, local: &mut local, ..Buffers::default() };
            run(&through_local(to, how), 0, &mut buffers).unwrap();
            dst
        };
        assert_eq!(copy(0), COUNT);
        assert!(copy(8).iter().all(|x| x.is_nan()), "neither what was there before nor what the last iteration left");
        let half = copy(2);
        assert_eq!([2, 3, 6, 7].map(|i| half[i]), [0.0, 1.0, 4.0, 5.0]);
        assert!([0, 1, 4, 5].iter().all(|&i| half[i].is_nan()));
    }
    let (kernel, mut dst, mut local) = (through_local(0, "parallel"), [0.0_f32; 8], [0.0; 12]);
    for (part, at) in [(1..2, 4), (0..1, 0)] {
        let mut buffers = Buffers { src: &COUNT, dst: &mut dst, local: &mut local, ..Buffers::default() };
        run_nest(&kernel, 0, part, 0, &mut buffers).unwrap();
        assert_eq!(dst[at..at + 4], COUNT[at..at + 4]);
    }
    for len in [0, 11, 13] {
        let mut local = vec![0.0; len];
        let mut buffers = Buffers { src: &COUNT, dst: &mut dst, local: &mut local, ..Buffers::default() };
        let found = run(&kernel, 3, &mut buffers).map_err(|e| e.to_string());
        assert_eq!(found, Err(format!("`local` must have 12 elements for a batch of 3, it has {len}")));
    }
}

#[test]
fn wrong_buffers_are_refused() {
    let kernel = verify(kernel(COPY)).unwrap();
    let message = |r: Result<(), RunError>| r.map_err(|e| e.to_string());
    let (src, mut dst) = ([0.0_f64; 24], [0.0_f64; 23]);
    let mut buffers = Buffers { src: &src, dst: &mut dst, ..Buffers::default() };
    let short = "`dst` must have 24 elements for a batch of 3, it has 23";
    assert_eq!(message(run(&kernel, 3, &mut buffers)), Err(short.to_owned()));
    assert_eq!(message(run_nest(&kernel, 0, 0..1, 3, &mut buffers)), Err(short.to_owned()));
    let huge = message(run(&kernel, usize::MAX, &mut buffers));
    assert_eq!(
        huge,
        Err("`src` must have 147573952589676412920 elements for a batch of 18446744073709551615, it has 24".to_owned())
    );
    let types = message(run(&kernel, 0, &mut Buffers::<f32>::default()));
    assert_eq!(types, Err("kernel `copy` computes f64, the buffers hold f32".to_owned()));
    let none = message(run_nest(&kernel, 1, 0..1, 0, &mut Buffers::<f64>::default()));
    assert_eq!(none, Err("kernel `copy` has 1 nests, there is no nest 1".to_owned()));
    let part = message(run_nest(&kernel, 0, 0..1, 0, &mut Buffers::<f64>::default()));
    assert_eq!(part, Err("nest 0 runs from 0 to 0, which 0..1 is no part of".to_owned()));
}

#[test]
fn kernels_that_no_verifier_has_seen_do_not_reach_outside() {
    let text = COPY.replace("src[0]", "src[-1]");
    let (src, mut dst) = ([0.0_f64; 8], [0.0_f64; 8]);
    let mut buffers = Buffers { src: &src, dst: &mut dst, ..Buffers::default() };
    let found = run_kernel(&kernel(&text), 1, &mut buffers).map_err(|e| e.to_string());
    assert_eq!(found, Err("tile `copy` reaches elements -1 to 2 of `src`, which has 8".to_owned()));
}

#[test]
fn gathers_leave_out_what_is_not_there() {
    let kernel = "
kernel gathers f32 sse {
    buffer src[6]
    buffer weights[4]
    buffer dst[4]
    vars N, i
    tile gathers(src, weights, dst) registers 2 {
        v0 = load weights[0]
        v0 = int v0
        v1 = gather src[1] at v0 of 4
        store dst[0] = v1
    }
    nest compute {
        for i in 0..1 {
            call gathers(src[0], weights[0], dst[0])
        }
    }
}
";
    let kernel = crate::ir::verify(kernel.parse().unwrap()).unwrap();
    let (src, mut dst) = ([10.0, 11.0, 12.0, 13.0, 14.0, 15.0], [0.0_f32; 4]);
    for (at, expect) in [([0.0, 3.0, 1.0, 1.0], [11.0, 14.0, 12.0, 12.0]), ([-1.0, 4.0, f32::NAN, 1e20], [0.0; 4])] {
        let mut buffers = Buffers { src: &src, weights: &at, dst: &mut dst, ..Buffers::default() };
        run(&kernel, 1, &mut buffers).unwrap();
        assert_eq!(dst, expect);
    }
}
