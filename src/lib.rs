//! Prism: real-time tier for smart-glasses sessions.
//!
//! Modules stand in layer order; each imports only what stands above it.

pub mod wire;
