//! Layer 2, flow: the three records of a phone's coming and going, with the fields that incident reviews need
//! (behaviour.md §1.12). It changes nothing.

use crate::base::ids::ConnId;
use crate::session::event::{CloseInfo, DisposeCause};
use crate::session::{Cx, Session};

/// What every record says: how old the session is and when the phone was last heard (s).
struct Ages {
    session_s: u64,
    since_client_message_s: Option<u64>,
    since_pong_s: Option<u64>,
}

fn ages(s: &Session, now_ms: u64) -> Ages {
    let since = |at_ms: u64| (at_ms > 0).then(|| now_ms.saturating_sub(at_ms) / 1000);
    Ages {
        session_s: now_ms.saturating_sub(s.created_ms) / 1000,
        since_client_message_s: since(s.m.phone.last_message_ms),
        since_pong_s: since(s.m.phone.last_pong_ms),
    }
}

/// The current phone socket closed.
pub(crate) fn closed(s: &Session, conn: ConnId, info: &CloseInfo, cx: &Cx<'_>) {
    let ages = ages(s, cx.now.mono_ms);
    tracing::info!(
        user = %s.user, correlation_id = %s.correlation(cx.now), epoch = s.epoch, conn = %conn.tag(),
        code = info.code, reason = %info.reason,
        session_s = ages.session_s, since_client_message_s = ages.since_client_message_s, since_pong_s = ages.since_pong_s,
        udp_active = s.m.phone.udp_hash.is_some(),
        reconnects = s.m.phone.reconnects,
        "ws-close"
    );
}

/// A phone came back within the grace.
pub(crate) fn reconnected(s: &Session, conn: ConnId, downtime_ms: u64, cx: &Cx<'_>) {
    let ages = ages(s, cx.now.mono_ms);
    tracing::info!(
        user = %s.user, correlation_id = %s.correlation(cx.now), epoch = s.epoch, conn = %conn.tag(),
        downtime_ms, reconnects = s.m.phone.reconnects,
        last_code = s.m.phone.last_close_code, last_reason = %s.m.phone.last_close_reason,
        session_s = ages.session_s, since_client_message_s = ages.since_client_message_s, since_pong_s = ages.since_pong_s,
        udp_active = s.m.phone.udp_hash.is_some(),
        "ws-reconnect"
    );
}

/// The session ends.
pub(crate) fn disposed(s: &Session, cause: DisposeCause, cx: &Cx<'_>) {
    let ages = ages(s, cx.now.mono_ms);
    let active = s.m.apps.iter().filter(|app| app.is_active());
    let apps: Vec<&str> = active.map(|app| app.package.as_str()).collect();
    let apps = apps.join(" ");
    tracing::info!(
        user = %s.user, correlation_id = %s.correlation(cx.now), epoch = s.epoch, reason = reason(cause),
        reconnects = s.m.phone.reconnects, last_code = s.m.phone.last_close_code,
        session_s = ages.session_s, since_client_message_s = ages.since_client_message_s, since_pong_s = ages.since_pong_s,
        udp_active = s.m.phone.udp_hash.is_some(),
        apps,
        "ws-dispose"
    );
}

fn reason(cause: DisposeCause) -> &'static str {
    match cause {
        DisposeCause::GraceTimeout => "grace_period_timeout",
        DisposeCause::Explicit => "explicit_disposal",
    }
}
