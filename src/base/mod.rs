//! Layer 0, plain data: settings, identities, close reasons, the clock, metric declarations. Never does I/O.

pub mod clock;
pub mod close;
pub mod footprint;
pub mod ids;
#[cfg(test)]
pub mod log_capture;
pub mod metrics;
pub mod network;
pub mod panics;
pub mod rarely;
pub mod settings;
pub mod share;
