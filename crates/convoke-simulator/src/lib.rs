//! A processor in plain Rust, for the instructions that the encoder writes: runs machine code where the CPU cannot.
//!
//! It knows the code by its bytes alone, which iced decodes. Each access must lie in one region of memory. What it
//! does not know, and what the System V convention forbids, is an error that names the instruction. Here are registers, memory and
//! the choice of an instruction; what those of vectors do is in `lanes` and `halves`.

mod gathers;
mod halves;
mod lanes;

use convoke_core::eval::Element;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register, RoundingControl};

/// Where code, stack and the caller are; no buffer is near.
const CODE: u64 = 0x40_0000;
const STACK: u64 = 0x7fff_0000_0000;
const CALLER: u64 = 0x5555_0000_0000;
/// Bytes of stack that a tile may take, and of its arguments.
const STACK_BYTES: usize = 256;
/// More instructions than any call in a test runs.
const MOST_STEPS: usize = 20_000_000;

/// Registers that a function gives back as they were: `rbx`, `rbp`, `r12` to `r15`.
const CALLEE_SAVED: [usize; 6] = [3, 5, 12, 13, 14, 15];
/// `rdi`, `rsi`, `rdx`, `rcx`, `r8`, `r9`.
const ARGUMENTS: [usize; 6] = [7, 6, 2, 1, 8, 9];
const RSP: usize = 4;

/// Bytes from an address on, with nothing on either side.
pub struct Region {
    /// What messages call it.
    pub name: &'static str,
    /// The address of the first byte.
    pub start: u64,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Whether code may write to it.
    pub is_written: bool,
}

/// A number in a lane.
pub trait Lane: Element {
    /// Its bytes in a register.
    const BYTES: usize;
    /// `a * b + c`, rounded once.
    fn fused(a: Self, b: Self, c: Self) -> Self;
}

macro_rules! lane {
    ($float:ident) => {
        impl Lane for $float {
            const BYTES: usize = size_of::<$float>();
            fn fused(a: Self, b: Self, c: Self) -> Self {
                $float::mul_add(a, b, c)
            }
        }
    };
}
lane!(f32);
lane!(f64);

type Vector = [u8; 64];

/// A function, decoded.
pub struct Function {
    instructions: Vec<Instruction>,
    /// The instruction that begins at each byte of the code, if one does.
    at: Vec<Option<usize>>,
    constants: Region,
}

impl Function {
    /// `bytes` are code up to `code_len` and constants from there on. An error where the code holds what is no instruction.
    pub fn new(bytes: &[u8], code_len: usize) -> Result<Self, String> {
        let instructions: Vec<_> =
            Decoder::with_ip(64, &bytes[..code_len], CODE, DecoderOptions::NONE).iter().collect();
        if let Some(invalid) = instructions.iter().find(|i| i.is_invalid()) {
            return Err(format!("no instruction at {:#x}", invalid.ip()));
        }
        let mut at = vec![None; code_len];
        for (index, i) in instructions.iter().enumerate() {
            at[(i.ip() - CODE) as usize] = Some(index);
        }
        let start = CODE + code_len as u64;
        let bytes = bytes[code_len..].to_vec();
        let constants = Region { name: "constants", start, bytes, is_written: false };
        Ok(Self { instructions, at, constants })
    }

    /// Calls the function by the System V convention. An error names the instruction that does what none may.
    pub fn call(&self, memory: &mut [Region], arguments: &[u64]) -> Result<(), String> {
        let mut stack = vec![0xee; STACK_BYTES];
        let passed: Vec<u64> = [CALLER].into_iter().chain(arguments.iter().skip(ARGUMENTS.len()).copied()).collect();
        let top = STACK_BYTES - 8 * passed.len();
        for (slot, value) in stack[top..].chunks_exact_mut(8).zip(passed) {
            slot.copy_from_slice(&value.to_le_bytes());
        }
        let stack = Region { name: "stack", start: STACK, bytes: stack, is_written: true };
        // Nothing may depend on what registers hold on entry.
        let mut general: [u64; 16] = std::array::from_fn(|i| 0xdead_beef_dead_0000 + i as u64);
        for (&register, &value) in ARGUMENTS.iter().zip(arguments) {
            general[register] = value;
        }
        general[RSP] = STACK + top as u64;
        let (vectors, masks) = ([[0xaa; 64]; 32], [0xaaaa_aaaa; 8]);
        let mut machine = Machine { function: self, memory, stack, general, vectors, masks, flags: None };
        let mut expected = machine.general;
        expected[RSP] += 8;
        machine.run()?;
        let restored = |&r: &usize| machine.general[r] == expected[r];
        match CALLEE_SAVED.iter().chain([&RSP]).find(|r| !restored(r)) {
            Some(register) => Err(format!("general register {register} is not restored")),
            None if machine.vectors[..16].iter().any(|v| v[16..] != [0; 48]) => Err("upper halves are left".to_owned()),
            None => Ok(()),
        }
    }
}

/// What a subtraction or addition says about its result.
#[derive(Clone, Copy)]
struct Flags {
    zero: bool,
    /// Below zero, were there no overflow.
    less: bool,
    /// The first is above the second, both without a sign.
    above: bool,
}

struct Machine<'a> {
    function: &'a Function,
    memory: &'a mut [Region],
    stack: Region,
    general: [u64; 16],
    vectors: [Vector; 32],
    masks: [u64; 8],
    flags: Option<Flags>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<(), String> {
        let mut ip = CODE;
        for _ in 0..MOST_STEPS {
            if ip == CALLER {
                return Ok(());
            }
            let index = self.function.at.get(ip.wrapping_sub(CODE) as usize).copied().flatten();
            let instruction = &self.function.instructions[index.ok_or_else(|| format!("control goes to {ip:#x}"))?];
            ip = self.step(instruction).map_err(|why| format!("`{instruction}` at {ip:#x}: {why}"))?;
        }
        Err("it does not end".to_owned())
    }

    /// Runs one instruction and says where the next one is.
    fn step(&mut self, i: &Instruction) -> Result<u64, String> {
        use Mnemonic::{Add, Cmova, Cmp, Dec, Imul, Jle, Jne, Mov, Movzx, Nop, Pop, Push, Ret, Sub};
        let mut next = i.next_ip();
        let flags = |f: Option<Flags>| f.ok_or("the flags say nothing");
        match i.mnemonic() {
            Nop => {}
            Mov if i.op0_kind() == OpKind::Memory => {
                let (at, len) = (self.address(i)?, i.memory_size().size());
                let value = self.general[general(i.op1_register())?].to_le_bytes();
                self.memory(at, len, true)?.copy_from_slice(&value[..len]);
            }
            Cmp => {
                let (a, b) = (self.scalar(i, 0)? as u32, self.scalar(i, 1)? as u32);
                self.flags = Some(Flags { zero: a == b, less: (a as i32) < b as i32, above: a > b });
            }
            Cmova => {
                let from = u32::from(flags(self.flags)?.above);
                let value = self.scalar(i, from)?;
                self.set_scalar(i, value)?;
            }
            Mov | Movzx => {
                let value = self.scalar(i, 1)?;
                self.set_scalar(i, value)?;
            }
            Add | Sub | Dec => {
                let a = self.scalar(i, 0)? as i64;
                let b = if i.mnemonic() == Dec { 1 } else { self.scalar(i, 1)? as i64 };
                let (value, overflow) = if i.mnemonic() == Add { a.overflowing_add(b) } else { a.overflowing_sub(b) };
                self.flags = Some(Flags { zero: value == 0, less: (value < 0) != overflow, above: false });
                self.set_scalar(i, value as u64)?;
            }
            Imul => {
                let first = i.op_count() - 2;
                let value = self.scalar(i, first)?.wrapping_mul(self.scalar(i, first + 1)?);
                self.flags = None;
                self.set_scalar(i, value)?;
            }
            Jne if !flags(self.flags)?.zero => next = i.near_branch_target(),
            Jle if flags(self.flags)?.zero || flags(self.flags)?.less => next = i.near_branch_target(),
            Jne | Jle => {}
            Push => {
                let value = self.scalar(i, 0)?;
                self.general[RSP] -= 8;
                self.memory(self.general[RSP], 8, true)?.copy_from_slice(&value.to_le_bytes());
            }
            Pop => {
                let value = self.pop()?;
                self.set_scalar(i, value)?;
            }
            Ret => next = self.pop()?,
            _ => self.vector(i)?,
        }
        Ok(next)
    }

    fn pop(&mut self) -> Result<u64, String> {
        let value = self.read(self.general[RSP], 8)?;
        self.general[RSP] += 8;
        Ok(low(&value))
    }

    /// An operand of 64 bits or, in memory, of fewer, or a constant.
    fn scalar(&mut self, i: &Instruction, operand: u32) -> Result<u64, String> {
        match i.op_kind(operand) {
            OpKind::Register => Ok(self.general[general(i.op_register(operand))?]),
            OpKind::Memory => {
                let len = i.memory_size().size();
                Ok(low(&self.read(self.address(i)?, len)?[..len]))
            }
            _ => Ok(i.immediate(operand)),
        }
    }

    /// Writing the lower half of a register clears the upper one.
    fn set_scalar(&mut self, i: &Instruction, value: u64) -> Result<(), String> {
        let register = i.op0_register();
        let value = if register.is_gpr32() { value & u64::from(u32::MAX) } else { value };
        self.general[general(register)?] = value;
        Ok(())
    }

    fn vector(&mut self, i: &Instruction) -> Result<(), String> {
        use Mnemonic as M;
        if i.is_broadcast() || i.rounding_control() != RoundingControl::None || i.suppress_all_exceptions() {
            return Err("a broadcast or a rounding of its own".to_owned());
        }
        let takes_mask = matches!(i.mnemonic(), M::Vmovups | M::Vmovupd | M::Vblendmps | M::Vblendmpd)
            || (matches!(i.mnemonic(), M::Vpermt2ps | M::Vpermt2pd) && i.zeroing_masking())
            || halves::takes_mask(i.mnemonic())
            || i.mnemonic() == M::Vgatherdps;
        if i.op_mask() != Register::None && !takes_mask {
            return Err("a mask".to_owned());
        }
        match i.mnemonic() {
            M::Prefetcht0 => {}
            M::Vzeroupper => self.vectors[..16].iter_mut().for_each(|v| v[16..].fill(0)),
            M::Kmovw => {
                let value = self.scalar(i, 1)? & 0xffff;
                self.masks[mask(i.op0_register())?] = value;
            }
            M::Vmovups => self.copy(i, 4)?,
            M::Vmovupd => self.copy(i, 8)?,
            M::Vmovaps | M::Vmovapd if i.op1_kind() == OpKind::Register => self.copy(i, 8)?,
            M::Vbroadcastss => self.broadcast(i, 4)?,
            M::Vbroadcastsd => self.broadcast(i, 8)?,
            M::Vxorps | M::Vxorpd | M::Vpxord | M::Vpxorq => {
                let (a, b) = (self.source(i, 1)?, self.source(i, 2)?);
                self.set(i, std::array::from_fn(|n| a[n] ^ b[n]))?;
            }
            M::Vfmadd231ps => self.ternary::<f32>(i, |d, a, b| f32::fused(a, b, d))?,
            M::Vfmadd231pd => self.ternary::<f64>(i, |d, a, b| f64::fused(a, b, d))?,
            M::Vfmadd213ps => self.ternary::<f32>(i, |d, a, b| f32::fused(a, d, b))?,
            M::Vfmadd213pd => self.ternary::<f64>(i, |d, a, b| f64::fused(a, d, b))?,
            M::Vaddps => self.binary::<f32>(i, |a, b| a + b)?,
            M::Vaddpd => self.binary::<f64>(i, |a, b| a + b)?,
            M::Vsubps => self.binary::<f32>(i, |a, b| a - b)?,
            M::Vsubpd => self.binary::<f64>(i, |a, b| a - b)?,
            M::Vmulps => self.binary::<f32>(i, |a, b| a * b)?,
            M::Vmulpd => self.binary::<f64>(i, |a, b| a * b)?,
            M::Vdivps => self.binary::<f32>(i, |a, b| a / b)?,
            M::Vdivpd => self.binary::<f64>(i, |a, b| a / b)?,
            M::Vsqrtps => self.unary::<f32>(i, f32::sqrt)?,
            M::Vsqrtpd => self.unary::<f64>(i, f64::sqrt)?,
            M::Vmaxps => self.binary::<f32>(i, |a, b| if a > b { a } else { b })?,
            M::Vmaxpd => self.binary::<f64>(i, |a, b| if a > b { a } else { b })?,
            M::Vminps => self.binary::<f32>(i, |a, b| if a < b { a } else { b })?,
            M::Vminpd => self.binary::<f64>(i, |a, b| if a < b { a } else { b })?,
            M::Vcmpps => self.compare::<f32>(i)?,
            M::Vcmppd => self.compare::<f64>(i)?,
            M::Vblendvps => self.blend_by_vector(i, 4)?,
            M::Vblendvpd => self.blend_by_vector(i, 8)?,
            M::Vblendmps => self.blend_by_mask(i, 4)?,
            M::Vblendmpd => self.blend_by_mask(i, 8)?,
            M::Vpslld => self.shift(i, 4)?,
            M::Vpsllq => self.shift(i, 8)?,
            M::Vpmovzxbd => self.widen(i, 4, |byte| byte.into())?,
            M::Vpmovsxbd => self.widen(i, 4, |byte| (byte as i8).into())?,
            M::Vpmovzxbw => self.widen(i, 2, |byte| byte.into())?,
            M::Vpmovsxbw => self.widen(i, 2, |byte| (byte as i8).into())?,
            M::Vpinsrb => self.insert(i, 1, i.immediate8() as usize & 15)?,
            M::Vpextrb => {
                let at = self.address(i)?;
                let value = self.vectors[vector(i.op1_register())?.0][i.immediate8() as usize & 15];
                self.memory(at, 1, true)?[0] = value;
            }
            M::Vextracti128 => {
                let value = self.source(i, 1)?;
                let first = 16 * (i.immediate8() as usize & 1);
                self.set(i, std::array::from_fn(|n| if n < 16 { value[first + n] } else { 0 }))?;
            }
            M::Vpackssdw => self.narrow(i, 4, (i16::MIN.into(), i16::MAX.into()))?,
            M::Vpackuswb => self.narrow(i, 2, (0, 255))?,
            M::Vpacksswb => self.narrow(i, 2, (-128, 127))?,
            M::Vpmovsdb => self.narrow_lanes(i, |x| x.clamp(-128, 127) as u8)?,
            M::Vpmovusdb => self.narrow_lanes(i, |x| (x as u32).min(255) as u8)?,
            M::Vpmaxsd => self.integers(i, i32::max)?,
            M::Vpandn => self.integers(i, |a, b| !a & b)?,
            M::Vpcmpud if i.immediate8() == 1 => self.compare_integers(i)?,
            M::Vgatherdps => self.gather(i)?,
            M::Vpaddd => self.integers(i, i32::wrapping_add)?,
            M::Vpord | M::Vpor => self.integers(i, |a, b| a | b)?,
            M::Vpmaddubsw => self.integers(i, |a, b| {
                let p = products(a, b);
                let sum = |i: usize| (p[i] + p[i + 1]).clamp(i16::MIN.into(), i16::MAX.into());
                (sum(0) & 0xffff) | sum(2) << 16
            })?,
            M::Vpdpbusd => {
                let d = self.source(i, 0)?;
                let (a, b) = (self.source(i, 1)?, self.source(i, 2)?);
                let lane = |v: &Vector, n: usize| low(&v[4 * n..4 * n + 4]) as i32;
                let mut value = [0; 64];
                for (n, slot) in value.chunks_exact_mut(4).enumerate() {
                    let sum: i32 = products(lane(&a, n), lane(&b, n)).iter().sum();
                    slot.copy_from_slice(&lane(&d, n).wrapping_add(sum).to_le_bytes());
                }
                self.set(i, value)?;
            }
            M::Vpmaddwd => self.integers(i, |a, b| {
                let half = |x: i32| (i32::from(x as i16), x >> 16);
                (half(a).0 * half(b).0).wrapping_add(half(a).1 * half(b).1)
            })?,
            M::Vpblendw => {
                let (a, b) = (self.source(i, 1)?, self.source(i, 2)?);
                let second = |n: usize| i.immediate8() >> (n / 2 % 8) & 1 == 1;
                self.set(i, std::array::from_fn(|n| if second(n) { b[n] } else { a[n] }))?;
            }
            M::Vcvtdq2ps => self.each_integer(i, |x| (x as f32).to_bits() as i32)?,
            M::Vcvtps2dq => self.each_integer(i, |x| {
                let nearest = f64::from(f32::from_bits(x as u32)).round_ties_even();
                if (-2_147_483_648.0..2_147_483_648.0).contains(&nearest) { nearest as i32 } else { i32::MIN }
            })?,
            M::Vpsrld => {
                let by = i.immediate8();
                self.each_integer(i, |x| (x as u32 >> by) as i32)?;
            }
            M::Vmaskmovps => self.load_by_vector(i, 4)?,
            M::Vmaskmovpd => self.load_by_vector(i, 8)?,
            M::Vmovss => self.one(i, 4, 0)?,
            M::Vmovsd | M::Vmovlps if i.op_count() == 2 => self.one(i, 8, 0)?,
            M::Vmovhpd if i.op_count() == 2 => self.one(i, 8, 8)?,
            M::Vextractps => self.one(i, 4, 4 * (i.immediate8() as usize & 3))?,
            M::Vmovhpd => self.insert(i, 8, 8)?,
            // From memory, which element the constant's upper bits would choose means nothing.
            M::Vinsertps if i.immediate8() & 0xcf == 0 => self.insert(i, 4, i.immediate8() as usize / 4)?,
            M::Vinsertf128 | M::Vinsertf32x4 => {
                let (mut value, part) = (self.source(i, 1)?, self.source(i, 2)?);
                let first = 16 * i.immediate8() as usize;
                value[first..first + 16].copy_from_slice(&part[..16]);
                self.set(i, value)?;
            }
            M::Vextractf128 | M::Vextractf32x4 => {
                let value = self.source(i, 1)?;
                let first = 16 * i.immediate8() as usize;
                let mut part = [0; 64];
                part[..16].copy_from_slice(&value[first..first + 16]);
                self.set(i, part)?;
            }
            M::Vpermt2ps => self.permute_two(i, 4)?,
            M::Vpermt2pd => self.permute_two(i, 8)?,
            M::Vpermps => self.permute(i, 4)?,
            M::Vpermpd if i.op_kind(2) == OpKind::Register => self.permute(i, 8)?,
            M::Vshufps => self.shuffle(i, 4)?,
            M::Vshufpd => self.shuffle(i, 8)?,
            M::Vpermpd if i.op_kind(2) == OpKind::Immediate8 => {
                let a = self.source(i, 1)?;
                let from = |n: usize| 8 * (i.immediate8() as usize >> (2 * (n / 8)) & 3) + n % 8;
                self.set(i, std::array::from_fn(|n| if n < 32 { a[from(n)] } else { 0 }))?;
            }
            _ => return self.half(i),
        }
        Ok(())
    }

    fn address(&self, i: &Instruction) -> Result<u64, String> {
        if i.is_ip_rel_memory_operand() {
            return Ok(i.ip_rel_memory_address());
        }
        if i.memory_index() != Register::None || i.has_segment_prefix() {
            return Err("an address with an index or a segment".to_owned());
        }
        Ok(self.general[general(i.memory_base())?].wrapping_add(i.memory_displacement64()))
    }

    fn memory(&mut self, at: u64, len: usize, is_write: bool) -> Result<&mut [u8], String> {
        let regions = self.memory.iter_mut().chain([&mut self.stack]);
        let mut near = None;
        for region in regions {
            let offset = at.wrapping_sub(region.start) as i64;
            let is_allowed = !is_write || region.is_written;
            if is_allowed && offset >= 0 && offset as usize + len <= region.bytes.len() {
                return Ok(&mut region.bytes[offset as usize..][..len]);
            }
            if offset.unsigned_abs() < 1 << 40 {
                near = Some((region.name, offset, region.bytes.len()));
            }
        }
        let verb = if is_write { "writes" } else { "reads" };
        match near {
            Some((name, offset, size)) => Err(format!("{verb} {len} bytes at {offset} of the {size} of {name}")),
            None => Err(format!("{verb} {len} bytes at {at:#x}")),
        }
    }

    fn read(&mut self, at: u64, len: usize) -> Result<Vector, String> {
        let mut value = [0; 64];
        let constants = &self.function.constants;
        let offset = at.wrapping_sub(constants.start) as usize;
        let bytes = match constants.bytes.get(offset..offset.saturating_add(len)) {
            Some(bytes) => bytes,
            None => self.memory(at, len, false)?,
        };
        value[..len].copy_from_slice(bytes);
        Ok(value)
    }

    /// A vector operand: as many bytes as the result has, or a part of 128 bits.
    fn source(&mut self, i: &Instruction, operand: u32) -> Result<Vector, String> {
        match i.op_kind(operand) {
            OpKind::Register => Ok(self.vectors[vector(i.op_register(operand))?.0]),
            OpKind::Memory => {
                let len = vector(i.op0_register())?.1;
                self.read(self.address(i)?, len)
            }
            _ => Err("an operand that is no vector".to_owned()),
        }
    }

    /// Writes a register; what it has beyond the result's width becomes zero.
    fn set(&mut self, i: &Instruction, mut value: Vector) -> Result<(), String> {
        let (number, width) = vector(i.op0_register())?;
        value[width..].fill(0);
        self.vectors[number] = value;
        Ok(())
    }

    /// Whether the mask takes a lane part; without a mask all do.
    fn takes(&self, i: &Instruction, lane: usize) -> Result<bool, String> {
        match i.op_mask() {
            Register::None => Ok(true),
            register => Ok(self.masks[mask(register)?] >> lane & 1 == 1),
        }
    }
}

/// The products of bytes from 0 on and of bytes with a sign.
fn products(a: i32, b: i32) -> [i32; 4] {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    std::array::from_fn(|i| i32::from(a[i]) * i32::from(b[i] as i8))
}

/// The lowest 64 bits, or what there is of them.
fn low(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn general(register: Register) -> Result<usize, String> {
    let first = match register {
        r if r.is_gpr64() => Register::RAX,
        r if r.is_gpr32() => Register::EAX,
        r if r.is_gpr16() => Register::AX,
        r if r.is_gpr8() && r as usize >= Register::R8L as usize => return Ok(8 + r as usize - Register::R8L as usize),
        r => return Err(format!("{r:?} for a general register")),
    };
    Ok(register as usize - first as usize)
}

/// Number and bytes of a vector register.
fn vector(register: Register) -> Result<(usize, usize), String> {
    let (first, bytes) = match register {
        r if r.is_xmm() => (Register::XMM0, 16),
        r if r.is_ymm() => (Register::YMM0, 32),
        r if r.is_zmm() => (Register::ZMM0, 64),
        r => return Err(format!("{r:?} for a vector")),
    };
    Ok((register as usize - first as usize, bytes))
}

fn mask(register: Register) -> Result<usize, String> {
    if register.is_k() {
        Ok(register as usize - Register::K0 as usize)
    } else {
        Err(format!("{register:?} for a mask"))
    }
}
