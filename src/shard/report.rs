//! Layer 3: the figures that a shard hands to the outside thread.

use super::Shard;
use super::conns::{PeerKind, Role};
use super::mailbox::{ShardReport, ToOutside};
use crate::base::metrics::Counter;
use crate::session::managers::apps::AppState;

/// What only `net/` knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetGauges {
    /// Plain HTTP connections.
    pub http: u64,
    /// Bytes of receive buffers, and of frames that are not whole.
    pub inbound_bytes: u64,
}

impl Shard {
    /// Sends a report; one that finds the outside thread's inbox full is skipped.
    pub fn report(&mut self, net: NetGauges) {
        let (mut phones, mut apps, mut pending_apps, mut outbound_bytes) = (0, 0, 0, 0);
        for conn in self.out.conns.iter() {
            outbound_bytes += conn.outbox.len() as u64;
            match (conn.kind, &conn.role) {
                (PeerKind::Phone, Role::Session(_)) => phones += 1,
                (PeerKind::App, Role::Session(_)) => apps += 1,
                (_, Role::Fresh(_) | Role::Parked(..)) => pending_apps += 1,
                _ => {}
            }
        }
        let (mut app_states, mut mic_active, mut speech_streams) =
            ([0; AppState::ALL.len()], 0, [0; 2]);
        for entry in self.entries.iter() {
            mic_active += u64::from(entry.session.m.microphone.is_on());
            for (sum, live) in
                (speech_streams.iter_mut()).zip(entry.session.m.speech.live_streams())
            {
                *sum += live;
            }
            for app in entry.session.m.apps.iter() {
                app_states[app.state as usize] += 1;
            }
        }
        (self.owners.outbound_bytes, self.owners.inbound_bytes) =
            (outbound_bytes, net.inbound_bytes);
        let report = ShardReport {
            shard: self.id,
            at_ms: self.now.mono_ms,
            round: self.report_round,
            sessions: self.users.len() as u64,
            phones,
            apps,
            pending_apps,
            http: net.http,
            app_states,
            mic_active,
            udp_sessions: self.claims.len() as u64,
            speech_streams,
            outbound_bytes,
            inbound_bytes: net.inbound_bytes,
            owners: self.owners.last().to_vec(),
            metrics: self.workspace.metrics.hand_over(),
        };
        if self
            .outside
            .try_send(ToOutside::Report(Box::new(report)))
            .is_err()
        {
            self.workspace.metrics.inc(Counter::MailboxFull);
        }
    }

    /// Counts this shard among those whose sockets are all gone; the shutdown waits for all of them.
    pub fn report_drained(&self) {
        self.shared.shard_drained(self.id());
    }
}
