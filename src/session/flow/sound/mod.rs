//! Layer 2, flows of microphone audio towards apps and app audio towards the phone.

pub(crate) mod audio;
pub(crate) mod audio_output;
pub(crate) mod audio_play;
pub(crate) mod microphone;
pub(crate) mod udp;
