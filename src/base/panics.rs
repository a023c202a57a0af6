//! Layer 0: what a panic said.

use std::any::Any;

/// The text of a caught panic.
#[must_use]
pub fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
