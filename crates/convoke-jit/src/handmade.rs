//! For tests: kernels made by hand, of what lowering seldom writes, and what the interpreter makes of them.

#[path = "handmade_gathers.rs"]
mod gathers;

use convoke_core::eval::{Bf16, Element, F16, Stored, interp};
use convoke_core::ir::{
    Access, Address, Affine, Arg, BinaryOp, Buffer, Call, CeilDiv, Extent, Kernel, Loop, Nest, Op, Ptr, Range, Reg,
    Role, Stmt, Tile, TileLoop, TileStmt, Var, Verified,
};
use convoke_core::spec::{DType, Storage};
use convoke_core::target::Isa;

pub(crate) use gathers::{gathered, gathers};

pub(crate) const SRC: Ptr = Ptr(0);
pub(crate) const DST: Ptr = Ptr(1);

/// What a kernel is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) isa: Isa,
    pub(crate) fma: bool,
    pub(crate) dtype: DType,
}

impl Kind {
    pub(crate) fn lanes(self) -> usize {
        self.isa.vector_bytes() / self.dtype.bytes()
    }

    /// Every kernel of this module.
    pub(crate) fn kernels(self) -> Vec<Verified> {
        let mut all = vec![
            self.binary_operations(),
            self.selects(),
            self.maxima(),
            self.constants(),
            self.products_and_sums(),
            self.short_far_away(),
            self.steps_far_away(),
            self.bounds_of_loops(3),
        ];
        if self.fma {
            all.push(self.fused());
        }
        all.push(self.shifted_in_local());
        all.extend(self.short_and_strided());
        all.extend(self.repeated());
        all.extend(WINDOWS.map(|window| self.window_sum(window)));
        all.extend(RANGES.map(|ranges| self.nested_loops(ranges)));
        all.extend(RANGES.map(|ranges| self.masks_around_loops(ranges)));
        all
    }

    /// A kernel of one tile with the pointers `src` and `dst`.
    fn kernel(self, tile: Tile, nests: Vec<Nest>, lengths: [Affine; 2], vars: &[&str]) -> Verified {
        let Self { isa, fma, dtype } = self;
        let [src, dst] = lengths;
        let buffers = [(Role::Src, src), (Role::Dst, dst)]
            .map(|(role, len)| Buffer { role, storage: self.dtype.storage(), len })
            .to_vec();
        let vars = vars.iter().map(|v| (*v).to_owned()).collect();
        let kernel =
            Kernel { name: "test".to_owned(), dtype, isa, fma, vnni: false, buffers, vars, tiles: vec![tile], nests };
        convoke_core::ir::verify(kernel).unwrap()
    }

    /// One call of a tile with ranges.
    fn once(self, tile: Tile, call: Stmt, src: i64, dst: i64) -> Verified {
        let nests = vec![nest(1, Range::count(1), vec![call])];
        self.kernel(tile, nests, [number(src), number(dst)], &["N", "i"])
    }

    /// One call of a straight tile.
    pub(crate) fn straight(self, registers: usize, body: Vec<TileStmt>, src: i64, dst: i64) -> Verified {
        self.once(tile(registers, &[], body), call(number(0), number(0), vec![]), src, dst)
    }

    fn binary_operations(self) -> Verified {
        use BinaryOp::{Add, Div, Max, Maximum, Min, Mul, Sub};
        let lanes = self.lanes();
        // Every pair of the twelve special values meets: both operands walk over them with different steps.
        let (mut body, mut at) = (Vec::new(), 0);
        for shift in 0..12 {
            body.push(load(0, 0, lanes, 1));
            body.push(load(1, shift, lanes, 1));
            for op in [Add, Sub, Mul, Div, Max, Min, Maximum] {
                body.push(binary(op, 2, 0, 1));
                body.push(store(2, at, lanes, 1));
                at += lanes as i64;
            }
            let select = Op::Select { d: Reg(2), a: Reg(0), b: Reg(1), c: Reg(1), e: Reg(0) };
            for op in [select, Op::Sqrt { d: Reg(2), a: Reg(1) }, Op::Sqrt { d: Reg(0), a: Reg(0) }] {
                body.push(TileStmt::Op(op));
                body.push(store(if op == select { 2 } else { 0 }, at, lanes, 1));
                at += lanes as i64;
            }
        }
        let body = vec![repeat(Extent::Count(12), &[(SRC, 1), (DST, at)], body)];
        self.straight(3, body, 12 + 12 + lanes as i64, at * 12)
    }

    /// A select for each way in which its registers can be the same.
    fn selects(self) -> Verified {
        let all = (0..3_u32.pow(5)).map(|n| [n % 3, n / 3 % 3, n / 9 % 3, n / 27 % 3, n / 81].map(Reg));
        self.each_operation(all.map(|[d, a, b, c, e]| Op::Select { d, a, b, c, e }))
    }

    /// A maximum for each way in which its registers can be the same.
    fn maxima(self) -> Verified {
        let all = (0..3_u32.pow(3)).map(|n| [n % 3, n / 3 % 3, n / 9].map(Reg));
        self.each_operation(all.map(|[d, a, b]| Op::Binary { op: BinaryOp::Maximum, d, a, b }))
    }

    /// A fused multiply-add for each way in which its registers can be the same.
    fn fused(self) -> Verified {
        let all = (0..4_u32.pow(4)).map(|n| [n % 4, n / 4 % 4, n / 16 % 4, n / 64].map(Reg));
        self.each_operation(all.map(|[d, a, b, c]| Op::Fma { d, a, b, c }))
    }

    /// Each operation on four registers that are loaded anew, and all four stored.
    fn each_operation(self, operations: impl Iterator<Item = Op>) -> Verified {
        let (lanes, mut body, mut at) = (self.lanes(), Vec::new(), 0);
        for op in operations {
            body.extend((0..4).map(|r| load(r, 5 * i64::from(r), lanes, 1)));
            body.push(TileStmt::Op(op));
            for r in 0..4 {
                body.push(store(r, at, lanes, 1));
                at += lanes as i64;
            }
        }
        self.straight(4, body, 15 + lanes as i64, at)
    }

    fn constants(self) -> Verified {
        let (lanes, mut body, mut at) = (self.lanes(), Vec::new(), 0);
        for value in [0.0, -0.0, 1.0, 0.1, -3.0e38, 1e-45, 1e-60, 127.0, 8_388_608.0 + 130.0] {
            body.push(TileStmt::Op(Op::Const { d: Reg(0), value }));
            body.push(store(0, at, lanes, 1));
            body.push(TileStmt::Op(Op::Exponent { d: Reg(1), a: Reg(0) }));
            body.push(store(1, at + lanes as i64, lanes, 1));
            body.push(TileStmt::Op(Op::Broadcast { d: Reg(0), from: Address { ptr: SRC, offset: at } }));
            body.push(store(0, at + 2 * lanes as i64, lanes, 1));
            at += 3 * lanes as i64;
        }
        self.straight(2, body, at, at)
    }

    /// Rounded once or twice, as the kernel says.
    fn products_and_sums(self) -> Verified {
        let lanes = self.lanes();
        let mut body = vec![load(2, 1, lanes, 1), load(0, 0, lanes, 1), load(1, 2, lanes, 1)];
        // The factors die in either order, or not at all.
        let fused = |d, a, b, c| TileStmt::Op(Op::Fma { d: Reg(d), a: Reg(a), b: Reg(b), c: Reg(c) });
        if self.fma {
            body.extend([fused(3, 0, 1, 2), fused(4, 1, 0, 3), fused(2, 0, 1, 4), fused(0, 0, 0, 2)]);
        } else {
            body.extend([binary(BinaryOp::Mul, 3, 0, 1), binary(BinaryOp::Add, 4, 3, 2)]);
            body.extend([binary(BinaryOp::Mul, 3, 4, 0), binary(BinaryOp::Add, 0, 3, 2)]);
        }
        let stored = (0..5).filter(|r| self.fma || *r != 3);
        body.extend(stored.map(|r| store(r, i64::from(r) * lanes as i64, lanes, 1)));
        let body = vec![repeat(Extent::Count(40), &[(SRC, 1), (DST, 5 * lanes as i64)], body)];
        self.straight(5, body, 40 + 2 + lanes as i64, 200 * lanes as i64)
    }

    /// Loads and stores of each number of lanes at each distance, alone, between exact ends of their buffers.
    fn short_and_strided(self) -> Vec<Verified> {
        let (all, mut kernels) = (self.lanes(), Vec::new());
        for lanes in 1..=all {
            for stride in [1, 2, 3, 7] {
                let last = (lanes as i64 - 1) * stride;
                let body = vec![load(0, 2, lanes, stride), store(0, 0, all, 1), store(0, all as i64, lanes, stride)];
                kernels.push(self.straight(1, body, 3 + last, all as i64 + last + 1));
            }
        }
        kernels
    }

    /// Loads that put each element into several lanes, between exact ends of their buffers: alone, and in a loop with others
    /// that want the same registers.
    fn repeated(self) -> Vec<Verified> {
        let (all, mut kernels) = (self.lanes(), Vec::new());
        for lanes in 1..=all {
            for (stride, repeat) in [(1, 2), (1, 3), (1, 4), (1, 8), (1, 16), (3, 2), (2, 4), (7, 40)] {
                let last = (lanes as i64 - 1) / repeat * stride;
                let body = vec![
                    load_repeated(0, 2, (lanes, stride, repeat as usize)),
                    store(0, 0, all, 1),
                    store(0, all as i64, lanes, 2),
                ];
                kernels.push(self.straight(1, body, 3 + last, all as i64 + 2 * lanes as i64));
            }
        }
        let mut body = Vec::new();
        for (i, repeat) in (0..).zip([2, 2, 4, 2, 8, 4]) {
            body.push(load_repeated(i % 3, i64::from(i), (all, 1, repeat)));
            body.push(store(i % 3, i64::from(i) * all as i64, all, 1));
        }
        for chosen in [&body[..4], &body[..]] {
            let (written, mut chosen) = (chosen.len() as i64 / 2 * all as i64, chosen.to_vec());
            // Another use of the register, behind all.
            chosen.push(load(0, 0, all - 1, 1));
            chosen.push(store(0, written, all, 1));
            let step = written + all as i64;
            let looped = repeat(Extent::Count(3), &[(SRC, 1), (DST, step)], chosen);
            kernels.push(self.straight(3, vec![looped], 2 * all as i64 + 8, 3 * step));
        }
        kernels
    }

    /// Every number of lanes in one tile, further from its pointers than 32 bits. What is only asked for may lie anywhere.
    fn short_far_away(self) -> Verified {
        let (all, far) = (self.lanes() as i64, 1 << 36);
        let (mut body, mut at) = (Vec::new(), 0);
        for (ptr, offset) in [(SRC, far), (SRC, 2 * far), (DST, 0)] {
            body.push(TileStmt::Op(Op::Prefetch { at: Address { ptr, offset } }));
        }
        for stride in [1, 2] {
            for lanes in (1..=all).rev().chain(1..=all) {
                body.push(load(0, far + lanes, lanes as usize, stride));
                body.push(store(0, at - far, all as usize, 1));
                body.push(store(0, at + all - far, lanes as usize, stride));
                at += 3 * all;
            }
        }
        self.once(tile(1, &[], body), call(number(-far), number(far), vec![]), 3 * all, at)
    }

    /// Pointers that move further than 32 bits, and come back.
    fn steps_far_away(self) -> Verified {
        let (lanes, far) = (self.lanes(), 1 << 34);
        let one = TileStmt::Op(Op::Const { d: Reg(0), value: 1.0 });
        let body = vec![
            // Up to where nothing is, and back.
            repeat(Extent::Count(3), &[(SRC, far), (DST, 1 - far)], vec![one]),
            load(1, 0, lanes, 1),
            store(1, 0, lanes, 1),
            repeat(
                Extent::Range(0),
                &[(SRC, far), (DST, 3)],
                vec![load(2, -3 * far, lanes, 1), store(2, lanes as i64, lanes, 1)],
            ),
            store(0, 20 + lanes as i64, lanes, 1),
        ];
        let range = Range::of(number(3), number(4));
        self.once(tile(3, &["k"], body), call(number(0), number(0), vec![range]), lanes as i64, 20 + 2 * lanes as i64)
    }

    /// Loops seven deep, more than fit the registers that a function need not restore, with ranges in registers and on
    /// the stack; what they sum depends on the order.
    fn nested_loops(self, ranges: [(i64, i64); 3]) -> Verified {
        let (lanes, dst) = (self.lanes(), 4 * self.lanes() as i64);
        let weighted = vec![load(1, 0, lanes, 1), binary(BinaryOp::Mul, 0, 0, 2), binary(BinaryOp::Add, 0, 0, 1)];
        let innermost = repeat(Extent::Count(2), &[(SRC, 1)], weighted);
        let nested = [
            (Extent::Range(2), 2),
            (Extent::Count(2), 3),
            (Extent::Range(1), 0),
            (Extent::Count(1), 200),
            (Extent::Count(2), 5),
            (Extent::Range(0), 7),
        ];
        let nested = nested.into_iter().fold(innermost, |inner, (extent, step)| {
            repeat(extent, &[(SRC, step)], vec![inner, load(3, 0, 1, 1), binary(BinaryOp::Sub, 0, 0, 3)])
        });
        let body = vec![
            TileStmt::Op(Op::Const { d: Reg(0), value: 0.5 }),
            TileStmt::Op(Op::Const { d: Reg(2), value: 0.75 }),
            nested,
            store(0, 0, lanes, 1),
            repeat(Extent::Count(1), &[(DST, 9)], vec![store(2, lanes as i64, lanes, 1)]),
            repeat(Extent::Count(0), &[(DST, 9)], vec![store(2, 0, lanes, 1)]),
            load(1, 0, lanes, 1),
            store(1, 2 * lanes as i64, lanes, 1),
        ];
        let ranges = ranges.map(|(lo, hi)| Range::of(number(lo), number(hi))).to_vec();
        let tile = tile(4, &["a", "b", "c"], body);
        // Ranges reach from -2 to 4, steps are at most 7.
        self.once(tile, call(number(40), number(0), ranges), 100 + lanes as i64, dst)
    }

    /// Short and strided loads before, in and behind loops that may not run.
    fn masks_around_loops(self, ranges: [(i64, i64); 3]) -> Verified {
        let all = self.lanes();
        let (some, more) = (all / 2 + 1, all - 1);
        let mut at = 0;
        let mut piece = |lanes: usize, stride: i64| {
            at += all as i64;
            [load(0, 0, lanes, stride), store(0, at - all as i64, all, 1)]
        };
        let mut body = piece(some, 1).to_vec();
        for (range, (inside, behind)) in
            (0..).zip([((some, 1), (some, 1)), ((more, 1), (more, 1)), ((all, 2), (all, 2)), ((some, 1), (more, 1))])
        {
            // Two uses of the same kind, and two of different kinds of which the second stands again behind the loop.
            let same = [piece(inside.0, inside.1), piece(inside.0, inside.1)].concat();
            body.push(repeat(Extent::Range(range % 3), &[], same));
            body.extend(piece(inside.0, inside.1));
            body.extend(piece(all, 3));
            let different = [piece(all, 3), piece(some, 1), piece(inside.0, inside.1)].concat();
            body.push(repeat(Extent::Range(range % 3), &[], different));
            body.extend(piece(behind.0, behind.1));
        }
        let ranges = ranges.map(|(lo, hi)| Range::of(number(lo), number(hi))).to_vec();
        self.once(tile(1, &["a", "b", "c"], body), call(number(0), number(0), ranges), 3 * all as i64, at)
    }

    /// A one-dimensional convolution of one channel with a window of ones, as nests and ranges.
    pub(crate) fn window_sum(self, window: Window) -> Verified {
        let Window { input, kernel_size, stride, dilation, pad } = window;
        let output = (input + 2 * pad - dilation * (kernel_size - 1) - 1) / stride + 1;
        let sum = vec![load(1, 0, 1, 1), binary(BinaryOp::Add, 0, 0, 1)];
        let body = vec![
            TileStmt::Op(Op::Const { d: Reg(0), value: 0.5 }),
            repeat(Extent::Range(0), &[(SRC, dilation)], sum),
            store(0, 0, 1, 1),
        ];
        let (n, o) = (Var(1), Var(2));
        let position = Affine::var(o, stride);
        let divided = |numerator: Affine| CeilDiv { numerator, divisor: dilation };
        let taps = Range {
            lo: vec![CeilDiv::constant(0), divided(number(pad).plus_scaled(&position, -1))],
            hi: vec![CeilDiv::constant(kernel_size), divided(number(pad + input).plus_scaled(&position, -1))],
        };
        let src = position.offset(-pad).plus(n, input);
        let inner = Loop {
            var: o,
            range: Range::count(output),
            parallel: false,
            body: vec![call(src, Affine::var(n, output).plus(o, 1), vec![taps])],
        };
        let range = Range::of(number(0), Affine::var(Var::BATCH, 1));
        let nests = vec![nest(1, range, vec![Stmt::For(inner)])];
        let lengths = [Affine::var(Var::BATCH, input), Affine::var(Var::BATCH, output)];
        self.kernel(tile(2, &["k"], body), nests, lengths, &["N", "n", "o"])
    }

    /// A parallel nest whose iterations double 64 elements into `local`, shift them there five times by one, and store them;
    /// and a serial one that takes the first vector of each image through `local`.
    pub(crate) fn shifted_in_local(self) -> Verified {
        let Self { isa, fma, dtype } = self;
        let (lanes, fma) = (self.lanes(), if fma { "fma " } else { "" });
        let (vectors, len, all) = (64 / lanes, 64 + lanes, 24 * 64);
        let text = format!(
            "kernel shifted {dtype} {isa} {fma}{{
                buffer src[{all}*N] buffer dst[{all}*N + {lanes}*N] buffer local[{len}]
                vars N, p, i, r, j, k, q
                tile double(src, local) registers 1 {{ v0 = load src[0] v0 = add v0, v0 store local[0] = v0 }}
                tile edge(local) registers 1 {{ v0 = const 0.5 store local[0] = v0 }}
                tile turn(local) registers 1 {{ v0 = load local[1] store local[0] = v0 }}
                tile take(local, dst) registers 1 {{ v0 = load local[0] store dst[0] = v0 }}
                nest shift {{
                    parallel for p in 0..24*N {{
                        for i in 0..{vectors} {{ call double(src[64*p + {lanes}*i], local[{lanes}*i]) }}
                        call edge(local[64])
                        for r in 0..5 {{ for j in 0..{vectors} {{ call turn(local[{lanes}*j]) }} }}
                        for k in 0..{vectors} {{ call take(local[{lanes}*k], dst[64*p + {lanes}*k]) }}
                    }}
                }}
                nest first {{
                    for q in 0..N {{
                        call double(src[{all}*q], local[0])
                        call take(local[0], dst[{all}*N + {lanes}*q])
                    }}
                }}
            }}",
            isa = isa.name(),
            dtype = dtype.name(),
        );
        convoke_core::ir::verify(text.parse().unwrap()).unwrap()
    }

    /// A loop whose bounds are divided, on both sides of zero.
    pub(crate) fn bounds_of_loops(self, divisor: i64) -> Verified {
        let (n, o) = (Var(1), Var(2));
        let bound = |from: i64| CeilDiv { numerator: Affine::var(n, 1).offset(from), divisor };
        let range = Range { lo: vec![bound(-11), CeilDiv::constant(-9)], hi: vec![bound(-2), CeilDiv::constant(3)] };
        let dst = Affine::var(n, 13).plus(o, 1).offset(9);
        let inner = Loop { var: o, range, parallel: false, body: vec![call(Affine::var(n, 1), dst, vec![])] };
        let nests = vec![nest(1, Range::count(12), vec![Stmt::For(inner)])];
        let tile = tile(1, &[], vec![load(0, 0, 1, 1), store(0, 0, 1, 1)]);
        self.kernel(tile, nests, [number(12), number(12 * 13)], &["N", "n", "o"])
    }
}

/// Lower halves of floats that round down, up, and to the even one, as `bf16` and as `f16`.
const LOWER: [u16; 9] = [0, 0x7fff, 0x8000, 0x8001, 0x1000, 0x0fff, 0x1001, 0x3000, 0xf000];

/// Kernels that load every half there is, that store floats near and between all of them, and that access halves in every way; those
/// also in a tile that uses all registers.
pub(crate) fn halves(isa: Isa, storage: Storage) -> Vec<Verified> {
    let (lanes, half, isa_name) = (isa.vector_bytes() / 4, storage.name(), isa.name());
    let copy = |src: String, dst: String, vectors: usize| {
        format!(
            "kernel copy f32 {isa_name} {{
                buffer src {src} buffer dst {dst} vars N, i
                tile t(src, dst) registers 1 {{ v0 = load src[0] store dst[0] = v0 }}
                nest n {{ for i in 0..{vectors} {{ call t(src[{lanes}*i], dst[{lanes}*i]) }} }}
            }}"
        )
    };
    let (all, floats) = (1 << 16, LOWER.len() << 16);
    let widen = copy(format!("{half}[{all}]"), format!("f32[{all}]"), all / lanes);
    let round = copy(format!("f32[{floats}]"), format!("{half}[{floats}]"), floats / lanes);
    let (mut body, mut at) = ("v0 = broadcast src[3] store dst[0] = v0\n".to_owned(), lanes);
    for lanes in 1..=lanes {
        for (stride, repeat) in [(1, 1), (2, 1), (3, 1), (1, 2), (2, 3), (1, 16)] {
            body += &format!("v0 = load src[1] lanes {lanes} stride {stride} repeat {repeat}\n");
            body += &format!("store dst[{at}] = v0 lanes {lanes}\n");
            at += lanes;
            body += &format!("store dst[{at}] = v0 lanes {lanes} stride 2\n");
            at += 2 * lanes;
        }
    }
    let (len, most) = (3 * lanes + 1, if isa == Isa::Avx512 { 32 } else { 16 });
    let accesses = [1, most].map(|registers| {
        format!(
            "kernel accesses f32 {isa_name} {{
                buffer src {half}[{len}] buffer dst {half}[{at}] vars N, i
                tile t(src, dst) registers {registers} {{ {body} }}
                nest n {{ for i in 0..1 {{ call t(src[0], dst[0]) }} }}
            }}"
        )
    });
    let texts = [widen, round].into_iter().chain(accesses);
    texts.map(|text| convoke_core::ir::verify(text.parse().unwrap()).unwrap()).collect()
}

/// The input of one of those kernels: every half, in disorder, or floats near and between all of them.
pub(crate) fn halves_src(kernel: &Verified) -> Vec<u8> {
    let len = kernel.buffers[0].len.constant as usize;
    let half = |i: usize| (i as u16).wrapping_mul(40_503);
    if kernel.storage(Role::Src).is_half() {
        return (0..len).flat_map(|i| half(i).to_ne_bytes()).collect();
    }
    let float = |i: usize| u32::from(half(i)) << 16 | u32::from(LOWER[i >> 16]);
    (0..len).flat_map(|i| float(i).to_ne_bytes()).collect()
}

/// Whether two buffers of `storage` hold the same: bytes, but for the payload of a NaN.
pub(crate) fn same_elements(storage: Storage, found: &[u8], expected: &[u8]) -> Result<(), String> {
    assert_eq!(found.len(), expected.len());
    let number = |bytes: &[u8]| match storage {
        Storage::F32 => f32::from_bytes(bytes),
        Storage::F16 => F16::from_bytes(bytes).into(),
        Storage::Bf16 => Bf16::from_bytes(bytes).into(),
        _ => 0.0,
    };
    let elements = found.chunks_exact(storage.bytes()).zip(expected.chunks_exact(storage.bytes()));
    for (at, (a, b)) in elements.enumerate() {
        if a != b && !(number(a).is_nan() && number(b).is_nan()) {
            return Err(format!("dst[{at}] is {a:02x?} ({}) and should be {b:02x?} ({})", number(a), number(b)));
        }
    }
    Ok(())
}

/// Sizes of [`Kind::window_sum`].
#[derive(Clone, Copy)]
pub(crate) struct Window {
    input: i64,
    kernel_size: i64,
    stride: i64,
    dilation: i64,
    pad: i64,
}

/// Ranges of taps that are whole, cut, empty, and start outside.
pub(crate) const WINDOWS: [Window; 6] = [
    Window { input: 9, kernel_size: 3, stride: 1, dilation: 1, pad: 1 },
    Window { input: 9, kernel_size: 3, stride: 2, dilation: 1, pad: 0 },
    Window { input: 5, kernel_size: 4, stride: 1, dilation: 3, pad: 11 },
    Window { input: 3, kernel_size: 2, stride: 3, dilation: 5, pad: 9 },
    Window { input: 7, kernel_size: 3, stride: 2, dilation: 2, pad: 6 },
    Window { input: 1, kernel_size: 1, stride: 1, dilation: 4, pad: 3 },
];

/// Ends of three ranges of a tile: full, empty, reversed.
const RANGES: [[(i64, i64); 3]; 5] = [
    [(0, 2), (-1, 2), (1, 4)],
    [(0, 0), (0, 2), (0, 1)],
    [(-2, 1), (3, 1), (0, 2)],
    [(-1, 1), (0, 1), (2, 2)],
    [(3, 4), (4, -2), (1, 0)],
];

fn tile(registers: usize, ranges: &[&str], body: Vec<TileStmt>) -> Tile {
    let pointers = vec!["src".to_owned(), "dst".to_owned()];
    let ranges = ranges.iter().map(|r| (*r).to_owned()).collect();
    Tile { name: "test_tile".to_owned(), pointers, ranges, registers, body }
}

fn call(src: Affine, dst: Affine, ranges: Vec<Range>) -> Stmt {
    let arg = |role, offset| Arg { role, offset };
    Stmt::Call(Call { tile: 0, args: vec![arg(Role::Src, src), arg(Role::Dst, dst)], ranges })
}

fn nest(var: u32, range: Range, body: Vec<Stmt>) -> Nest {
    Nest { label: "compute".to_owned(), outer: Loop { var: Var(var), range, parallel: true, body } }
}

fn repeat(extent: Extent, steps: &[(Ptr, i64)], body: Vec<TileStmt>) -> TileStmt {
    TileStmt::Loop(TileLoop { extent, steps: steps.to_vec(), body })
}

pub(crate) fn load(d: u32, offset: i64, lanes: usize, stride: i64) -> TileStmt {
    TileStmt::Op(Op::Load { d: Reg(d), from: Access { at: Address { ptr: SRC, offset }, lanes, stride, repeat: 1 } })
}

fn load_repeated(d: u32, offset: i64, (lanes, stride, repeat): (usize, i64, usize)) -> TileStmt {
    let from = Access { at: Address { ptr: SRC, offset }, lanes, stride, repeat };
    TileStmt::Op(Op::Load { d: Reg(d), from })
}

pub(crate) fn store(s: u32, offset: i64, lanes: usize, stride: i64) -> TileStmt {
    TileStmt::Op(Op::Store { to: Access { at: Address { ptr: DST, offset }, lanes, stride, repeat: 1 }, s: Reg(s) })
}

fn binary(op: BinaryOp, d: u32, a: u32, b: u32) -> TileStmt {
    TileStmt::Op(Op::Binary { op, d: Reg(d), a: Reg(a), b: Reg(b) })
}

fn number(n: i64) -> Affine {
    Affine::constant(n)
}

/// The data of one run, and what comes out of it.
pub(crate) struct Case<T> {
    pub(crate) batch: usize,
    pub(crate) src: Vec<T>,
    pub(crate) weights: Vec<T>,
    pub(crate) bias: Vec<T>,
    pub(crate) residual: Vec<T>,
    pub(crate) offset: Vec<T>,
    pub(crate) mask: Vec<T>,
    pub(crate) scratch: Vec<T>,
    pub(crate) local: Vec<T>,
    /// The output before the run.
    pub(crate) fresh: Vec<T>,
    expected: Vec<T>,
}

impl<T: Element> Case<T> {
    /// Inputs whose element `i` is `value(i)`.
    pub(crate) fn new(kernel: &Verified, batch: usize, mut value: impl FnMut(usize) -> f64) -> Self {
        let len = |role| {
            let buffer = kernel.buffers.iter().find(|b| b.role == role);
            buffer.map_or(0, |b| usize::try_from(b.len.eval(&[batch as i64])).unwrap())
        };
        let mut filled = |role| (0..len(role)).map(|i| T::from_f64(value(i))).collect::<Vec<_>>();
        let read = [Role::Src, Role::Weights, Role::Bias, Role::Residual, Role::Offset, Role::Mask];
        let [src, weights, bias, residual, offset, mask] = read.map(&mut filled);
        let written = [Role::Dst, Role::Scratch, Role::Local];
        let [fresh, scratch, local] = written.map(|role| vec![T::from_f64(-99.0); len(role)]);
        let (mut expected, mut used, mut used_local) = (fresh.clone(), scratch.clone(), local.clone());
        let mut buffers = interp::Buffers {
            src: &src,
            weights: &weights,
            bias: &bias,
            residual: &residual,
            offset: &offset,
            mask: &mask,
            dst: &mut expected,
            scratch: &mut used,
            local: &mut used_local,
            ..interp::Buffers::default()
        };
        interp::run(kernel, batch, &mut buffers).unwrap();
        Self { batch, src, weights, bias, residual, offset, mask, scratch, local, fresh, expected }
    }

    /// Whether `dst` is what the interpreter computes, bit for bit but for the payload of a NaN.
    pub(crate) fn compare(&self, dst: &[T]) -> Result<(), String> {
        assert_eq!(dst.len(), self.expected.len());
        for (i, (&a, &b)) in dst.iter().zip(&self.expected).enumerate() {
            let same = a.bits() == b.bits() || a.to_f64().is_nan() && b.to_f64().is_nan();
            if !same {
                return Err(format!("dst[{i}] is {a} and should be {b}"));
            }
        }
        Ok(())
    }
}

/// Numbers that include every kind of special value.
pub(crate) fn special(i: usize) -> f64 {
    let special =
        [1.5, -2.25, 0.0, -0.0, 3e-310, 1e-42, f64::INFINITY, -7.0, f64::NAN, 1.0 / 3.0, f64::NEG_INFINITY, 2.0];
    special[i * 7 % 12] + (i / 12) as f64
}
