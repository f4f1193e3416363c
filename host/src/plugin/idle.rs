//! Idle instances of one version, kept near the thread that used them.
//!
//! An instance that moves to another core brings its memory along, cache line by cache line, which costs more than the
//! call. So each thread has a stack of its own and takes from another's only when that is empty: no instance waits
//! while a call wants one. Within a stack the last used is on top: the warmest serves first and the rest may expire.

use parking_lot::Mutex;

use crate::delivery::thread_number;

/// Stacks, one per thread; threads beyond that share. A power of two.
const STACKS: usize = 16;

/// A stack on cache lines of its own. `None` once retired: what comes back then is refused.
#[derive(Debug)]
#[repr(align(128))]
struct Stack<T>(Mutex<Option<Vec<T>>>);

/// Values that wait to be used again.
#[derive(Debug)]
pub(super) struct Idle<T>([Stack<T>; STACKS]);

impl<T> Idle<T> {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| Stack(Mutex::new(Some(Vec::new())))))
    }

    fn own() -> usize {
        thread_number() % STACKS
    }

    /// The warmest of this thread, or of another.
    pub(super) fn take(&self) -> Option<T> {
        let own = Self::own();
        (0..STACKS).find_map(|i| self.0[(own + i) % STACKS].0.lock().as_mut()?.pop())
    }

    /// Keeps a value for the next call. Gives it back where nothing is kept any more.
    pub(super) fn put(&self, value: T) -> Option<T> {
        match &mut *self.0[Self::own()].0.lock() {
            Some(stack) => {
                stack.push(value);
                None
            }
            None => Some(value),
        }
    }

    /// Takes out what is `stale`. To be dropped by the caller: dropping an instance frees memory, and that is not done
    /// under a lock.
    pub(super) fn take_if(&self, mut stale: impl FnMut(&mut T) -> bool) -> Vec<T> {
        let mut gone = Vec::new();
        for stack in &self.0 {
            if let Some(stack) = &mut *stack.0.lock() {
                gone.extend(stack.extract_if(.., |value| stale(value)));
            }
        }
        gone
    }

    /// Takes out everything and keeps nothing from now on.
    pub(super) fn retire(&self) -> Vec<T> {
        let stacks = self.0.iter().filter_map(|stack| stack.0.lock().take());
        stacks.flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_used_of_this_thread_comes_first_then_those_of_others() {
        let idle = Idle::new();
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(idle.put("theirs"), None));
        });
        for value in ["cold", "warm"] {
            assert_eq!(idle.put(value), None);
        }
        let taken: Vec<_> = std::iter::from_fn(|| idle.take()).collect();
        assert_eq!(taken, ["warm", "cold", "theirs"]);
    }

    #[test]
    fn nothing_is_kept_once_retired() {
        let idle = Idle::new();
        for value in 0..4 {
            assert_eq!(idle.put(value), None);
        }
        assert_eq!(idle.take_if(|value| *value % 2 == 0), [0, 2]);
        assert_eq!(idle.retire(), [1, 3]);
        assert_eq!((idle.put(5), idle.take()), (Some(5), None));
    }
}
