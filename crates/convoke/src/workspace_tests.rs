use super::*;

#[test]
fn parts_start_on_cache_lines_and_lie_apart() {
    let mut workspace = Workspace::new();
    for (scratch, local) in [(0, 0), (0, 5), (3, 0), (16, 16), (17, 1), (100, 33), (2, 2)] {
        let [a, b] = workspace.take::<f32>(scratch, local).unwrap();
        assert_eq!((a.len(), b.len()), (scratch, local));
        for part in [&a, &b] {
            assert!((part.as_ptr() as usize).is_multiple_of(64));
        }
        assert!(a.as_ptr_range().end <= b.as_ptr());
        let [a, b] = workspace.take::<f64>(scratch, local).unwrap();
        assert_eq!((a.len(), b.len()), (scratch, local));
    }
    // Of doubles, 100 fill 13 lines and 33 fill five.
    assert_eq!(workspace.bytes(), 18 * 64);
}

#[test]
fn what_no_memory_holds_is_not_given() {
    for (scratch, local) in [(usize::MAX, 0), (0, usize::MAX), (usize::MAX, usize::MAX), (1 << 60, 1 << 60)] {
        assert!(Workspace::new().take::<f64>(scratch, local).is_none());
    }
}
