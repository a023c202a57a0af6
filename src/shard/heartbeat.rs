//! Layer 3: pings and the liveness rule for app sockets that no session owns yet (behaviour.md §9.2, last sentence).

use super::Shard;
use super::conns::{Conn, Proof, Role};
use crate::base::close::CloseReason;
use crate::base::ids::ConnId;
use crate::base::metrics::Counter;
use crate::base::settings::{HealthMonitorMode, Settings};
use crate::session::effects::Class;
use crate::wire::frame::Opcode;
use crate::wire::ids::ping_id;

impl Shard {
    /// Every `heartbeat_interval_ms`: looks for dead sockets, pings the others.
    pub(super) fn beat_waiting(&mut self) {
        let (now_ms, interval_ms) = (self.now.mono_ms, self.cfg.health.heartbeat_interval_ms);
        let since_ms = now_ms.saturating_sub(self.ticks.last_beat_ms);
        if since_ms < interval_ms {
            return;
        }
        self.ticks.last_beat_ms = now_ms;
        // A check that comes late says that we stalled, not that the peers are gone.
        let late = since_ms > 2 * interval_ms;
        if !late && self.cfg.health.health_monitor_mode != HealthMonitorMode::Off {
            self.close_silent_waiting();
        }
        self.ping_waiting();
    }

    fn close_silent_waiting(&mut self) {
        let (now_ms, cfg) = (self.now.mono_ms, self.cfg.clone());
        let silent: Vec<(ConnId, u64)> = self
            .out
            .conns
            .iter()
            .filter_map(|conn| {
                let silence_ms = now_ms.saturating_sub(conn.last_rx_ms);
                (silence_ms > limit_ms(&cfg, conn)?).then_some((conn.id, silence_ms))
            })
            .collect();
        for (id, silence_ms) in silent {
            let enforced = cfg.health.health_monitor_mode == HealthMonitorMode::Enforce;
            if enforced && self.workspace.fx.liveness_closes >= cfg.health.timeout_batch_max {
                return;
            }
            let Some(conn) = self.out.conns.get(id) else {
                continue;
            };
            if std::mem::replace(&mut conn.proof, Proof::Reported) == Proof::Reported {
                continue;
            }
            let (user, package) = match &conn.role {
                Role::Parked(parked) => (parked.user.log_tag(), &*parked.package),
                _ => ("unknown".to_owned(), "unknown"),
            };
            tracing::warn!(user, kind = "app", package, conn = %id.tag(), silence_ms, "connection is silent");
            self.workspace.metrics.inc(Counter::HealthTimeoutApp);
            if enforced {
                self.workspace.fx.liveness_closes += 1;
                self.refuse(id, CloseReason::ConnectionTimeout);
            }
        }
    }

    fn ping_waiting(&mut self) {
        let waiting: Vec<ConnId> = self
            .out
            .conns
            .iter()
            .filter(|conn| conn.waits())
            .map(|conn| conn.id)
            .collect();
        for id in waiting {
            let payload = ping_id(self.rng.u32(..));
            let metrics = &mut self.workspace.metrics;
            self.out
                .send(id, Opcode::Ping, Class::Control, &payload, 0, metrics);
        }
    }

    /// The peer answered a ping, or sent one of its own: it is held to the liveness rule from now on.
    pub(super) fn prove(&mut self, id: ConnId) {
        if let Some(conn) = self.out.conns.get(id) {
            conn.proof = Proof::Proven;
        }
    }
}

/// The silence that a socket is allowed; `None` where this rule is not for it.
fn limit_ms(cfg: &Settings, conn: &Conn) -> Option<u64> {
    (conn.waits() && cfg.health.app_timeout_enabled).then_some(match conn.proof {
        Proof::None => cfg.connections.ws_idle_timeout_s * 1000,
        Proof::Proven | Proof::Reported => cfg.health.app_timeout_ms,
    })
}
