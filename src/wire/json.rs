//! Layer 1: JSON in and out; it knows no message's members but `type`.
//!
//! A received text is looked at in up to two ways, each at most once: [`kind()`] proves it and finds
//! its type, [`Scratch::parse`] reads what a handler needs.

mod beyond;
mod bytes;
mod kind;
mod scratch;
#[cfg(test)]
mod tests;
mod unicode;
mod write;

pub use beyond::from_slice;
pub use kind::{KindError, kind};
pub use scratch::{JsonError, Scratch};
pub use write::{ArrayWriter, JsonNumber, ObjectWriter, write_number, write_str};

/// Deepest nesting of objects and arrays of which members are read, the outermost counted.
pub const DEPTH_MAX: usize = 128;

/// Deepest nesting of a text that is passed on unread.
pub const PROVEN_DEPTH_MAX: usize = 4096;
