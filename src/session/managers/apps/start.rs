//! Layer 2, part of the apps manager: a start in progress and how it can end (behaviour.md §2.3). Data only.

use super::Waiter;
use crate::base::footprint::owns;
use crate::base::ids::{CallId, Package, ReplyTo};

owns! {
    Recovery: webhook_url, ws_base;
    RefusedRequest: recovery;
    Start: waiters, recovery;
}

/// Who wanted the start; decides what a failure does to the stored running list and who is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartOrigin {
    /// The user: phone message, REST, assistant.
    User,
    /// Previously running app at session creation.
    Automatic,
    /// Restart of an app that was lost, or recovery of its server.
    Restart,
    /// The system dashboard of `dashboard_mode: app`.
    Dashboard,
}

/// Where a start stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Reserved; waits until these apps (or the own stop) are stopped.
    Blocked(Vec<Package>),
    /// The start timer runs; the webhook is in flight, between attempts, or delivered.
    Connecting,
}

/// A start, from its reservation to its outcome.
#[derive(Debug)]
pub struct Start {
    /// Who wanted it.
    pub origin: StartOrigin,
    /// Callers; all get the same outcome.
    pub waiters: Vec<Waiter>,
    /// Where it stands.
    pub phase: Phase,
    /// `mono_ms` of its begin, for the duration metric.
    pub began_ms: u64,
    /// `mono_ms` at which it times out; webhook attempts end there too.
    pub deadline_ms: u64,
    /// The webhook attempt in flight.
    pub call: Option<CallId>,
    /// Attempts made.
    pub attempts: u64,
    /// The webhook was answered 2xx.
    pub delivered: bool,
    /// The last attempt was answered, but with an error.
    pub refused: bool,
    /// Recovery of an app server: its webhook URL and WebSocket base, and who asked.
    pub recovery: Option<Recovery>,
}

/// An app is there although its server had answered the session request with an error: it may have nobody who runs its session
/// (`flow/apps/webhook.rs`).
#[derive(Debug)]
pub struct RefusedRequest {
    /// `mono_ms` at which the next attempt was due.
    pub retry_ms: u64,
    /// Of the start that the app ended by coming.
    pub recovery: Option<Recovery>,
}

/// Where a recovery's webhook goes (behaviour.md §2.14).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// Full webhook URL of the registration.
    pub webhook_url: String,
    /// `ws://host`; empty = the usual.
    pub ws_base: String,
    /// The caller; answered as soon as the webhook's fate is known.
    pub reply: Option<ReplyTo>,
}

impl Start {
    /// A reservation.
    #[must_use]
    pub fn reserve(origin: StartOrigin, now_ms: u64) -> Self {
        Self {
            origin,
            waiters: Vec::new(),
            phase: Phase::Blocked(Vec::new()),
            began_ms: now_ms,
            deadline_ms: u64::MAX,
            call: None,
            attempts: 0,
            delivered: false,
            refused: false,
            recovery: None,
        }
    }
}

/// `error.stage` of a failed start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartStage {
    /// Unknown, deprecated, or its webhook failed.
    Webhook,
    /// Stopped meanwhile, or no room.
    Connection,
    /// A wrong key came.
    Authentication,
    /// The app connected from an address that is not on its list.
    Permission,
    /// Nobody connected in time.
    Timeout,
    /// Required hardware is missing.
    HardwareCheck,
    /// The session ended.
    Disposed,
}

impl StartStage {
    /// On the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "WEBHOOK",
            Self::Connection => "CONNECTION",
            Self::Authentication => "AUTHENTICATION",
            Self::Permission => "PERMISSION",
            Self::Timeout => "TIMEOUT",
            Self::HardwareCheck => "HARDWARE_CHECK",
            Self::Disposed => "DISPOSED",
        }
    }
}

/// Why a start failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {message}", stage.as_str())]
pub struct StartError {
    /// The stage that failed.
    pub stage: StartStage,
    /// For people.
    pub message: String,
}

impl StartError {
    /// Any failure.
    #[must_use]
    pub fn new(stage: StartStage, message: impl Into<String>) -> Self {
        Self {
            stage,
            message: message.into(),
        }
    }
}
