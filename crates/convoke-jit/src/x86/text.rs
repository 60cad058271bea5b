//! A tile's machine code as assembly, read back from its bytes.
//!
//! Each instruction of the tile stands as a comment beside the first machine instruction that it became.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use convoke_core::ir::{Kernel, Tile};
use iced_x86::{Decoder, DecoderOptions, Formatter as _, Instruction, IntelFormatter, OpKind};

use super::tile;
use crate::error::JitError;

/// Where comments start.
const COLUMN: usize = 56;

/// The assembly of `tile`, under its symbol.
pub(crate) fn text(kernel: &Kernel, tile: &Tile) -> Result<String, JitError> {
    let code = tile::assemble(kernel, tile, true)?;
    let mut notes: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (at, words) in &code.notes {
        notes.entry(*at).or_default().push(words);
    }
    let decoder = Decoder::with_ip(64, &code.bytes[..code.code_len], 0, DecoderOptions::NONE);
    let instructions: Vec<Instruction> = decoder.into_iter().collect();
    let mut labels: BTreeMap<u64, usize> = BTreeMap::new();
    for instruction in instructions.iter().filter(|i| is_jump(i)) {
        labels.insert(instruction.near_branch_target(), 0);
    }
    for (number, label) in labels.values_mut().enumerate() {
        *label = number + 1;
    }
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_space_after_operand_separator(true);
    options.set_rip_relative_addresses(true);
    options.set_small_hex_numbers_in_decimal(true);
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_signed_immediate_operands(true);
    let mut out = format!("{}:\n", tile.name);
    // Writing to a string cannot fail.
    for instruction in &instructions {
        if let Some(label) = labels.get(&instruction.ip()) {
            let _ = writeln!(out, ".l{label}:");
        }
        let mut line = String::from("    ");
        match labels.get(&instruction.near_branch_target()) {
            Some(label) if is_jump(instruction) => {
                let _ = write!(line, "{} .l{label}", format!("{:?}", instruction.mnemonic()).to_lowercase());
            }
            _ => formatter.format(instruction, &mut line),
        }
        let words = notes.remove(&(instruction.ip() as usize)).unwrap_or_default();
        let mut words = words.into_iter().filter(|w| !w.is_empty());
        match words.next() {
            Some(first) => {
                let _ = writeln!(out, "{line:<COLUMN$}; {first}");
            }
            None => {
                let _ = writeln!(out, "{line}");
            }
        }
        for more in words {
            let _ = writeln!(out, "{:COLUMN$}; {more}", "");
        }
    }
    let constants = &code.bytes[code.code_len..];
    for (at, chunk) in constants.chunks(16).enumerate() {
        let bytes: Vec<_> = chunk.iter().map(|b| format!("{b:02x}")).collect();
        let _ = writeln!(out, "    ; {:#06x}: {}", code.code_len + 16 * at, bytes.join(" "));
    }
    Ok(out)
}

fn is_jump(instruction: &Instruction) -> bool {
    instruction.op0_kind() == OpKind::NearBranch64
}
