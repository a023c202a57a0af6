//! Layer 2, flows: the places where managers meet. Each file is one procedure of the specification.

pub(crate) mod answers;
pub(crate) mod app_in;
pub(crate) mod app_messages;
pub(crate) mod attach;
pub(crate) mod audio;
pub(crate) mod audio_output;
pub(crate) mod audio_play;
pub(crate) mod calendar;
pub(crate) mod dashboard;
pub(crate) mod device;
pub(crate) mod device_hooks;
pub(crate) mod device_returned;
pub(crate) mod device_sync;
pub(crate) mod device_timers;
pub(crate) mod dispatch;
pub(crate) mod dispose;
pub(crate) mod gate;
pub(crate) mod heartbeat;
pub(crate) mod hello;
pub(crate) mod keep_alive;
pub(crate) mod lifecycle;
pub(crate) mod location;
pub(crate) mod lost;
pub(crate) mod managed_status;
pub(crate) mod managed_streams;
pub(crate) mod media_timers;
pub(crate) mod microphone;
pub(crate) mod notices;
pub(crate) mod outputs;
pub(crate) mod phone_in;
pub(crate) mod photos;
pub(crate) mod provider;
pub(crate) mod public_url;
pub(crate) mod relay;
pub(crate) mod requests;
pub(crate) mod restart;
pub(crate) mod returned;
pub(crate) mod screen;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod streams;
pub(crate) mod sync;
pub(crate) mod timers;
pub(crate) mod user_settings;
pub(crate) mod webhook;

#[cfg(test)]
mod device_tests;
#[cfg(test)]
pub(crate) mod media_kit;
