//! Layer `wire`: bytes to values and back; it opens no socket, knows no session and reads no clock.

pub mod auth;
pub mod capabilities;
pub mod dates;
pub mod frame;
pub mod http;
pub mod ids;
pub mod json;
pub mod kinds;
pub mod members;
pub mod records;
pub mod streams;
pub mod upgrade;
