//! Layer 0: the table of all settings, one file per section of the configuration file and one row per key; nothing else in the
//! code holds a tunable number.

#![allow(
    rustdoc::bare_urls,
    reason = "the words are those of config.yaml, where an address is no link"
)]

mod apps;
mod audio;
mod connections;
mod dashboard;
mod device;
mod display;
mod health;
mod http;
mod messages;
mod microphone;
mod observability;
mod server;
mod speech;
mod store;
mod streaming;
mod udp;

use super::declare::settings;
pub use apps::Apps;
pub use audio::Audio;
pub use connections::Connections;
pub use dashboard::Dashboard;
pub use device::Device;
pub use display::Display;
pub use health::Health;
pub use http::Http;
pub use messages::Messages;
pub use microphone::Microphone;
pub use observability::Observability;
pub use server::{DEVELOPMENT_SECRET, Server};
pub use speech::Speech;
pub use store::Store;
pub use streaming::Streaming;
pub use udp::Udp;

settings! {
    server: Server,
    http: Http,
    connections: Connections,
    health: Health,
    apps: Apps,
    microphone: Microphone,
    audio: Audio,
    udp: Udp,
    display: Display,
    dashboard: Dashboard,
    device: Device,
    streaming: Streaming,
    messages: Messages,
    speech: Speech,
    store: Store,
    observability: Observability,
}

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}
