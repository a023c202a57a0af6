//! Prism: the real-time tier for smart-glasses sessions. Layers in order; imports point upward in this list only
//! (`tests/tidy.rs` holds that).

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
