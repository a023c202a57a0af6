//! Layer 2, tests only: one session on a simulated clock. In layers:
//!
//! - [`bench`]: the session with all that it may look at or write to, and its time;
//! - [`direct`]: a phone and apps that are simply there; messages go straight to their handlers;
//! - the kits: [`Kit`] for the session as a whole, everything by way of its events, with every deadline; `media` and `device` for
//!   tests of what travels between phone and apps, on `direct`, with only the deadlines of their group.

pub(crate) mod bench;
pub(crate) mod device;
pub(crate) mod direct;
pub(crate) mod media;
mod seen;
mod whole;

pub(crate) use bench::{USER, needs, session_end};
pub(crate) use whole::{CHESS, KEY, Kit, MAPS, SCRIBE, hello, record, trusted, user_running};
