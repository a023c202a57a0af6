//! What the engine counts while it runs.

use std::collections::BTreeMap;

use crate::hist::{Class, Recorder};

/// Most different causes kept apart; further ones are counted as `other`.
const CAUSES_MAX: usize = 64;

/// Counts by cause.
#[derive(Debug, Default, Clone)]
pub(crate) struct Causes(pub(crate) BTreeMap<String, u64>);

impl Causes {
    /// Counts one `cause`.
    pub(crate) fn add(&mut self, cause: &str) {
        if let Some(count) = self.0.get_mut(cause) {
            *count += 1;
        } else {
            let key = if self.0.len() < CAUSES_MAX {
                cause
            } else {
                "other"
            };
            *self.0.entry(key.to_owned()).or_default() += 1;
        }
    }
}

/// Message counts of one class.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ClassCount {
    /// Sent in the whole phase.
    pub(crate) sent: u64,
    /// Received during the measured window.
    pub(crate) received_in_window: u64,
    /// Received in the current sampling interval.
    pub(crate) received_in_interval: u64,
    /// Arrived with other bytes than were sent.
    pub(crate) damaged: u64,
    /// Arrived at another user's receiver.
    pub(crate) misrouted: u64,
}

/// All counts.
pub(crate) struct Stats {
    /// Latencies per class.
    pub(crate) latency: Vec<Recorder>,
    /// Messages per class.
    pub(crate) count: [ClassCount; Class::ALL.len()],
    /// How late the generator itself was against its schedule.
    pub(crate) lag: Recorder,
    /// Connection errors.
    pub(crate) errors: Causes,
    /// Closes by the server: role, code, reason.
    pub(crate) closes: Causes,
    /// Due messages that were not sent because the sender was not connected.
    pub(crate) skipped_offline: u64,
    /// Due messages that were not sent because the server did not read.
    pub(crate) held_back: u64,
    /// Audio packets sent by UDP.
    pub(crate) udp_packets: u64,
    /// Audio packets that the kernel had no room for; they count as lost at the receivers.
    pub(crate) udp_no_room: u64,
    /// Audio meant for UDP that went over the WebSocket.
    pub(crate) udp_fallback: u64,
    /// Ways by UDP that the server confirmed.
    pub(crate) udp_paths: u64,
    /// Pings without an answer when the next was due.
    pub(crate) ping_timeouts: u64,
    /// Closed loop: messages given up after two seconds.
    pub(crate) stalled: u64,
    /// Sent in the current sampling interval.
    pub(crate) sent_in_interval: u64,
    /// Visitors that tried during the window.
    pub(crate) visits_tried: u64,
    /// Those of them that were acknowledged.
    pub(crate) visits: u64,
    /// Visits skipped because too many were under way.
    pub(crate) visits_skipped: u64,
    /// Calls of phones that failed: another status than 200, or none.
    pub(crate) calls_failed: u64,
    /// Phone connects acknowledged.
    pub(crate) phone_acks: u64,
}

impl Stats {
    /// Nothing counted.
    pub(crate) fn new() -> Self {
        Self {
            latency: Class::ALL.iter().map(|_| Recorder::new()).collect(),
            count: [ClassCount::default(); Class::ALL.len()],
            lag: Recorder::new(),
            errors: Causes::default(),
            closes: Causes::default(),
            skipped_offline: 0,
            held_back: 0,
            udp_packets: 0,
            udp_no_room: 0,
            udp_fallback: 0,
            udp_paths: 0,
            ping_timeouts: 0,
            stalled: 0,
            sent_in_interval: 0,
            visits_tried: 0,
            visits: 0,
            visits_skipped: 0,
            calls_failed: 0,
            phone_acks: 0,
        }
    }

    /// Adds a latency to the current interval, and to the window if it belongs there.
    pub(crate) fn latency(&mut self, class: Class, ns: u64, in_window: bool) {
        self.latency[class.index()].record(ns, in_window);
    }

    /// The counts of `class`.
    pub(crate) fn of(&mut self, class: Class) -> &mut ClassCount {
        &mut self.count[class.index()]
    }
}
