//! Prism: the real-time tier for smart-glasses sessions. ARCHITECTURE.md says what each module holds and which others it may
//! import (`tests/tidy.rs` enforces that).

pub mod base;
pub mod boot;
pub mod cli;
mod io;
pub mod logs;
pub mod net;
pub mod services;
pub mod session;
pub mod shard;
pub mod wire;
