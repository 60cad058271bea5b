//! Instructions in a row, with labels, constants and notes, to bytes.
//!
//! The instruction encodings themselves are iced's; what is ours is which one stands where. Codes are named in full
//! (`VEX_…`, `EVEX_…`), so that none is chosen by a default.

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, Instruction, InstructionBlock, MemoryOperand, OpKind, Register,
};

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
    pub(super) fn finish(mut self) -> Result<Code64, String> {
        let code_instructions = self.instructions.len();
        for (bytes, label) in std::mem::take(&mut self.constants) {
            self.bind(label);
            for chunk in bytes.chunks(16) {
                self.scalar(Instruction::with_declare_byte(chunk));
            }
        }
        if let Some(reason) = self.refused {
            return Err(reason);
        }
        let block = InstructionBlock::new(&self.instructions, 0);
        let options = BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
        let encoded = BlockEncoder::encode(64, block, options).map_err(|e| e.to_string())?;
        let bytes = encoded.code_buffer;
        let offset = |at: usize| encoded.new_instruction_offsets.get(at).map_or(bytes.len(), |&o| o as usize);
        let notes = self.notes.unwrap_or_default().into_iter().map(|(at, words)| (offset(at), words)).collect();
        Ok(Code64 { code_len: offset(code_instructions), notes, bytes })
    }
}
