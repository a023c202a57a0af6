//! Layer 2, flows of one app from its start to its end: webhooks, hellos, attach, loss, restart, stop, its frames and its messages to others.

pub(crate) mod app_in;
pub(crate) mod app_messages;
pub(crate) mod attach;
pub(crate) mod hello;
pub(crate) mod lost;
pub(crate) mod notices;
pub(crate) mod recover;
pub(crate) mod restart;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod webhook;
