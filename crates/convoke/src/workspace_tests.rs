use super::*;

#[test]
fn parts_start_on_cache_lines_and_lie_apart() {
    let mut workspace = Workspace::new();
    for (scratch, local) in [(0, 0), (0, 5), (3, 0), (16, 16), (17, 1), (100, 33), (2, 2)] {
        let [a, b] = workspace.take(scratch, local).unwrap();
        assert_eq!((a.len(), b.len()), (scratch, local));
        for part in [&a, &b] {
            assert!((part.as_ptr() as usize).is_multiple_of(64));
        }
        assert!(a.as_ptr_range().end <= b.as_ptr());
    }
    // Of bytes, 100 fill two lines and 33 one.
    assert_eq!(workspace.bytes(), 3 * 64);
}

#[test]
fn what_no_memory_holds_is_not_given() {
    for (scratch, local) in [(usize::MAX, 0), (0, usize::MAX), (usize::MAX, usize::MAX), (1 << 60, 1 << 60)] {
        assert!(Workspace::new().take(scratch, local).is_none());
    }
}
