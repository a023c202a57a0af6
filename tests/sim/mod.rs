//! A deterministic simulation of the server: the code that serves (one shard and its sessions) in a world of phones, app
//! servers, a store and a network that misbehave. Every run is made by one number and checked after every event.

pub(crate) mod app;
pub(crate) mod errands;
pub(crate) mod http;
pub(crate) mod invariants;
pub(crate) mod links;
#[path = "../../src/base/log_capture.rs"]
pub(crate) mod logs;
pub(crate) mod net;
pub(crate) mod phone;
pub(crate) mod provider;
pub(crate) mod records;
pub(crate) mod registrar;
pub(crate) mod runs;
pub(crate) mod scenarios;
pub(crate) mod script;
pub(crate) mod speech;
pub(crate) mod store;
pub(crate) mod storms;
pub(crate) mod trace;
pub(crate) mod udp;
pub(crate) mod video;
pub(crate) mod voice;
pub(crate) mod world;
