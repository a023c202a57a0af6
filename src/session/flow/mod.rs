//! Layer 2, flows: procedures in which several managers take part. Each file is one procedure of the specification; folders group
//! them, and every flow is re-exported here, so that it is reached as `flow::name` wherever it lives.

pub(crate) mod answers;
pub(crate) mod dispatch;
pub(crate) mod public_url;
pub(crate) mod relay;
pub(crate) mod requests;
pub(crate) mod sync;
pub(crate) mod timers;

mod apps;
mod hardware;
mod life;
mod sound;
mod speech;
mod video;
mod view;

pub(crate) use apps::{
    app_in, app_messages, attach, hello, lost, notices, recover, restart, start, stop, webhook,
};
pub(crate) use hardware::{calendar, device, gate, location, photos, user_settings};
pub(crate) use life::{churn, dispose, heartbeat, late_record, lifecycle, phone_in, returned};
pub(crate) use sound::{audio, audio_output, audio_play, microphone, udp};
pub(crate) use speech::recognisers;
pub(crate) use video::{
    keep_alive, live_input, managed_status, managed_streams, outputs, provider, streams,
};
pub(crate) use view::{dashboard, ranking, screen};

#[cfg(test)]
mod device_tests;
