//! What tests against a real `prism serve` share, from the outside in: the place of a deployment (`site`), the process (`server`)
//! and its log (`log`), what speaks to it (`client`), an app server that comes when it is called (`app_server`), a PostgreSQL (`postgres`).
//! The other files here need no process; a test takes them by their path.
#![allow(missing_docs, reason = "a test")]
#![allow(dead_code, unused_imports, reason = "each test uses its part")]

mod app_server;
mod client;
mod log;
pub(crate) mod postgres;
pub(crate) mod seccomp;
mod server;
mod site;

pub(crate) use app_server::AppServer;
pub(crate) use client::{Answer, Socket, close_of, hello, http, is_alive, open, rest_of, wait_for};
pub(crate) use log::{Log, Place};
pub(crate) use postgres::postgres_url;
pub(crate) use server::{Server, listening};
pub(crate) use site::{Site, disk_folder};

use serde_json::json;
use std::time::Duration;

/// Signs the tokens.
pub(crate) const SECRET: &str = "secret-of-tests-0123456789";
/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Both I/O drivers.
pub(crate) const DRIVERS: [&str; 2] = ["uring", "epoll"];

/// Tries until there is something, for as long as anything here may take.
pub(crate) fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let clock = prism::base::clock::Clock::start();
    loop {
        let found = attempt();
        if found.is_some() || u128::from(clock.mono_ns()) > PATIENCE.as_nanos() {
            return found;
        }
    }
}

/// A phone's token.
pub(crate) fn token(email: &str) -> String {
    prism::wire::auth::TokenKeys::new(SECRET)
        .mint(&json!({ "email": email }))
        .expect("an object")
}
