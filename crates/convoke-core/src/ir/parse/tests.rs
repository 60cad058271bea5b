use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::ir::Conversion;
use crate::ir::{
    Access, Address, Affine, Arg, BinaryOp, Buffer, Call, CeilDiv, Extent, Kernel, Loop, Nest, Op, Ptr, Range, Reg,
    Role, Stmt, Tile, TileLoop, TileStmt, Var,
};
use crate::spec::{DType, Storage};
use crate::target::Isa;

const VARS: u32 = 4;

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -20..20_i64, 1 => any::<i64>(), 1 => select(vec![i64::MIN, i64::MAX])]
}

fn affine() -> impl Strategy<Value = Affine> {
    let terms = proptest::collection::btree_map(0..VARS, number().prop_filter("not 0", |&f| f != 0), 0..3);
    (terms, number())
        .prop_map(|(terms, constant)| Affine { terms: terms.into_iter().map(|(v, f)| (Var(v), f)).collect(), constant })
}

fn range() -> impl Strategy<Value = Range> {
    let bound =
        || (affine(), prop_oneof![Just(1), number()]).prop_map(|(numerator, divisor)| CeilDiv { numerator, divisor });
    (vec(bound(), 0..3), vec(bound(), 0..3)).prop_map(|(lo, hi)| Range { lo, hi })
}

fn op() -> impl Strategy<Value = Op> {
    let reg = || (0..40_u32).prop_map(Reg);
    let address = || (0..2_u32, number()).prop_map(|(ptr, offset)| Address { ptr: Ptr(ptr), offset });
    let access = || {
        let shape = (1..9_usize, prop_oneof![Just(1), number()], prop_oneof![Just(1), 0..20_usize]);
        (address(), shape).prop_map(|(at, (lanes, stride, repeat))| Access { at, lanes, stride, repeat })
    };
    let value = prop_oneof![
        any::<f64>().prop_filter("NaN is not equal to itself", |v| !v.is_nan()),
        select(vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE / 4.0, f64::MAX, 1e22, 0.1]),
    ];
    prop_oneof![
        (reg(), value).prop_map(|(d, value)| Op::Const { d, value }),
        (reg(), access()).prop_map(|(d, from)| Op::Load { d, from }),
        (reg(), address()).prop_map(|(d, from)| Op::Broadcast { d, from }),
        (reg(), access()).prop_map(|(d, from)| Op::Pairs { d, from }),
        (reg(), access()).prop_map(|(d, from)| Op::Quads { d, from }),
        (reg(), reg(), access(), any::<u32>()).prop_map(|(d, a, from, of)| Op::Gather { d, a, from: from.at, of }),
        (reg(), reg(), reg(), reg()).prop_map(|(d, a, b, c)| Op::Dot4 { d, a, b, c }),
        (select(&Conversion::ALL[..]), reg(), reg()).prop_map(|(op, d, a)| Op::Convert { op, d, a }),
        (reg(), reg(), reg(), reg()).prop_map(|(d, a, b, c)| Op::Fma { d, a, b, c }),
        (select(&BinaryOp::ALL[..]), reg(), reg(), reg()).prop_map(|(op, d, a, b)| Op::Binary { op, d, a, b }),
        (reg(), reg(), reg(), reg(), reg()).prop_map(|(d, a, b, c, e)| Op::Select { d, a, b, c, e }),
        (reg(), reg()).prop_map(|(d, a)| Op::Exponent { d, a }),
        (reg(), reg()).prop_map(|(d, a)| Op::Sqrt { d, a }),
        address().prop_map(|at| Op::Prefetch { at }),
        (access(), reg()).prop_map(|(to, s)| Op::Store { to, s }),
        (address(), any::<u64>(), prop_oneof![Just(1), number()], address(), address())
            .prop_map(|(to, count, stride, from, at)| Op::Scatter { to, count, stride, from, at }),
    ]
}

fn tile(name: &'static str) -> impl Strategy<Value = Tile> {
    let leaf = op().prop_map(TileStmt::Op);
    let stmt = leaf.prop_recursive(3, 20, 4, |inner| {
        let extent = prop_oneof![any::<u64>().prop_map(Extent::Count), (0..2_u32).prop_map(Extent::Range)];
        let steps = vec(((0..2_u32).prop_map(Ptr), number()), 0..3);
        (extent, steps, vec(inner, 0..4))
            .prop_map(|(extent, steps, body)| TileStmt::Loop(TileLoop { extent, steps, body }))
    });
    (vec(stmt, 0..6), any::<u32>()).prop_map(move |(body, registers)| Tile {
        name: name.to_owned(),
        pointers: vec!["src".to_owned(), "store".to_owned()],
        ranges: vec!["kh".to_owned(), "max".to_owned()],
        registers: registers as usize,
        body,
    })
}

fn stmts() -> impl Strategy<Value = Vec<Stmt>> {
    let arg = (select(&Role::ALL[..]), affine()).prop_map(|(role, offset)| Arg { role, offset });
    let call = (0..2_usize, vec(arg, 0..3), vec(range(), 0..3))
        .prop_map(|(tile, args, ranges)| Stmt::Call(Call { tile, args, ranges }));
    let stmt = call.prop_recursive(3, 12, 3, |inner| {
        ((0..VARS).prop_map(Var), range(), any::<bool>(), vec(inner, 0..3))
            .prop_map(|(var, range, parallel, body)| Stmt::For(Loop { var, range, parallel, body }))
    });
    vec(stmt, 0..3)
}

fn kernel() -> impl Strategy<Value = Kernel> {
    let isa = select(vec![Isa::Avx512, Isa::Avx2, Isa::Sse, Isa::Neon, Isa::Portable]);
    let head = (select(vec![DType::F32, DType::F64]), isa, any::<bool>(), any::<bool>());
    let buffers = vec(
        (select(&Role::ALL[..]), select(&Storage::ALL[..]), affine()).prop_map(|(role, storage, len)| Buffer {
            role,
            storage,
            len,
        }),
        0..4,
    );
    let outer = ((0..VARS).prop_map(Var), range(), any::<bool>(), stmts());
    let nest = outer.prop_map(|(var, range, parallel, body)| Nest {
        label: "compute".to_owned(),
        outer: Loop { var, range, parallel, body },
    });
    (head, buffers, (tile("a"), tile("vars")), vec(nest, 0..3)).prop_map(
        |((dtype, isa, fma, vnni), buffers, (a, b), nests)| {
            let vars = ["N", "max", "ceil", "for"].map(str::to_owned).to_vec();
            Kernel { name: "k_1".to_owned(), dtype, isa, fma, vnni, buffers, vars, tiles: vec![a, b], nests }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn printed_kernels_parse_back(kernel in kernel()) {
        let text = kernel.to_string();
        match text.parse::<Kernel>() {
            Ok(parsed) => prop_assert_eq!(parsed, kernel),
            Err(e) => prop_assert!(false, "{}\n{}", e, text),
        }
    }

    #[test]
    fn mutated_texts_end_in_a_kernel_or_an_error(
        kernel in kernel(),
        at in any::<prop::sample::Index>(),
        cut in 0..8_usize,
        insert in prop_oneof![
            "[ -~\\n]{0,6}",
            select(vec!["{", "}", "(", "[", "..", "-", "9223372036854775808", "é", "\u{0}", "loop 1 {", "1e999", "v4294967296"])
                .prop_map(str::to_owned),
        ],
    ) {
        let text: Vec<char> = kernel.to_string().chars().collect();
        let from = at.index(text.len());
        let to = (from + cut).min(text.len());
        let mutated: String = text[..from].iter().copied().chain(insert.chars()).chain(text[to..].iter().copied()).collect();
        match mutated.parse::<Kernel>() {
            // What it reads prints and reads back, and the verifier has an answer for it.
            Ok(kernel) => {
                let printed = kernel.to_string();
                prop_assert_eq!(printed.parse::<Kernel>().map(|k| k.to_string()), Ok(printed));
                let _ = crate::ir::verify(kernel);
            }
            Err(e) => {
                let lines = mutated.matches('\n').count() + 1;
                prop_assert!(e.line >= 1 && e.line <= lines && e.column >= 1, "{}", e);
            }
        }
    }

    #[test]
    fn any_text_ends_in_an_error(text in "\\PC{0,40}") {
        prop_assert!(text.parse::<Kernel>().is_err());
    }

    #[test]
    fn any_kernel_gets_a_verdict(kernel in kernel()) {
        // Arbitrary kernels break some rule; what counts is that no number makes the verifier panic.
        let _ = crate::ir::verify(kernel);
    }

    #[test]
    fn constants_keep_their_bits(bits in prop_oneof![any::<u64>(), (0..1_u64 << 52).prop_map(|b| b | 0x7ff0 << 48)]) {
        let text = format!("kernel k f64 sse {{ vars N tile t() registers 1 {{ v0 = const {} }} }}", printed(bits));
        let kernel: Kernel = text.parse().unwrap();
        let TileStmt::Op(Op::Const { value, .. }) = kernel.tiles[0].body[0] else { unreachable!() };
        prop_assert_eq!(value.to_bits(), bits);
    }
}

/// The constant as a kernel prints it.
fn printed(bits: u64) -> String {
    let body = vec![TileStmt::Op(Op::Const { d: Reg(0), value: f64::from_bits(bits) })];
    let tile = Tile { name: "t".to_owned(), pointers: vec![], ranges: vec![], registers: 1, body };
    let kernel = Kernel {
        name: "k".to_owned(),
        dtype: DType::F64,
        isa: Isa::Sse,
        fma: false,
        vnni: false,
        buffers: vec![],
        vars: vec!["N".to_owned()],
        tiles: vec![tile],
        nests: vec![],
    };
    let text = kernel.to_string();
    let line = text.lines().find(|l| l.contains("const")).unwrap();
    line.split("const ").nth(1).unwrap().to_owned()
}

fn check_error(text: &str, expect: &str) {
    assert_eq!(text.parse::<Kernel>().map_err(|e| e.to_string()), Err(expect.to_owned()), "{text}");
}

#[test]
fn errors_say_where_and_what() {
    check_error("", "1:1: expected `kernel`, found the end of the text");
    check_error("kernel k f16", "1:10: expected f32, f64, found `f16`");
    check_error(
        "kernel k f32 sse {\n  vars N\n  nest a {\n    for x",
        "4:9: expected a variable of the kernel, found `x`",
    );
    check_error("kernel k f32 sse {\n  buffer src[N * 2]", "2:20: expected `vars`, found the end of the text");
    check_error("kernel k f32 sse {\n  buffer src[N * 2] vars N", "2:16: expected `]`, found `*`");
    check_error("kernel k f32 sse { vars N # }", "1:27: expected a word, a number or a symbol, found `#`");
    check_error(
        "kernel k f32 sse { vars N tile t(a) registers 1 { v0 = root v1 } }",
        "1:56: expected const, load, pairs, quads, broadcast, gather, fma, dot4, select, exponent, sqrt, float, int, add, sub, mul, div, max, min, maximum, iadd, dot, join, splice, products, found `root`",
    );
    check_error(
        "kernel k f32 sse { vars N tile t(a) registers 1 { v0 = load a[9223372036854775808] } }",
        "1:63: expected a whole number of 64 bits, found `9223372036854775808`",
    );
    check_error("kernel k f32 sse { vars N } é", "1:29: expected a word, a number or a symbol, found `é`");
    check_error("kernel k f32 sse { vars N } }", "1:29: expected the end of the text, found `}`");
}

#[test]
fn nesting_is_bounded() {
    let deep = "loop 1 {".repeat(100_000);
    let text = format!("kernel k f32 sse {{ vars N tile t() registers 1 {{ {deep}");
    let error = text.parse::<Kernel>().unwrap_err();
    assert_eq!(error.expected, "at most 64 blocks one inside the other");
}

#[test]
fn a_kernel_reads_as_written() {
    let text = "\
kernel axpy f32 sse fma {
    buffer src[8*N + 3]
    buffer dst[4*N]
    vars N, n, i
    tile axpy(src, dst; k) registers 3 {
        v0 = const -0.0
        v1 = load src[-2] lanes 3 stride 2
        v1 = load src[0] repeat 2
        loop k: src += 4, dst += -1 {
            v2 = broadcast src[1]
            loop 2 {
                v0 = fma v1, v2, v0
            }
        }
        v1 = select v0 > v2, v0, v1
        v2 = const inf
        v1 = min v1, v2
        store dst[0] = v1
    }
    nest compute {
        parallel for n in 0..N {
            for i in max(0, -n + 1)..min(4, ceil(2*N - 3*n / 2)) {
                call axpy(src[8*n - i + 2], dst[4*n]; 0..i)
            }
        }
    }
}
";
    assert_eq!(text.parse::<Kernel>().map(|k| k.to_string()), Ok(text.to_owned()));
}
