use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

type Numbers = Cache<u32, u32>;

/// The value of `key`, which is its square; `made` counts those that had to be made.
fn square(cache: &Numbers, key: u32, made: &AtomicUsize) -> u32 {
    let make = || {
        made.fetch_add(1, Ordering::SeqCst);
        Ok::<_, ()>(key * key)
    };
    *cache.get(&key, make).unwrap()
}

#[test]
fn what_was_not_used_for_the_longest_time_goes_first() {
    let (cache, made) = (Numbers::new(3), AtomicUsize::new(0));
    for (key, expected) in [(1, 1), (2, 2), (3, 3), (1, 3), (4, 4), (1, 4), (3, 4), (2, 5), (4, 6), (1, 7), (2, 7)] {
        assert_eq!(square(&cache, key, &made), key * key);
        assert_eq!(made.load(Ordering::SeqCst), expected, "at key {key}");
        assert!(cache.len() <= 3);
    }
}

#[test]
fn a_capacity_of_none_is_one() {
    let (cache, made) = (Numbers::new(0), AtomicUsize::new(0));
    assert_eq!(cache.capacity(), 1);
    for key in [5, 5, 6, 6, 5] {
        square(&cache, key, &made);
    }
    assert_eq!((made.load(Ordering::SeqCst), cache.len()), (3, 1));
}

#[test]
fn what_fails_leaves_nothing_behind() {
    let (cache, made) = (Numbers::new(1), AtomicUsize::new(0));
    square(&cache, 7, &made);
    assert_eq!(cache.get(&8, || Err("no")), Err("no"));
    assert_eq!(square(&cache, 7, &made), 49);
    assert_eq!((made.load(Ordering::SeqCst), lock(&cache.state).under_way.len()), (1, 0));
    assert_eq!(square(&cache, 8, &made), 64);
}

#[test]
fn what_panics_can_be_made_again() {
    let cache = Numbers::new(1);
    let panicking = || cache.get::<()>(&8, || panic!("on purpose"));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(panicking)).unwrap_err();
    assert_eq!(square(&cache, 8, &AtomicUsize::new(0)), 64);
    assert_eq!(lock(&cache.state).under_way.len(), 0);
}

#[test]
fn threads_make_each_value_once_even_where_fewer_are_kept() {
    const THREADS: u32 = 16;
    const KEYS: u32 = 4;
    for capacity in [1, 2, 64] {
        let (cache, made) = (Numbers::new(capacity), AtomicUsize::new(0));
        let make = |key: u32| {
            made.fetch_add(1, Ordering::SeqCst);
            // All threads that want it have come: each has its place, and so has the map.
            while Arc::strong_count(&lock(&cache.state).under_way[&key]) <= (THREADS / KEYS) as usize {
                std::thread::yield_now();
            }
            Ok::<_, ()>(key * key)
        };
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (cache, make, key) = (&cache, &make, thread % KEYS);
                scope.spawn(move || assert_eq!(*cache.get(&key, || make(key)).unwrap(), key * key));
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), KEYS as usize, "capacity {capacity}");
        assert!(cache.len() == capacity.min(KEYS as usize) && lock(&cache.state).under_way.is_empty());
    }
}

#[test]
fn other_keys_do_not_wait() {
    let (cache, made) = (Numbers::new(4), AtomicUsize::new(0));
    let slow = cache.get(&1, || {
        assert_eq!(std::thread::scope(|scope| scope.spawn(|| square(&cache, 2, &made)).join().unwrap()), 4);
        Ok::<_, ()>(1)
    });
    assert_eq!((slow.as_deref(), made.load(Ordering::SeqCst)), (Ok(&1), 1));
}
