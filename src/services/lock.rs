//! Outside thread: how it locks what its tasks share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks without fear of a panic elsewhere: every holder leaves whole values behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
