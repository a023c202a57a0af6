//! Layer 2, flows: the places where managers meet. Each file is one procedure of the specification.

pub(crate) mod answers;
pub(crate) mod app_in;
pub(crate) mod attach;
pub(crate) mod audio;
pub(crate) mod device;
pub(crate) mod device_timers;
pub(crate) mod dispatch;
pub(crate) mod dispose;
pub(crate) mod heartbeat;
pub(crate) mod hello;
pub(crate) mod lifecycle;
pub(crate) mod lost;
pub(crate) mod media_timers;
pub(crate) mod notices;
pub(crate) mod phone_in;
pub(crate) mod relay;
pub(crate) mod requests;
pub(crate) mod restart;
pub(crate) mod returned;
pub(crate) mod screen;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod sync;
pub(crate) mod timers;
pub(crate) mod webhook;
