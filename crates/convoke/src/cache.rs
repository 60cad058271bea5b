//! Values that are made when they are first asked for, and of which a bounded number is kept.
//!
//! Threads share a cache. Those that ask for the same key at the same time wait for one of them to make its value; other keys wait for
//! nothing. What has not been used for the longest time is dropped first, once more values are there than may be kept. A value that
//! could not be made leaves nothing behind.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// At most so many values by key, the most recently used ones. Whoever got one keeps it alive.
pub(crate) struct Cache<K, V> {
    capacity: usize,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    /// With the time of its last use each.
    made: HashMap<K, (Arc<V>, u64)>,
    /// The values that some thread is making, or about to.
    under_way: HashMap<K, Arc<Place<V>>>,
    /// Uses so far.
    time: u64,
}

/// Where a value will be; locked by the thread that makes it.
type Place<V> = Mutex<Option<Arc<V>>>;

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// Empty; a `capacity` of 0 counts as 1.
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State { made: HashMap::new(), under_way: HashMap::new(), time: 0 };
        Self { capacity: capacity.max(1), state: Mutex::new(state) }
    }

    /// How many values it keeps at most.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many values it keeps now.
    pub(crate) fn len(&self) -> usize {
        lock(&self.state).made.len()
    }

    /// The value of `key`, which `make` makes if it is not there.
    ///
    /// # Errors
    /// As `make`. Threads that wait for the same value then try for themselves.
    pub(crate) fn get<E>(&self, key: &K, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        let place = {
            let mut state = lock(&self.state);
            if let Some(value) = state.used(key) {
                return Ok(value);
            }
            state.under_way.entry(key.clone()).or_default().clone()
        };
        let mut value = lock(&place);
        if let Some(value) = &*value {
            return Ok(value.clone());
        }
        let result = make().map(Arc::new);
        *value = result.as_ref().ok().cloned();
        let mut state = lock(&self.state);
        if state.under_way.get(key).is_some_and(|now| Arc::ptr_eq(now, &place)) {
            state.under_way.remove(key);
        }
        let dropped = result.as_ref().ok().map(|value| state.keep(key, value.clone(), self.capacity));
        drop(state);
        // What a value owns may take long to give back: nobody should wait for it.
        drop(dropped);
        result
    }
}

impl<K: Clone + Eq + Hash, V> State<K, V> {
    /// The value of `key`, which has been used now.
    fn used(&mut self, key: &K) -> Option<Arc<V>> {
        let (value, last) = self.made.get_mut(key)?;
        self.time += 1;
        *last = self.time;
        Some(value.clone())
    }

    /// Keeps `value`; returns what had to go for it.
    fn keep(&mut self, key: &K, value: Arc<V>, capacity: usize) -> Option<Arc<V>> {
        self.time += 1;
        if let Some((before, _)) = self.made.insert(key.clone(), (value, self.time)) {
            return Some(before);
        }
        if self.made.len() <= capacity {
            return None;
        }
        let oldest = self.made.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| key.clone())?;
        self.made.remove(&oldest).map(|(value, _)| value)
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = lock(&self.state).made.len();
        f.debug_struct("Cache").field("capacity", &self.capacity).field("made", &made).finish_non_exhaustive()
    }
}

/// Locks; a thread that panicked has left nothing half done, for a value is put down when it is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
