//! Tests of the device side of a session.

mod audio;
mod control;
mod location;
mod managed;
mod messages;
mod photos;
mod state;
mod streams;

use crate::base::ids::{ConnId, Package, ReplyTo, UserId};
use crate::base::metrics::Counter;
use crate::session::State;
use crate::session::effects::{Effect, Effects};
use crate::session::event::Sdk;
use crate::session::managers::apps::AppState;
use crate::session::rest::Call;
use crate::session::testkit::device::{Kit, OTHER, PLAIN, SCRIBE, Sent, types, value};
use crate::session::testkit::direct::PHONE_CONN;
use crate::wire::records::Registry;
use serde_json::{Value, json};

/// The phone, away when this stream ended, comes back and is told to stop it.
fn back_and_told_to_stop(kit: &mut Kit, stream_id: &str) {
    assert!(kit.sent().phone().is_empty(), "it is away");
    kit.phone_back();
    let sent = kit.sent();
    let stop = value(sent.phone()[0]);
    assert_eq!(
        (stop["type"].as_str(), stop["streamId"].as_str()),
        (Some("stop_stream"), Some(stream_id))
    );
}
