//! Layer 1, bytes ↔ values: frames, HTTP heads, JSON, stream names, tokens, records. No sockets, no sessions, no clock.

pub mod auth;
pub mod capabilities;
pub mod dates;
pub mod frame;
pub mod hello;
pub mod http;
pub mod ids;
pub mod json;
pub mod kinds;
pub mod lc3;
pub mod members;
pub mod records;
pub mod sent_kinds;
pub mod speech;
pub mod streams;
pub mod udp;
pub mod upgrade;
