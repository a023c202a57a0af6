//! Layer 3, the outside thread.
pub mod store;
