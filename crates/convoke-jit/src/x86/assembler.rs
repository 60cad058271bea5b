//! Instructions in a row, with labels, constants and notes, to bytes.
//!
//! The instruction encodings themselves are iced's; what is ours is which one stands where. Codes are named in full
//! (`VEX_…`, `EVEX_…`), so that none is chosen by a default.

use iced_x86::{Code, Encoder, Instruction, MemoryOperand, OpKind, Register};

/// Bytes from where a jump back leads to the jump, up to which one byte says how far; the jump's own two count too, and make 128.
const SHORT: usize = 126;

/// A place to jump to, or a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(u64);

/// What an instruction works on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    Reg(Register),
    Mem(MemoryOperand),
    Imm(u8),
}

/// `[base + displacement]`.
pub(super) fn memory(base: Register, displacement: i32) -> Operand {
    Operand::Mem(MemoryOperand::with_base_displ(base, i64::from(displacement)))
}

/// Instructions and constants of one function.
#[derive(Default)]
pub(super) struct Assembler {
    instructions: Vec<Instruction>,
    labels: u64,
    /// The label of the next instruction.
    pending: Option<Label>,
    /// Constants that stand behind the code, each once.
    constants: Vec<(Vec<u8>, Label)>,
    /// What instructions are for, if anyone wants to know: the position of the first, and words.
    notes: Option<Vec<(usize, String)>>,
    /// The first thing that iced refused.
    refused: Option<String>,
}

/// Machine code, with what is known about it.
pub(super) struct Code64 {
    pub(super) bytes: Vec<u8>,
    /// Bytes before the constants.
    pub(super) code_len: usize,
    /// Offset in `bytes`, and words.
    pub(super) notes: Vec<(usize, String)>,
}

impl Assembler {
    /// An empty function; `annotated` keeps notes.
    pub(super) fn new(annotated: bool) -> Self {
        Self { notes: annotated.then(Vec::new), ..Self::default() }
    }

    /// Appends a vector instruction.
    pub(super) fn vector(&mut self, code: Code, operands: &[Operand]) {
        let mut instruction = Instruction::default();
        instruction.set_code(code);
        for (i, operand) in operands.iter().enumerate() {
            let i = i as u32;
            match *operand {
                Operand::Reg(register) => {
                    instruction.set_op_kind(i, OpKind::Register);
                    instruction.set_op_register(i, register);
                }
                Operand::Mem(m) => {
                    instruction.set_op_kind(i, OpKind::Memory);
                    instruction.set_memory_base(m.base);
                    instruction.set_memory_index(m.index);
                    instruction.set_memory_index_scale(m.scale);
                    instruction.set_memory_displacement64(m.displacement as u64);
                    // A displacement of no bytes is only right for zero; the encoder shortens where it can.
                    let size = if m.displacement == 0 && m.base != Register::RIP { 0 } else { 8 };
                    instruction.set_memory_displ_size(size);
                }
                Operand::Imm(value) => {
                    instruction.set_op_kind(i, OpKind::Immediate8);
                    instruction.set_immediate8(value);
                }
            }
        }
        self.push(instruction);
    }

    /// The same with lanes that the mask register leaves out: zeroed in a register, untouched in memory.
    pub(super) fn masked(&mut self, code: Code, operands: &[Operand], mask: Register) {
        self.vector(code, operands);
        self.mask_last(mask);
        if matches!(operands.first(), Some(Operand::Reg(r)) if r.is_vector_register()) {
            self.zero_others(mask);
        }
    }

    /// Has the instruction before set the lanes to zero that a mask register leaves out.
    pub(super) fn zero_others(&mut self, mask: Register) {
        if let Some(last) = self.instructions.last_mut() {
            last.set_op_mask(mask);
            last.set_zeroing_masking(true);
        }
    }

    /// Has a mask register choose between the operands of the instruction before.
    pub(super) fn mask_last(&mut self, mask: Register) {
        if let Some(last) = self.instructions.last_mut() {
            last.set_op_mask(mask);
        }
    }

    /// Appends an instruction that iced's constructors made.
    pub(super) fn scalar(&mut self, made: Result<Instruction, iced_x86::IcedError>) {
        match made {
            Ok(instruction) => self.push(instruction),
            Err(e) => {
                self.refused.get_or_insert(e.to_string());
            }
        }
    }

    fn push(&mut self, mut instruction: Instruction) {
        instruction.set_ip(self.pending.take().map_or(0, |label| label.0));
        self.instructions.push(instruction);
    }

    pub(super) fn new_label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels)
    }

    /// Puts `label` on the next instruction.
    pub(super) fn bind(&mut self, label: Label) {
        if self.pending.is_some() {
            // An instruction carries one label.
            self.scalar(Ok(Instruction::with(Code::Nopd)));
        }
        self.pending = Some(label);
    }

    pub(super) fn jump(&mut self, code: Code, to: Label) {
        self.scalar(Instruction::with_branch(code, to.0));
    }

    /// The place of a constant, relative to the instruction pointer.
    pub(super) fn constant(&mut self, bytes: &[u8]) -> Operand {
        let known = self.constants.iter().find(|c| c.0 == bytes).map(|c| c.1);
        let label = known.unwrap_or_else(|| {
            let label = self.new_label();
            self.constants.push((bytes.to_vec(), label));
            label
        });
        Operand::Mem(MemoryOperand::with_base_displ(Register::RIP, label.0 as i64))
    }

    /// Says what the instructions from here on are for.
    pub(super) fn note(&mut self, words: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            notes.push((self.instructions.len(), words()));
        }
    }

    /// The bytes, to be placed anywhere.
    ///
    /// Each instruction is encoded once. A jump back is short where it can be; places behind an instruction are filled in at the end.
    pub(super) fn finish(self) -> Result<Code64, String> {
        if let Some(reason) = self.refused {
            return Err(reason);
        }
        let mut encoder = Encoder::new(64);
        let mut places = vec![None; self.labels as usize + 1];
        let mut open = Vec::new();
        let mut starts = Vec::with_capacity(self.instructions.len());
        let mut at = 0;
        for mut instruction in self.instructions {
            starts.push(at);
            places[instruction.ip() as usize] = Some(at);
            let is_jump = instruction.op0_kind() == OpKind::NearBranch64;
            let label = match (is_jump, instruction.is_ip_rel_memory_operand()) {
                (true, _) => Some(instruction.near_branch64()),
                (_, true) => Some(instruction.memory_displacement64()),
                _ => None,
            };
            let known = label.and_then(|label| places[label as usize]);
            match known.unwrap_or(at) as u64 {
                to if is_jump => instruction.set_near_branch64(to),
                to if label.is_some() => instruction.set_memory_displacement64(to),
                _ => {}
            }
            if instruction.code() == Code::Jne_rel32_64 && known.is_some_and(|to| at - to <= SHORT) {
                instruction.set_code(Code::Jne_rel8_64);
            }
            let len = encoder.encode(&instruction, at as u64).map_err(|e| e.to_string())?;
            if let (Some(label), None) = (label, known) {
                let offsets = encoder.get_constant_offsets();
                let field = if is_jump { offsets.immediate_offset() } else { offsets.displacement_offset() };
                open.push((label, at + field, at + len));
            }
            at += len;
        }
        if let Some(label) = self.pending {
            places[label.0 as usize] = Some(at);
        }
        let mut bytes = encoder.take_buffer();
        for (constant, label) in self.constants {
            places[label.0 as usize] = Some(bytes.len());
            bytes.extend(constant);
        }
        for (label, field, next) in open {
            let to = places[label as usize].ok_or("a label that is nowhere")?;
            let distance = i32::try_from(to as i64 - next as i64).map_err(|e| e.to_string())?;
            bytes[field..field + 4].copy_from_slice(&distance.to_le_bytes());
        }
        let offset = |index: usize| starts.get(index).copied().unwrap_or(at);
        let notes = self.notes.unwrap_or_default().into_iter().map(|(index, words)| (offset(index), words)).collect();
        Ok(Code64 { code_len: at, notes, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions};

    fn decoded(code: &Code64) -> Vec<Instruction> {
        Decoder::new(64, &code.bytes[..code.code_len], DecoderOptions::NONE).into_iter().collect()
    }

    /// Around the distance from which on a jump back takes four bytes.
    #[test]
    fn jumps_lead_to_their_labels() {
        for between in (0..4).chain(SHORT - 8..SHORT + 8) {
            let mut a = Assembler::new(false);
            let [head, behind] = [a.new_label(), a.new_label()];
            a.scalar(Ok(Instruction::with(Code::Nopd)));
            a.bind(head);
            a.jump(Code::Jle_rel32_64, behind);
            (0..between).for_each(|_| a.scalar(Ok(Instruction::with(Code::Nopd))));
            a.jump(Code::Jne_rel32_64, head);
            a.bind(behind);
            a.scalar(Ok(Instruction::with(Code::Retnq)));
            let code = a.finish().expect("it is encoded");

            let all = decoded(&code);
            let [.., back, last] = all[..] else { panic!("{between}: {all:?}") };
            assert_eq!((all.len(), back.near_branch_target(), last.code()), (between + 4, 1, Code::Retnq), "{between}");
            assert_eq!((all[1].code(), all[1].near_branch_target()), (Code::Jle_rel32_64, last.ip()), "{between}");
            // The jump forward has six bytes.
            let is_short = between + 6 <= 128 - 2;
            let expected = if is_short { Code::Jne_rel8_64 } else { Code::Jne_rel32_64 };
            assert_eq!(back.code(), expected, "{between}");
        }
    }

    /// Behind the code, each once, also where an immediate stands behind the displacement.
    #[test]
    fn constants_are_where_instructions_read_them() {
        let mut a = Assembler::new(false);
        let (one, two) = ([1_u8; 32], [2_u8; 32]);
        let [x, y] = [Register::YMM1, Register::YMM2].map(Operand::Reg);
        for bytes in [&one, &two, &one] {
            let constant = a.constant(bytes);
            a.vector(Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8, &[x, y, constant, Operand::Imm(1)]);
            let constant = a.constant(bytes);
            a.vector(Code::VEX_Vaddps_ymm_ymm_ymmm256, &[x, y, constant]);
        }
        let code = a.finish().expect("it is encoded");
        assert_eq!(code.bytes[code.code_len..], [one, two].concat());
        let read: Vec<usize> =
            decoded(&code).iter().map(|i| i.ip_rel_memory_address() as usize - code.code_len).collect();
        assert_eq!(read, [0, 0, 32, 32, 0, 0]);
    }

    #[test]
    fn a_label_that_is_nowhere_is_refused() {
        let mut a = Assembler::new(false);
        let label = a.new_label();
        a.jump(Code::Jne_rel32_64, label);
        assert!(a.finish().is_err());
    }
}
