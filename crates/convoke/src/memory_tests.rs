use super::*;

#[test]
fn pieces_of_a_block_lie_apart_and_outlive_the_rest() {
    let mut rest = Memory::zeros(10).unwrap();
    let mut pieces: Vec<Memory> = [3, 0, 1, 4].into_iter().map(|lines| rest.take(lines).unwrap()).collect();
    assert!(rest.take(3).is_none());
    assert_eq!(rest.bytes(), 2 * LINE);
    drop(rest);
    for (i, piece) in pieces.iter_mut().enumerate() {
        let lines = piece.lines;
        let (all, none) = piece.split::<f32>(lines).unwrap();
        assert!(all.as_ptr().addr().is_multiple_of(if lines > 0 { LINE } else { 1 }) && none.is_empty());
        all.fill(i as f32);
    }
    let copy = pieces[3].clone();
    for (i, (piece, len)) in pieces.into_iter().zip([48, 0, 16, 64]).enumerate() {
        assert_eq!(piece.elements::<f32>(), vec![i as f32; len]);
    }
    assert_eq!(copy.elements::<f32>(), [3.0; 64]);
}

#[test]
fn what_was_in_it_is_kept_when_it_grows() {
    let mut memory = Memory::default();
    assert_eq!((memory.elements::<u8>(), memory.bytes()), (&[][..], 0));
    memory.grow(1).unwrap();
    memory.split::<u8>(1).unwrap().0.fill(7);
    memory.grow(2).unwrap();
    memory.grow(1).unwrap();
    assert_eq!(memory.elements::<u8>(), [[7; LINE], [0; LINE]].concat());
    assert!(memory.grow(usize::MAX / LINE).is_none());
    assert_eq!(memory.bytes(), 2 * LINE);
}
