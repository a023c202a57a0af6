//! Layer 2, flow: protocol pings, the liveness rule and health statistics (behaviour.md §9.3, 9.4).

use crate::base::close::CloseReason;
use crate::base::ids::ConnId;
use crate::base::metrics::{Counter, Timing};
use crate::base::settings::{HealthMonitorMode, Settings};
use crate::session::effects::Effect;
use crate::session::flow::{lifecycle, lost};
use crate::session::managers::health::{EndReason, Peer, Proof, Row};
use crate::session::timers::Timer;
use crate::session::{Cx, Session};

/// One beat: looks for dead sockets, pings the others.
pub(crate) fn beat(s: &mut Session, cx: &mut Cx<'_>) {
    let now_ms = cx.now.mono_ms;
    let interval_ms = cx.cfg.health.heartbeat_interval_ms;
    s.timers.set(Timer::Heartbeat, now_ms + interval_ms);
    let since_ms = now_ms.saturating_sub(s.m.health.last_check_ms);
    s.m.health.last_check_ms = now_ms;
    // A check that comes late says that we stalled, not that the peers are gone.
    let late = since_ms > 2 * interval_ms;
    if !late && cx.cfg.health.health_monitor_mode != HealthMonitorMode::Off {
        check(s, cx);
    }
    ping_all(s, cx);
}

fn check(s: &mut Session, cx: &mut Cx<'_>) {
    let cfg = cx.cfg;
    let silent = s.m.health.silent(cx.now.mono_ms, |row| limit_ms(cfg, row));
    for (conn, silence_ms) in silent {
        let enforced = cfg.health.health_monitor_mode == HealthMonitorMode::Enforce;
        // Many at once look like a stall of our own: the rest is looked at again at the next beat.
        if enforced && cx.fx.liveness_closes >= cfg.health.timeout_batch_max {
            return;
        }
        let Some(row) = s.m.health.row_mut(conn) else {
            continue;
        };
        let is_told = std::mem::replace(&mut row.reported, true);
        let peer = row.peer.clone();
        if !is_told {
            report(s, conn, &peer, silence_ms, cx);
        }
        if enforced {
            cx.fx.liveness_closes += 1;
            cut(s, conn, &peer, cx);
        }
    }
}

fn report(s: &mut Session, conn: ConnId, peer: &Peer, silence_ms: u64, cx: &mut Cx<'_>) {
    s.m.health.timeouts += 1;
    let package = match peer {
        Peer::Phone => {
            cx.metrics.inc(Counter::HealthTimeoutPhone);
            "unknown"
        }
        Peer::App(package) => {
            cx.metrics.inc(Counter::HealthTimeoutApp);
            package.as_str()
        }
    };
    tracing::warn!(
        user = %s.user, correlation_id = %s.correlation(cx.now), kind = kind(peer), package, conn = %conn.tag(), silence_ms,
        "connection is silent"
    );
}

fn kind(peer: &Peer) -> &'static str {
    match peer {
        Peer::Phone => "glasses",
        Peer::App(_) => "app",
    }
}

/// The silence that a socket is allowed; `None` where its rule is switched off.
fn limit_ms(cfg: &Settings, row: &Row) -> Option<u64> {
    let health = &cfg.health;
    match (&row.peer, row.proof) {
        (Peer::Phone, _) => health
            .glasses_timeout_enabled
            .then_some(health.glasses_timeout_ms),
        (Peer::App(_), Proof::Proven) => {
            health.app_timeout_enabled.then_some(health.app_timeout_ms)
        }
        (Peer::App(_), Proof::None) => health
            .app_timeout_enabled
            .then_some(cfg.connections.ws_idle_timeout_s * 1000),
    }
}

/// Closes a dead socket and detaches it at once: the peer's answer to the close is not waited for.
fn cut(s: &mut Session, conn: ConnId, peer: &Peer, cx: &mut Cx<'_>) {
    cx.fx.close(conn, CloseReason::ConnectionTimeout);
    match peer {
        Peer::Phone => {
            s.m.health
                .unregister(conn, EndReason::HealthMonitor, cx.now.mono_ms);
            lifecycle::phone_closed(s, conn, &CloseReason::ConnectionTimeout.into(), cx);
        }
        Peer::App(package) if s.m.apps.open_conn(package) == Some(conn) => {
            lost::lost(s, package, EndReason::HealthMonitor, cx);
        }
        Peer::App(_) => {
            s.m.health
                .unregister(conn, EndReason::HealthMonitor, cx.now.mono_ms);
            lost::closed(s, conn, &CloseReason::ConnectionTimeout.into(), cx);
        }
    }
}

fn ping_all(s: &mut Session, cx: &mut Cx<'_>) {
    let tracked = s.m.health.rows().iter().map(|row| row.conn);
    // App sockets that are not attached yet are pinged like all others (behaviour.md §9.2).
    let conns: Vec<ConnId> = tracked.chain(s.m.apps.sockets.expectant()).collect();
    for conn in conns {
        let id = crate::wire::ids::ping_id(s.rng().u32(..));
        s.m.health.pinged(conn, id, cx.now.mono_ms);
        cx.fx.push(Effect::Ping { conn, id });
        if cx.cfg.health.log_ping_pong {
            tracing::debug!(user = %s.user, correlation_id = %s.correlation(cx.now), conn = %conn.tag(), "ping");
        }
    }
}

/// A protocol pong.
pub(crate) fn pong(s: &mut Session, conn: ConnId, payload: &[u8], cx: &mut Cx<'_>) {
    let now_ms = cx.now.mono_ms;
    let ring = cx.cfg.health.latency_ring as usize;
    s.m.health.seen(conn, now_ms, payload.len());
    let Some(latency_ms) = s.m.health.pong(conn, payload, now_ms, ring) else {
        return;
    };
    let timing = if s.m.phone.knows(conn) {
        // Those of superseded sockets say nothing of the phone (behaviour.md §1.6 step 5).
        if s.m.phone.current == Some(conn) {
            s.m.phone.last_pong_ms = now_ms;
        }
        Timing::PingPhone
    } else {
        Timing::PingApp
    };
    cx.metrics.time(timing, latency_ms * 1_000_000);
}

/// The periodic statistics line.
pub(crate) fn log_stats(s: &mut Session, cx: &Cx<'_>) {
    let at_ms = cx.now.mono_ms + cx.cfg.health.health_stats_log_ms;
    s.timers.set(Timer::HealthStats, at_ms);
    let rows = s.m.health.rows();
    let latencies: Vec<u64> = rows.iter().filter_map(Row::latency_ms).collect();
    let mean_ms = latencies.iter().sum::<u64>() / (latencies.len() as u64).max(1);
    let max_ms = rows.iter().filter_map(Row::latency_max_ms).max();
    tracing::debug!(
        user = %s.user, correlation_id = %s.correlation(cx.now), connections = rows.len(), timeouts = s.m.health.timeouts, mean_ms,
        max_ms = max_ms.unwrap_or(0), "connection health"
    );
}
