use prost::Message;

use super::*;

/// A small generator of numbers.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn no_bytes_make_it_panic() {
    let valid = texts::block().encode_to_vec();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut read = 0;
    for _ in 0..2_000 {
        let mut bytes = valid.clone();
        for _ in 0..=next(&mut state) % 4 {
            let at = (next(&mut state) % bytes.len() as u64) as usize;
            match next(&mut state) % 4 {
                0 => bytes[at] ^= 1 << (next(&mut state) % 8),
                1 => bytes[at] = next(&mut state) as u8,
                2 => bytes.truncate(at.max(1)),
                _ => {
                    let from = (next(&mut state) % bytes.len() as u64) as usize;
                    let len = (next(&mut state) % 16) as usize;
                    let piece: Vec<u8> = bytes.iter().skip(from).take(len).copied().collect();
                    bytes.splice(at..at, piece);
                }
            }
        }
        if let Ok(model) = ModelProto::decode(bytes.as_slice()) {
            read += usize::from(try_import(&model).is_ok());
        }
    }
    assert!(read > 100, "only {read} of the mutations are models");
}
