//! Layer 3: what time alone brings about: due sessions, overdue sockets, silent sockets, a changed registry, changed settings.

use super::Shard;
use super::conns::Role;
use super::deadlines::Due;
use super::unowned::BOOT_TIMEOUT;
use crate::base::clock::Now;
use crate::base::close::CloseReason;
use crate::base::ids::ConnId;
use crate::base::metrics::Timing;
use crate::base::settings::HealthMonitorMode;
use crate::session::event::{CloseInfo, Event};

/// Deadlines handled per tick; the rest waits for the next one, so that a herd cannot stall the shard.
const DUE_PER_TICK: usize = 512;
/// Sessions told of a new registry, or of new settings, per tick.
const SESSIONS_PER_TICK: u32 = 256;
/// How often silent sockets are looked for (ms).
const SWEEP_MS: u64 = 1000;

/// How far the rounds have come that are spread over many ticks.
#[derive(Default, Debug)]
pub(super) struct Ticks {
    /// The next session slot to be told of the new registry.
    pub(super) registry_changed: Option<u32>,
    /// The next one to be told that the settings of speech are new.
    pub(super) speech_changed: Option<u32>,
    next_sweep_ms: u64,
    /// The shard stalled: silence counts again from here on, when peers have had time to be heard.
    silence_from_ms: u64,
    /// The last beat of sockets without a session ([`super::heartbeat`]).
    pub(super) last_beat_ms: u64,
    /// Scheduling delay is not logged again before this (`mono_ms`).
    lag_quiet_until_ms: u64,
    /// Slow audio is not logged again before this (`mono_ms`).
    audio_quiet_until_ms: u64,
}

impl Shard {
    /// To be called every few milliseconds.
    pub fn tick(&mut self, now: Now) {
        self.at(now);
        self.send_backlog();
        self.answer_overdue_stops();
        for _ in 0..DUE_PER_TICK {
            match self.out.deadlines.pop(now.mono_ms) {
                Some((at_ms, Due::Session(at))) => self.session_due(at_ms, at),
                Some((at_ms, Due::Conn(id))) => self.conn_due(at_ms, id),
                None => break,
            }
        }
        if let Some(from) = self.ticks.registry_changed {
            self.ticks.registry_changed = self.tell_all(from, || Event::RegistryChanged);
        }
        if let Some(from) = self.ticks.speech_changed {
            self.ticks.speech_changed = self.tell_all(from, || Event::SpeechSettingsChanged);
        }
        if now.mono_ms >= self.ticks.next_sweep_ms {
            // A sweep that comes late says that we stalled, not that the peers are gone (behaviour.md §9.4).
            if self.ticks.next_sweep_ms > 0 && now.mono_ms > self.ticks.next_sweep_ms + SWEEP_MS {
                self.ticks.silence_from_ms = now.mono_ms + self.cfg.health.heartbeat_interval_ms;
            }
            self.ticks.next_sweep_ms = now.mono_ms + SWEEP_MS;
            self.workspace.fx.liveness_closes = 0;
            if now.mono_ms >= self.ticks.silence_from_ms {
                self.cut_silent();
            }
            self.compact_deadlines();
            self.say_slow_audio();
        }
        self.count_memory();
        self.beat_waiting();
    }

    /// The shard turned this much later than it meant to: counts it, and says so where it hurts.
    pub fn lagged(&mut self, lag_ns: u64, now: Now) {
        self.workspace.metrics.time(Timing::TurnLag, lag_ns);
        let (cfg, lag_ms) = (&self.cfg.observability, lag_ns / 1_000_000);
        if lag_ms > cfg.lag_warn_ms && now.mono_ms >= self.ticks.lag_quiet_until_ms {
            self.ticks.lag_quiet_until_ms = now.mono_ms + cfg.lag_warn_cooldown_ms;
            tracing::warn!(shard = self.id.0, lag_ms, "scheduling-delay");
        }
    }

    /// At most one line per `lag_warn_cooldown_ms`: an app that reads slowly makes every chunk late.
    fn say_slow_audio(&mut self) {
        if self.now.mono_ms < self.ticks.audio_quiet_until_ms {
            return;
        }
        if let Some(worst) = self.out.records.take_slow() {
            let pause_ms = self.cfg.observability.lag_warn_cooldown_ms;
            self.ticks.audio_quiet_until_ms = self.now.mono_ms + pause_ms;
            let (relay_ms, stage_ms) = (worst.relay / 1_000_000, worst.stage / 1_000_000);
            tracing::warn!(shard = self.id.0, relay_ms, stage_ms, "slow-audio");
        }
    }

    fn session_due(&mut self, at_ms: u64, at: u32) {
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };
        if entry.due_ms != at_ms {
            return; // An earlier row took its place.
        }
        entry.due_ms = u64::MAX;
        let next = entry.session.next_deadline_ms();
        if next > self.now.mono_ms {
            entry.due_ms = next;
            if next != u64::MAX {
                self.out.deadlines.set(next, Due::Session(at));
            }
        } else if !self.draining {
            self.tell_bytes(at);
            self.drive(at, |session, cx| session.on_event(Event::Tick, cx));
        }
    }

    /// Before a session judges the silence of its sockets it learns when bytes came last: a large message that arrives in
    /// pieces is no silence, though the session hears of it only at its end.
    fn tell_bytes(&mut self, at: u32) {
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };
        if !entry.session.judges_silence(self.now) {
            return;
        }
        for id in &entry.conns {
            if let Some(conn) = self.out.conns.get(*id) {
                entry.session.bytes_came(*id, conn.last_rx_ms);
            }
        }
    }

    fn conn_due(&mut self, at_ms: u64, id: ConnId) {
        let Some(conn) = self.out.conns.get(id) else {
            return;
        };
        if conn.deadline_ms != at_ms {
            return;
        }
        conn.deadline_ms = u64::MAX;
        match &conn.role {
            Role::Fresh(candidate) => {
                let reason = candidate.rejected.unwrap_or(CloseReason::InitTimeout);
                self.refuse(id, reason);
            }
            Role::Parked(..) => {
                self.say(id, BOOT_TIMEOUT);
                self.refuse(id, CloseReason::DeferredTimeout);
            }
            // The close handshake took too long.
            Role::Detached => self.out.cut(id),
            Role::Session(_) | Role::Echo => {}
        }
    }

    /// A socket from which nothing at all came for `ws_idle_timeout_s` is cut. Where a liveness rule is in
    /// force it comes first (protocol.md §1.6) and this only catches what it missed.
    fn cut_silent(&mut self) {
        let idle_ms = self.cfg.connections.ws_idle_timeout_s * 1000;
        let watched_ms = match self.cfg.health.health_monitor_mode {
            HealthMonitorMode::Enforce => idle_ms + 2 * self.cfg.health.heartbeat_interval_ms,
            HealthMonitorMode::Off | HealthMonitorMode::Observe => idle_ms,
        };
        let now_ms = self.now.mono_ms;
        let silent: Vec<ConnId> = self
            .out
            .conns
            .iter()
            .filter(|conn| {
                let limit = match conn.role {
                    Role::Session(_) | Role::Fresh(_) | Role::Parked(_) => watched_ms,
                    Role::Echo | Role::Detached => idle_ms,
                };
                now_ms.saturating_sub(conn.last_rx_ms) > limit
            })
            .map(|conn| conn.id)
            .collect();
        for id in silent {
            // Its owner hears why, before the reader only finds the connection broken.
            let info = CloseInfo {
                code: 1006,
                reason: CloseInfo::IDLE.to_owned(),
            };
            self.detach(id, info);
            self.out.cut(id);
        }
    }

    /// Tells the next sessions; says where to go on.
    fn tell_all(&mut self, from: u32, event: impl Fn() -> Event) -> Option<u32> {
        let (slots, rest) = self.entries.next_slots(from, SESSIONS_PER_TICK);
        for at in slots {
            if self.entries.get(at).is_some() {
                self.drive(at, |session, cx| session.on_event(event(), cx));
            }
        }
        rest
    }

    /// Stale rows must not outnumber the live ones for long.
    fn compact_deadlines(&mut self) {
        let live = self.users.len() + self.out.conns.len();
        if self.out.deadlines.len() <= 4 * live + 1024 {
            return;
        }
        let entries = &self.entries;
        let due: rustc_hash::FxHashMap<ConnId, u64> = self
            .out
            .conns
            .iter()
            .map(|conn| (conn.id, conn.deadline_ms))
            .collect();
        self.out.deadlines.retain(|at_ms, row| match row {
            Due::Session(at) => entries.get(at).is_some_and(|entry| entry.due_ms == at_ms),
            Due::Conn(id) => due.get(&id) == Some(&at_ms),
        });
    }
}
