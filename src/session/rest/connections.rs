//! Layer 2, REST: the connections of this session for administrators (behaviour.md §9.5). A pure read.

use crate::base::clock::Now;
use crate::session::Session;
use crate::session::managers::health::{Ended, Peer, Proof, Row};
use crate::wire::json::ObjectWriter;

/// A JSON array: one object per open socket, then one per socket that ended lately (`open: false`).
pub(crate) fn json(s: &Session, now: Now) -> Vec<u8> {
    let mut out = vec![b'['];
    for row in s.m.health.rows() {
        if out.len() > 1 {
            out.push(b',');
        }
        write(&mut out, s, row, now);
    }
    for ended in s.m.health.ended() {
        if out.len() > 1 {
            out.push(b',');
        }
        write_ended(&mut out, s, ended, now);
    }
    out.push(b']');
    out
}

fn write(out: &mut Vec<u8>, s: &Session, row: &Row, now: Now) {
    let mut object = ObjectWriter::begin(out);
    object
        .str("userId", &s.user)
        .str("connectionId", &row.conn.tag())
        .bool("open", true);
    match &row.peer {
        Peer::Phone => {
            let role = if s.m.phone.current == Some(row.conn) {
                "current"
            } else {
                "superseded"
            };
            object.str("kind", "glasses").str("role", role);
        }
        Peer::App(package) => {
            object
                .str("kind", "app")
                .str("packageName", package)
                .str("state", s.m.apps.state(package).as_str());
        }
    }
    object
        .num("ageMs", now.mono_ms.saturating_sub(row.connected_ms))
        .num("lastSeenMs", now.mono_ms.saturating_sub(row.last_seen_ms))
        .bool("proven", row.proof == Proof::Proven)
        .num("missedPings", u64::from(row.missed))
        .num("messagesIn", row.messages_in)
        .num("bytesIn", row.bytes_in)
        .num("messagesOut", row.sent.0)
        .num("bytesOut", row.sent.1);
    match (row.latency_ms(), row.latency_max_ms()) {
        (Some(mean), Some(max)) => {
            object.num("latencyMs", mean).num("latencyMaxMs", max);
        }
        _ => {
            object.null("latencyMs").null("latencyMaxMs");
        }
    }
    object.end();
}

fn write_ended(out: &mut Vec<u8>, s: &Session, ended: &Ended, now: Now) {
    let mut object = ObjectWriter::begin(out);
    object
        .str("userId", &s.user)
        .str("connectionId", &ended.conn.tag())
        .bool("open", false);
    match &ended.peer {
        Peer::Phone => object.str("kind", "glasses"),
        Peer::App(package) => object.str("kind", "app").str("packageName", package),
    };
    object
        .str("reason", ended.reason.as_str())
        .num("ageMs", ended.lived_ms)
        .num("endedMs", now.mono_ms.saturating_sub(ended.ended_ms));
    object.end();
}
