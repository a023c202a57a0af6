//! Layer 2, the managers: each holds one part of a user's state. None imports another; handlers and flows are where two meet.

pub mod app_messages;
pub mod apps;
pub mod audio;
pub mod audio_output;
pub mod audio_play;
pub mod calendar;
pub mod dashboard;
pub mod device;
pub mod display;
pub mod health;
pub mod location;
pub mod managed_streams;
pub mod microphone;
pub mod missed;
pub mod notifications;
pub mod phone;
pub mod photos;
pub mod routes;
pub mod settings;
pub mod speech;
pub mod streams;
pub mod subscriptions;
pub mod udp;

/// All managers of a session. Those that every chunk of audio passes stand first, then those that every message passes; `health`
/// ends and `phone` begins with what they need of them. Among thousands of sessions each line of memory that a message touches is a
/// cache miss.
#[derive(Default)]
#[repr(C)]
pub struct Managers {
    /// See [`audio`].
    pub audio: audio::Audio,
    /// See [`microphone`].
    pub microphone: microphone::Microphone,
    /// See [`health`].
    pub health: health::Health,
    /// See [`routes`].
    pub routes: routes::Routes,
    /// See [`phone`].
    pub phone: phone::Phone,
    /// See [`apps`].
    pub apps: apps::Apps,
    /// See [`subscriptions`].
    pub subscriptions: subscriptions::Subscriptions,
    /// See [`display`].
    pub display: display::Display,
    /// See [`dashboard`].
    pub dashboard: dashboard::Dashboard,
    /// See [`notifications`].
    pub notifications: notifications::Notifications,
    /// See [`speech`].
    pub speech: speech::Speech,
    /// See [`calendar`].
    pub calendar: calendar::Calendar,
    /// See [`location`].
    pub location: location::Location,
    /// See [`device`].
    pub device: device::Device,
    /// See [`missed`].
    pub missed: missed::Missed,
    /// See [`photos`].
    pub photos: photos::Photos,
    /// See [`streams`].
    pub streams: streams::Streams,
    /// See [`managed_streams`].
    pub managed_streams: managed_streams::ManagedStreams,
    /// See [`audio_output`].
    pub audio_output: audio_output::AudioOutput,
    /// See [`audio_play`].
    pub audio_play: audio_play::AudioPlay,
    /// See [`app_messages`].
    pub app_messages: app_messages::AppMessages,
    /// See [`settings`].
    pub settings: settings::Settings,
    /// See [`udp`].
    pub udp: udp::Reorder,
}
