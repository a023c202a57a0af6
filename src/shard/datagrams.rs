//! Layer 3: audio datagrams find their session (protocol.md §11.3). Hashes belong to shards as users do, so a phone that spells
//! its user id as the server does reaches its session at once; others are forwarded. Nothing is answered by UDP.

use super::Shard;
use super::live::LiveUsers;
use super::mailbox::ToShard;
use crate::base::ids::{ShardId, UserId};
use crate::base::metrics::Counter;
use crate::wire::udp::{self, Content};
use rustc_hash::FxHashMap;

/// Whose datagrams with a hash are. At most one per session.
struct Claim {
    user: UserId,
    epoch: u64,
    shard: ShardId,
}

/// Hashes that this shard decides about.
#[derive(Default)]
pub(super) struct Claims(FxHashMap<u32, Claim>);

impl Claims {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The one whose user id has this hash keeps it, else the first one with a live session (behaviour.md §5.4): a release may
    /// have got lost. Two ids may have the same hash; then the first keeps it too. `false`: refused.
    fn claim(&mut self, hash: u32, claim: Claim, live: &LiveUsers) -> bool {
        let is_natural = |claim: &Claim| claim.user.hash32() == hash;
        let others = self.0.get(&hash).filter(|held| held.user != claim.user);
        let keeps = |held: &Claim| !is_natural(&claim) || is_natural(held);
        if others.is_some_and(|held| keeps(held) && live.contains(&held.user)) {
            return false;
        }
        self.0.insert(hash, claim);
        true
    }

    fn release(&mut self, hash: u32, user: &UserId, epoch: u64) {
        if let Some(held) = self.0.get(&hash)
            && held.user == *user
            && held.epoch == epoch
        {
            self.0.remove(&hash);
        }
    }
}

impl Shard {
    /// Hashes that this shard gives to somebody: whose, and of which session of theirs. Only to look at, as [`Shard::session`].
    pub fn udp_claims(&self) -> impl Iterator<Item = (u32, &str, u64)> {
        let claims = self.claims.0.iter();
        claims.map(|(hash, claim)| (*hash, &*claim.user, claim.epoch))
    }

    /// A datagram came.
    #[inline]
    pub fn datagram(&mut self, bytes: &mut [u8]) {
        self.workspace.metrics.inc(Counter::UdpReceived);
        self.steer(bytes);
    }

    /// To the session that claims its hash, wherever that is; what nobody claims is dropped.
    pub(super) fn steer(&mut self, bytes: &mut [u8]) {
        let Some(hash) = udp::read(bytes).map(|datagram| datagram.hash) else {
            self.workspace.metrics.inc(Counter::UdpDropped);
            return;
        };
        let home = self.hash_home(hash);
        if home != self.id {
            self.forward(home, None, bytes);
            return;
        }
        let Some(claim) = self.claims.0.get(&hash) else {
            self.workspace.metrics.inc(Counter::UdpDropped);
            return;
        };
        let (user, epoch, shard) = (claim.user.clone(), claim.epoch, claim.shard);
        if shard == self.id {
            self.hear(&user, epoch, bytes);
        } else {
            self.forward(shard, Some((user, epoch)), bytes);
        }
    }

    /// Hands a datagram to a session of this shard, unless that has let go of the hash since another shard looked.
    pub(super) fn hear(&mut self, user: &UserId, epoch: u64, bytes: &mut [u8]) {
        let at = self.users.get(user).copied();
        let (Some(at), Some(datagram)) = (at, udp::read(bytes)) else {
            self.workspace.metrics.inc(Counter::UdpDropped);
            return;
        };
        let hash = Some(datagram.hash);
        let is_bound = self.entries.get(at).is_some_and(|entry| {
            entry.session.epoch == epoch && entry.session.m.phone.udp_hash == hash
        });
        if self.draining || !is_bound {
            self.workspace.metrics.inc(Counter::UdpDropped);
            return;
        }
        match datagram.content {
            Content::Probe => self.drive(at, |session, cx| session.on_udp_probe(cx)),
            Content::Audio { sequence, payload } => self.drive(at, |session, cx| {
                session.on_udp_audio(sequence, payload, cx);
            }),
        }
    }

    fn forward(&mut self, shard: ShardId, to: Option<(UserId, u64)>, bytes: &[u8]) {
        let message = ToShard::Datagram {
            to,
            bytes: bytes.into(),
        };
        if self.mail.send(shard, message).is_err() {
            self.workspace.metrics.inc(Counter::MailboxFull);
            self.workspace.metrics.inc(Counter::UdpDropped);
        }
    }

    /// A session's phone announced a hash.
    pub(super) fn udp_register(&mut self, at: u32, hash: u32) {
        let Some((user, epoch)) = self.claimant(at) else {
            return;
        };
        let home = self.hash_home(hash);
        if home == self.id {
            self.claimed(hash, user, epoch, home);
        } else {
            let shard = self.id;
            let message = ToShard::UdpClaim {
                hash,
                user,
                epoch,
                shard,
            };
            // The phone registers again when its probes stay unanswered.
            if self.mail.send(home, message).is_err() {
                self.workspace.metrics.inc(Counter::MailboxFull);
            }
        }
    }

    /// A session's phone took its hash back, or the session ends.
    pub(super) fn udp_unregister(&mut self, at: u32, hash: u32) {
        if let Some((user, epoch)) = self.claimant(at) {
            self.udp_released(hash, user, epoch);
        }
    }

    /// A session of this shard or another one lets go of a hash.
    pub(super) fn udp_released(&mut self, hash: u32, user: UserId, epoch: u64) {
        let home = self.hash_home(hash);
        if home == self.id {
            self.claims.release(hash, &user, epoch);
            return;
        }
        let message = ToShard::UdpRelease { hash, user, epoch };
        if self.mail.send(home, message).is_err() {
            self.workspace.metrics.inc(Counter::MailboxFull);
        }
    }

    /// A session of `shard` claims a hash that this shard decides about.
    pub(super) fn claimed(&mut self, hash: u32, user: UserId, epoch: u64, shard: ShardId) {
        let tag = user.log_tag();
        let claim = Claim { user, epoch, shard };
        if !self.claims.claim(hash, claim, &self.shared.live) {
            self.workspace.metrics.inc(Counter::UdpRefused);
            tracing::debug!(user = tag, hash, "UDP hash is somebody else's");
        }
    }

    fn claimant(&self, at: u32) -> Option<(UserId, u64)> {
        let session = &self.entries.get(at)?.session;
        Some((session.user.clone(), session.epoch))
    }

    /// The shard that decides whose a hash is: the home of the user that has it.
    fn hash_home(&self, hash: u32) -> ShardId {
        ShardId((hash % u32::from(self.mail.shards())) as u16)
    }
}
