use std::time::Instant;

use super::{VerifyError, verify};
use crate::ir::Kernel;

/// A window of three rows over an 8x8 image with a row of padding above and below.
const ROWS: &str = "
kernel rows f32 sse fma {
    buffer src[64*N]
    buffer weights[12]
    buffer dst[64*N]
    buffer scratch[64]
    vars N, n, oh, i
    tile rows(src, weights, dst; kh) registers 3 {
        v0 = const 0.0
        loop kh: src += 8, weights += 4 {
            v1 = broadcast src[0]
            v2 = load weights[0]
            v0 = fma v1, v2, v0
        }
        store dst[0] = v0
        store dst[4] = v0
    }
    tile fill(scratch) registers 1 {
        loop 2 {
            v0 = const 1.0
        }
        store scratch[0] = v0
    }
    nest fill {
        for i in 0..16 {
            call fill(scratch[4*i])
        }
    }
    nest compute {
        parallel for n in 0..N {
            for oh in 0..8 {
                call rows(src[64*n + 8*oh - 8], weights[0], dst[64*n + 8*oh]; max(0, -oh + 1)..min(3, -oh + 9))
            }
        }
    }
}
";

fn parse(text: &str) -> Kernel {
    text.parse().unwrap_or_else(|e| panic!("{e} in\n{text}"))
}

/// `ROWS` with each `from` replaced by its `to`.
fn changed(changes: &[(&str, &str)]) -> Kernel {
    let mut text = ROWS.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "`{from}` does not occur");
        text = text.replace(from, to);
    }
    parse(&text)
}

fn accepts(changes: &[(&str, &str)]) {
    let kernel = changed(changes);
    if let Err(e) = verify(kernel.clone()) {
        panic!("{e} in\n{kernel}");
    }
}

fn refuses(changes: &[(&str, &str)], expect: &str) {
    refuses_kernel(changed(changes), expect);
}

fn refuses_kernel(kernel: Kernel, expect: &str) {
    let found = verify(kernel).map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(found, Err(expect.to_owned()));
}

#[test]
fn a_window_over_a_padded_image_is_accepted() {
    accepts(&[]);
}

#[test]
fn names() {
    accepts(&[("kernel rows", "kernel other")]);
    refuses(&[("nest fill", "nest fn")], "nest `fn` is not an identifier");
    let mut kernel = parse(ROWS);
    kernel.name = "3x3".to_owned();
    refuses_kernel(kernel, "kernel `3x3` is not an identifier");
    let mut kernel = parse(ROWS);
    kernel.vars[3] = "oh".to_owned();
    refuses_kernel(kernel, "there are two variables called `oh`");
    refuses(&[("tile fill(", "tile rows("), ("call fill", "call rows")], "there are two tiles called `rows`");
    refuses(&[("; kh)", "; src)"), ("loop kh", "loop src")], "there are two parameters called `src`");
    let mut kernel = parse(ROWS);
    kernel.vars.clear();
    refuses_kernel(kernel, "the first variable must be the batch size, the kernel has no variables");
}

#[test]
fn buffers() {
    let mut kernel = parse(ROWS);
    kernel.buffers.swap(1, 2);
    let order = "buffer `weights` comes after `dst`, the order is src, weights, bias, residual, offset, mask, positions, dst, indices, scratch, local";
    refuses_kernel(kernel, order);
    let mut kernel = parse(ROWS);
    kernel.buffers[1] = kernel.buffers[0].clone();
    refuses_kernel(kernel, "there are two buffers called `src`");
    let length = "the length of `src` must be made of `N` and numbers that are not negative";
    refuses(&[("src[64*N]", "src[64*oh]")], length);
    refuses(&[("src[64*N]", "src[64*N - 1]")], length);
    accepts(&[("src[64*N]", "src[64*N + 1]")]);
}

#[test]
fn numbers_and_affines() {
    accepts(&[("- 8]", "- 8 + 1099511627776 - 1099511627776]")]);
    refuses(&[("8*oh - 8]", "8*oh - 1099511627777]")], "a constant is -1099511627777, numbers go up to 1099511627776");
    refuses(
        &[("src += 8", "src += 9223372036854775807")],
        "a step is 9223372036854775807, numbers go up to 1099511627776",
    );
    refuses(
        &[("broadcast src[0]", "broadcast src[-9223372036854775808]")],
        "an offset is -9223372036854775808, numbers go up to 1099511627776",
    );
    refuses(
        &[("loop 2", "loop 18446744073709551615")],
        "a loop's count is 18446744073709551615, numbers go up to 1099511627776",
    );
    refuses(&[("-oh + 9)", "ceil(-oh + 9 / 0))")], "a bound of `kh` divides by 0, the least divisor is 1");
    refuses(&[("max(0, -oh + 1)", "max()")], "the range of `kh` has 0 lower and 2 upper bounds, it needs one of each");
    let mut kernel = parse(ROWS);
    kernel.buffers[0].len.terms.push((crate::ir::Var(0), 1));
    let form = "an affine in the length of `src` is not in normal form: variables in order, each once, no factor 0";
    refuses_kernel(kernel, form);
}

#[test]
fn variables() {
    refuses(
        &[("for i in 0..16", "for i in 0..oh")],
        "the range of `i` uses variable `oh`, which no loop around it binds",
    );
    refuses(
        &[("fill(scratch[4*i])", "fill(scratch[4*n])")],
        "a call of `fill` uses variable `n`, which no loop around it binds",
    );
    refuses(
        &[("for i in", "for n in"), ("4*i", "4*n")],
        "a loop binds variable `n`, which another loop or the kernel binds",
    );
    refuses(
        &[("for i in", "for N in"), ("4*i", "4*N")],
        "a loop binds variable `N`, which another loop or the kernel binds",
    );
    let mut kernel = parse(ROWS);
    kernel.nests[0].outer.var = crate::ir::Var(9);
    refuses_kernel(kernel, "variable 9 is used, the kernel has 4");
    refuses(
        &[("for oh in", "parallel for oh in")],
        "the loop over `oh` is parallel, only the outermost of a nest may be",
    );
}

#[test]
fn depth() {
    let nested = |depth: usize| {
        let open = "loop 1 {".repeat(depth);
        let close = "}".repeat(depth);
        format!("{open} v0 = const 1.0 {close}")
    };
    let body = "loop 2 {\n            v0 = const 1.0\n        }";
    accepts(&[(body, &nested(7))]);
    refuses(&[(body, &nested(8))], "tile `fill` has loops 8 deep, the limit is 7");
    let vars: Vec<String> = (0..17).map(|i| format!("x{i}")).collect();
    let loops = |depth: usize| {
        let open: String = vars[..depth].iter().map(|v| format!("for {v} in 0..1 {{")).collect();
        format!("nest fill {{ {open} call fill(scratch[0]) {} }}", "}".repeat(depth))
    };
    let nest = "nest fill {\n        for i in 0..16 {\n            call fill(scratch[4*i])\n        }\n    }";
    let list = format!("oh, i, {}", vars.join(", "));
    accepts(&[("oh, i", &list), (nest, &loops(16))]);
    refuses(&[("oh, i", &list), (nest, &loops(17))], "nest `fill` has loops 17 deep, the limit is 16");
}

#[test]
fn calls() {
    let call = "call fill(scratch[4*i])";
    refuses(&[(call, "call fill()")], "a call of `fill` passes 0 arguments, the tile has 1");
    refuses(&[(call, "call fill(scratch[4*i]; 0..1)")], "a call of `fill` passes 1 ranges, the tile has 0");
    refuses(&[(call, "call fill(bias[4*i])")], "a call of `fill` passes `bias`, which the kernel does not list");
    let mut kernel = parse(ROWS);
    kernel.tiles.pop();
    refuses_kernel(kernel, "a call in nest `fill` names tile 1, the kernel has 1");
}

#[test]
fn roles() {
    let read_only = "tile `fill` stores to `scratch`, for which a call passes `weights`, which is read only";
    refuses(&[("call fill(scratch[4*i])", "call fill(weights[0])")], read_only);
    let reads = "tile `rows` loads from `src`, for which a call passes `dst`, which no nest before has written";
    refuses(&[("rows(src[64", "rows(dst[64")], reads);
    accepts(&[("store scratch[0]", "v0 = load scratch[0] store scratch[0]")]);
}

#[test]
fn registers() {
    accepts(&[("registers 3", "registers 16")]);
    refuses(&[("registers 3", "registers 17")], "tile `rows` uses 17 registers, sse has 16");
    refuses(&[("v2 = load", "v3 = load")], "tile `rows` uses register v3, it has 3");
    refuses(&[("fma v1, v2, v0", "fma v1, v5, v0")], "tile `rows` uses register v5, it has 3");
    refuses(&[("v2 = load weights[0]", "")], "tile `rows` uses register v2 before it is defined on every path");
    refuses(
        &[("store dst[4] = v0", "store dst[4] = v1")],
        "tile `rows` uses register v1 before it is defined on every path",
    );
    refuses(&[("loop 2", "loop 0")], "tile `fill` uses register v0 before it is defined on every path");
}

#[test]
fn parameters() {
    let mut kernel = parse(ROWS);
    kernel.tiles[0].ranges.clear();
    refuses_kernel(kernel, "tile `rows` uses range 0, it has 0");
    let mut kernel = parse(ROWS);
    kernel.tiles[1].pointers.clear();
    refuses_kernel(kernel, "tile `fill` uses pointer 0, it has 0");
    refuses(&[("src += 8, ", "src += 8, src += 8, ")], "a loop of tile `rows` moves pointer `src` twice");
}

#[test]
fn accesses() {
    accepts(&[("load weights[0]", "load weights[0] lanes 2 stride 3")]);
    accepts(&[("load weights[0]", "load weights[0] lanes 4 stride 3 repeat 2")]);
    accepts(&[("v0 = const 0.0\n", "v0 = const 0.0\nprefetch src[-1000]\nprefetch dst[1000000]\n")]);
    refuses(
        &[("load weights[0]", "load weights[0] lanes 5")],
        "an access of tile `rows` has 5 lanes, a register has 4",
    );
    refuses(
        &[("load weights[0]", "load weights[0] lanes 0")],
        "an access of tile `rows` has 0 lanes, a register has 4",
    );
    refuses(
        &[("load weights[0]", "load weights[0] stride 0")],
        "an access of tile `rows` has stride 0, the least is 1",
    );
    refuses(
        &[("load weights[0]", "load weights[0] stride -1")],
        "an access of tile `rows` has stride -1, the least is 1",
    );
    refuses(
        &[("load weights[0]", "load weights[0] repeat 0")],
        "an access of tile `rows` has repeat 0, the least is 1",
    );
    refuses(
        &[("store dst[4] = v0", "store dst[4] = v0 repeat 2")],
        "a store of tile `rows` has repeat 2, and only loads can",
    );
    let fma = "tile `rows` has a fused multiply-add, the kernel says that it has none";
    refuses(&[("f32 sse fma {", "f32 sse {")], fma);
}

#[test]
fn below() {
    refuses(&[("max(0, -oh + 1)", "0")], "nest `compute`: tile `rows` may reach element -8 of `src`, the first is 0");
    refuses(
        &[("max(0, -oh + 1)", "-oh + 1")],
        "nest `compute`: tile `rows` may reach element -24 of `weights`, the first is 0",
    );
    refuses(
        &[("store scratch[0]", "store scratch[-1]")],
        "nest `fill`: tile `fill` may reach element -1 of `scratch`, the first is 0",
    );
    refuses(
        &[("rows(src[64*n", "rows(src[-64*n")],
        "nest `compute`: tile `rows` may reach element (no bound is known) of `src`, the first is 0",
    );
}

#[test]
fn above() {
    refuses(&[("min(3, -oh + 9)", "3")], "nest `compute`: tile `rows` may reach element 1 past the last of `src`");
    refuses(
        &[("min(3, -oh + 9)", "-oh + 9")],
        "nest `compute`: tile `rows` may reach element 24 past the last of `weights`",
    );
    refuses(&[("i in 0..16", "i in 0..17")], "nest `fill`: tile `fill` may reach element 4 past the last of `scratch`");
    refuses(
        &[("i in 0..16", "i in 0..N")],
        "nest `fill`: tile `fill` may reach element (no bound is known) past the last of `scratch`",
    );
    refuses(
        &[("store dst[4] = v0", "store dst[4] = v0 stride 2")],
        "nest `compute`: tile `rows` may reach element 3 past the last of `dst`",
    );
}

#[test]
fn loops_that_never_run_need_no_proof() {
    accepts(&[("i in 0..16", "i in 16..16"), ("store scratch[0]", "store scratch[-100]")]);
    accepts(&[("i in 0..16", "i in 0..min(16, 0)"), ("store scratch[0]", "store scratch[-100]")]);
    let dead = "loop 0 { store scratch[-100] = v0 } store scratch[0]";
    accepts(&[("store scratch[0]", dead)]);
    // A batch of no images has nothing to write, one of any number has.
    accepts(&[("scratch[64]", "scratch[64*N]"), ("i in 0..16", "i in 0..16*N")]);
    refuses(
        &[("scratch[64]", "scratch[64*N]")],
        "nest `fill`: tile `fill` may reach element 64 past the last of `scratch`",
    );
}

#[test]
fn strides_and_dilations_are_exact() {
    // Rows 3 * oh + 2 * kh - 5 of 8: the first tap is ceil((5 - 3 * oh) / 2), the last before ceil((13 - 3 * oh) / 2).
    let call = "call rows(src[64*n + 8*oh - 8], weights[0], dst[64*n + 8*oh]; max(0, -oh + 1)..min(3, -oh + 9))";
    let dilated = |lo: i64, hi: i64| {
        format!(
            "call rows(src[64*n + 24*oh - 40], weights[0], dst[64*n + 8*oh]; \
             max(0, ceil({lo} - 3*oh / 2))..min(3, ceil({hi} - 3*oh / 2)))"
        )
    };
    let steps = ("src += 8", "src += 16");
    accepts(&[steps, (call, &dilated(5, 13))]);
    refuses(
        &[steps, (call, &dilated(4, 13))],
        "nest `compute`: tile `rows` may reach element -8 of `src`, the first is 0",
    );
    refuses(
        &[steps, (call, &dilated(5, 14))],
        "nest `compute`: tile `rows` may reach element 1 past the last of `src`",
    );
}

#[test]
fn parallel_batch() {
    refuses(
        &[("dst[64*n + 8*oh]", "dst[8*oh]")],
        "nest `compute` is parallel over `n`, but its iterations are not known to keep apart in `dst`: it does not move its accesses",
    );
    refuses(
        &[("dst[64*n + 8*oh]", "dst[56*n + 8*oh]")],
        "nest `compute` is parallel over `n`, but its iterations are not known to keep apart in `dst`: \
         it moves its accesses by 56 elements, and one iteration spans 64",
    );
    accepts(&[("dst[64*n + 8*oh]", "dst[8*oh]"), ("n in 0..N", "n in max(0, -N + 1)..min(1, N)")]);
}

/// Rows `p` of `channels` channels of a 7x8 image, four channels a vector, in blocks of `block` rows.
fn planes(len: usize, channel: i64, stride: i64, block: i64, blocks: i64) -> Kernel {
    let step = 8 * block;
    parse(&format!(
        "kernel planes f32 sse {{
            buffer dst[{len}]
            vars N, p, c, oh, ow
            tile t(dst) registers 1 {{
                v0 = const 0.0
                store dst[0] = v0 stride {stride}
                store dst[1] = v0 stride {stride}
            }}
            nest compute {{
                parallel for p in 0..{blocks} {{
                    for c in 0..2 {{
                        for oh in 0..min({block}, 7 - {block}*p) {{
                            for ow in 0..4 {{
                                call t(dst[{step}*p + 8*oh + 2*ow + {channel}*c])
                            }}
                        }}
                    }}
                }}
            }}
        }}"
    ))
}

#[test]
fn parallel_rows_of_planes() {
    for (block, blocks) in [(1, 7), (2, 4), (3, 3), (4, 2), (7, 1)] {
        let found = verify(planes(448, 224, 56, block, blocks)).map(|_| ());
        assert_eq!(found, Ok(()), "blocks of {block} rows");
    }
}

#[test]
fn parallel_rows_that_overlap_the_next_plane() {
    // Planes of 6 rows where the image has 7: row 6 of one plane is row 0 of the next.
    let found = verify(planes(448, 192, 48, 1, 7)).map(|_| ());
    assert!(matches!(found, Err(VerifyError::Together { .. })), "{found:?}");
    let found = verify(planes(448, 192, 48, 2, 4)).map(|_| ());
    assert!(matches!(found, Err(VerifyError::Together { .. })), "{found:?}");
}

/// Pixels of 16 lanes, planes of 4 pixels: a tile that begins at lane 12 of one plane and goes on at lane 0 of the next.
#[test]
fn parallel_pixels_whose_first_lanes_are_of_the_next_plane() {
    let kernel = |plane: usize| {
        parse(&format!(
            "kernel k f32 sse {{
                buffer dst[384]
                vars N, p, n
                tile t(a) registers 1 {{
                    v0 = const 0.0
                    store a[0] = v0
                    store a[{}] = v0
                    store a[{}] = v0
                }}
                nest n {{
                    parallel for p in 0..4 {{
                        for n in 0..2 {{
                            call t(dst[16*p + 192*n + 12])
                        }}
                    }}
                }}
            }}",
            plane - 12,
            plane - 8,
        ))
    };
    assert_eq!(verify(kernel(64)).map(|_| ()), Ok(()));
    // Planes four elements shorter: the last pixel of one and the first of the next have those in common.
    let found = verify(kernel(60)).map(|_| ());
    assert!(matches!(found, Err(VerifyError::Together { .. })), "{found:?}");
}

#[test]
fn parallel_iterations_do_not_read_what_others_write() {
    let kernel = |load: &str| {
        parse(&format!(
            "kernel k f32 sse {{
                buffer scratch[80]
                vars N, p
                tile t(a, b) registers 1 {{
                    v0 = load a[0]
                    store b[0] = v0
                }}
                nest n {{
                    parallel for p in 0..8 {{
                        call t(scratch[{load}], scratch[8*p])
                    }}
                }}
            }}"
        ))
    };
    assert_eq!(verify(kernel("8*p + 4")).map(|_| ()), Ok(()));
    for load in ["8*p + 5", "0", "60 - 8*p"] {
        let found = verify(kernel(load)).map(|_| ());
        assert!(matches!(found, Err(VerifyError::Together { .. })), "{load}: {found:?}");
    }
}

/// Iterations that all use the first places of `space`, which has `len` elements.
fn overlapping(space: &str, len: &str) -> Kernel {
    parse(&format!(
        "kernel k f32 sse {{
            buffer src[64] buffer dst[64] buffer {space}[{len}]
            vars N, p
            tile put(src, space) registers 1 {{ v0 = load src[0] store space[4] = v0 }}
            tile take(space, dst) registers 1 {{ v0 = load space[3] store dst[0] = v0 }}
            nest n {{
                parallel for p in 0..16 {{
                    call put(src[4*p], {space}[0])
                    call take({space}[0], dst[4*p])
                }}
            }}
        }}"
    ))
}

#[test]
fn iterations_have_local_buffers_of_their_own() {
    assert_eq!(verify(overlapping("local", "8")).map(|_| ()), Ok(()));
    refuses_kernel(
        overlapping("scratch", "8"),
        "nest `n` is parallel over `p`, but its iterations are not known to keep apart in `scratch`: \
         it does not move its accesses",
    );
}

#[test]
fn local_buffers_have_a_length_and_bounds() {
    refuses_kernel(
        overlapping("local", "8*N"),
        "the length of `local` must be a number, it grows by 8 elements an image",
    );
    refuses_kernel(
        overlapping("local", "N + 8"),
        "the length of `local` must be a number, it grows by 1 elements an image",
    );
    refuses_kernel(overlapping("local", "7"), "nest `n`: tile `put` may reach element 1 past the last of `local`");
    let mut kernel = overlapping("local", "8");
    kernel.buffers.swap(1, 2);
    let order = "buffer `dst` comes after `local`, the order is src, weights, bias, residual, offset, mask, positions, dst, indices, scratch, local";
    refuses_kernel(kernel, order);
    let mut kernel = overlapping("local", "8");
    kernel.buffers.pop();
    refuses_kernel(kernel, "a call of `put` passes `local`, which the kernel does not list");
}

#[test]
fn a_kernel_of_many_accesses_is_checked_quickly() {
    let stores: String = (0..40).map(|i| format!("store dst[{}] = v0\n", 4 * (i % 2))).collect();
    let call = "call rows(src[64*n + 8*oh - 8], weights[0], dst[64*n + 8*oh]; max(0, -oh + 1)..min(3, -oh + 9))\n";
    let kernel = changed(&[("store dst[0] = v0", &stores), (call.trim(), &call.repeat(20))]);
    let started = Instant::now();
    let rounds = 20;
    for _ in 0..rounds {
        assert!(verify(kernel.clone()).is_ok());
    }
    let each = started.elapsed() / rounds;
    // Generous, for machines that are busy with other tests; the aim is one millisecond.
    assert!(each.as_millis() < 20, "{each:?}");
}

#[test]
fn gathers() {
    let gather = |what: &str| format!("v2 = load weights[0]\n            v1 = gather {what}");
    let with = |what: &str| [("v2 = load weights[0]", gather(what))];
    let changed_to = |what: &str| with(what).map(|(from, to)| (from.to_owned(), to));
    let check = |what: &str, expect: Option<&str>| {
        let changes = changed_to(what);
        let changes: Vec<_> = changes.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        match expect {
            None => accepts(&changes),
            Some(expect) => refuses(&changes, expect),
        }
    };
    // Of three rows of weights a tile may reach the rest of the last.
    check("weights[0] at v2 of 4", None);
    check("weights[0] at v2 of 5", Some("nest `compute`: tile `rows` may reach element 1 past the last of `weights`"));
    check(
        "weights[-1] at v2 of 5",
        Some("nest `compute`: tile `rows` may reach element -1 of `weights`, the first is 0"),
    );
    check("weights[0] at v2 of 0", Some("tile `rows` gathers into v1, of no elements"));
    check("weights[0] at v1 of 4", Some("tile `rows` gathers into v1, which its integers are in"));
    check(
        "dst[0] at v2 of 1",
        Some("tile `rows` loads from `dst`, for which a call passes `dst`, which no nest before has written"),
    );
}

/// Elements of two planes of five, each to one of the twelve of its plane of the output, which are two apart.
const SCATTER: &str = "
kernel scatter f64 sse {
    buffer src[10*N]
    buffer positions i32[10*N]
    buffer dst[24*N]
    vars N, n, c
    tile put(src, positions, dst) registers 0 {
        loop 5: src += 2, positions += 2 {
            scatter dst[0] count 12 stride 2 = src[0] at positions[0]
        }
    }
    nest unpool {
        parallel for c in 0..2 {
            for n in 0..N {
                call put(src[10*n + c], positions[10*n + c], dst[24*n + c])
            }
        }
    }
}
";

#[test]
fn a_scatter_is_a_store_to_every_element() {
    let changed = |changes: &[(&str, &str)]| {
        let text = changes.iter().fold(SCATTER.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "`{from}` does not occur");
            text.replace(from, to)
        });
        verify(parse(&text)).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(changed(&[]), Ok(()));
    for (changes, expect) in [
        (&[("count 12", "count 13")][..], "nest `unpool`: tile `put` may reach element 2 past the last of `dst`"),
        (&[("count 12", "count 0")], "a scatter of tile `put` is to 0 elements, they are from 1 to 2147483647"),
        (&[("stride 2 =", "stride 0 =")], "an access of tile `put` has stride 0, the least is 1"),
        (
            &[("positions i32", "positions")],
            "a scatter of tile `put` is from f64 to f64 at f64, and the first two are the same type, the last i32",
        ),
        (
            &[("= src[0] at positions[0]", "= positions[0] at positions[0]")],
            "a scatter of tile `put` is from i32 to f64 at i32, and the first two are the same type, the last i32",
        ),
        (
            &[("registers 0", "registers 1"), ("scatter dst", "v0 = load positions[0]\n scatter dst")],
            "tile `put` has `a load of them`, and only kernels of f32 have integers",
        ),
        (
            &[("scatter dst[0] count 12 stride 2 = src[0]", "scatter src[0] count 5 stride 2 = src[0]")],
            "tile `put` stores to `src`, for which a call passes `src`, which is read only",
        ),
    ] {
        assert_eq!(changed(changes), Err(expect.to_owned()), "{changes:?}");
    }
    let together = changed(&[("stride 2 =", "stride 1 =")]).unwrap_err();
    assert!(together.starts_with("nest `unpool` is parallel over `c`"), "{together}");
}
