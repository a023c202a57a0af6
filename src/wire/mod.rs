//! Layer 1, bytes ↔ values: frames, HTTP heads, JSON, stream names, tokens, records. No sockets, no sessions.

pub mod auth;
pub mod frame;
pub mod http;
pub mod ids;
pub mod json;
pub mod kinds;
pub mod records;
pub mod streams;
pub mod upgrade;
