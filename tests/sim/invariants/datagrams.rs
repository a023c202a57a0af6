//! Invariants 4, 33 and 48 for audio by UDP (behaviour.md §5.4, protocol.md §11): whose a hash is, what is heard of its
//! datagrams and in which order, which probes are confirmed. Where mail between shards takes its time, only what holds in
//! any order of it.

use super::super::net::{Down, Up};
use super::super::udp::{Audio, Content, Packet, hash_of};
use super::counts::counts;
use super::{Cause, View, Watch};
use prism::base::ids::ConnId;
use prism::session::Session;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A hole's deadline is met within this (ms).
const SLACK_MS: u64 = 2;
/// Numbers that may be missing before the order begins anew, with room for what is under way.
const SAFE_GAP: u16 = 40;

/// What is known of all users' datagrams.
#[derive(Default)]
pub(crate) struct Air {
    /// Whose each hash is: user and session.
    owners: BTreeMap<u32, (String, u64)>,
    users: BTreeMap<String, Heard>,
    due: Vec<Due>,
    /// Probes that arrived, for worlds with slow mail.
    probes: Vec<(u64, u32)>,
    strays: Vec<Stray>,
    /// How much happened, so that nobody takes a world without datagrams for a sound one.
    pub(crate) seen: Tally,
}

counts! {
    /// Counts.
    struct Tally {
        confirmed,
        heard,
        /// Heard after a packet with a higher number had come.
        sorted,
        refused,
        forged,
        repeated,
        unclaimed,
    }
}

/// What one session should have heard.
#[derive(Default)]
struct Heard {
    epoch: u64,
    hash: Option<u32>,
    /// Counts registrations: each begins a new order.
    round: u32,
    /// Two phones, or one that began its numbers anew without saying so: the order means nothing until the next round.
    mixed: bool,
    source: Option<(usize, u32)>,
    newest: u16,
    /// Every chunk that was for this session, by phone and number.
    accepted: BTreeSet<(u32, u32)>,
    /// Who has listened since the round began.
    listeners: Option<BTreeSet<ConnId>>,
    /// The last number that a listener got in this round.
    last: BTreeMap<ConnId, u32>,
}

/// A chunk that must be heard soon.
struct Due {
    at_ms: u64,
    user: String,
    round: u32,
    chunk: (u32, u32),
    conn: ConnId,
    phone: Option<ConnId>,
}

/// A datagram of nobody that is taken for audio: its hash is known, and audio is not sealed there.
struct Stray {
    hash: u32,
    /// `None`: where mail takes its time, that is whoever has its hash when it gets there.
    user: Option<String>,
    /// Its whole samples.
    audio: Vec<u8>,
    heard: BTreeSet<ConnId>,
}

impl Heard {
    fn begin_round(&mut self) {
        *self = Self {
            epoch: self.epoch,
            hash: self.hash,
            round: self.round + 1,
            accepted: std::mem::take(&mut self.accepted),
            ..Self::default()
        };
    }

    /// A packet that comes as a stranger to the others of its round mixes the order up.
    fn mix(&mut self, audio: &Audio, sealed: bool) {
        let source = (audio.phone, audio.run);
        let first = self.source.is_none();
        let gap = audio.sequence.wrapping_sub(self.newest);
        let far = !first && gap.min(gap.wrapping_neg()) > SAFE_GAP;
        self.mixed |= *self.source.get_or_insert(source) != source || sealed || far;
        if first || gap < 0x8000 {
            self.newest = audio.sequence;
        }
    }
}

/// A user's session and the hash that it announced.
fn bound(user: &str, view: &View<'_>) -> (u64, Option<u32>) {
    let session = view.session(user);
    session.map_or((0, None), |one| (one.epoch, one.m.phone.udp_hash))
}

/// Whether audio is sealed, by the wish of the phone's socket.
fn is_sealed(session: &Session, view: &View<'_>) -> bool {
    session.m.phone.flags.udp_encryption && view.cfg.udp.udp_encryption_enabled
}

/// Whether the session takes the packet, and takes it sealed for audio.
fn taken(session: &Session, audio: &Audio, view: &View<'_>) -> (bool, bool) {
    let asked = is_sealed(session, view);
    let key = session.m.phone.udp_key.map(|key| key.0);
    let opens = audio.whole && audio.key.is_some() && audio.key == key;
    (!asked || opens, !asked && audio.key.is_some())
}

impl Air {
    fn stray(&mut self, packet: &Packet, user: Option<&str>) {
        let audio = packet.payload();
        self.strays.push(Stray {
            hash: packet.hash,
            user: user.map(str::to_owned),
            audio: audio[..audio.len() & !1].to_vec(),
            heard: BTreeSet::new(),
        });
    }
}

impl Watch {
    /// When a socket last showed a sign of life, by itself or by a datagram.
    pub(super) fn heard_ms(&self, conn: ConnId, view: &View<'_>) -> u64 {
        let by_frame = view.net.get(conn).map_or(0, |sock| sock.last_rx_ms);
        let own = self.socks.get(&conn);
        by_frame.max(own.map_or(0, |own| own.datagram_ms))
    }

    pub(super) fn before_datagram(&mut self, packet: &Packet, view: &View<'_>) {
        if let Content::Probe = packet.content {
            // A socket that does not read is sent its confirmation up to three seconds later.
            self.air.probes.retain(|row| row.0 + 5000 > view.now_ms);
            self.air.probes.push((view.now_ms, packet.hash));
        }
        if let Content::Junk = packet.content
            && view.mail.lag_ms > 0
        {
            self.air.stray(packet, None);
        }
        let owner = self.air.owners.get(&packet.hash).cloned();
        let Some((user, _)) = owner.filter(|_| !self.draining) else {
            self.air.seen.unclaimed += 1;
            return;
        };
        let Some(session) = view.session(&user) else {
            return;
        };
        // Audio is heard while the phone reconnects; a probe needs a socket to be confirmed on.
        let phone = session.m.phone.open();
        let audio = match &packet.content {
            Content::Audio(audio) => audio,
            Content::Probe => {
                if let Some(phone) = phone {
                    let own = self.socks.entry(phone).or_default();
                    own.owed.push(view.now_ms);
                    own.datagram_ms = view.now_ms;
                }
                return;
            }
            Content::Junk => return self.stray_comes(&user, packet, session, view),
        };
        let (taken, sealed) = taken(session, audio, view);
        if !taken {
            self.air.seen.forged += 1;
            return;
        }
        if let Some(phone) = phone {
            self.socks.entry(phone).or_default().datagram_ms = view.now_ms;
            self.forced(&user);
        }
        self.accept(&user, audio, sealed, phone, session, view);
    }

    /// A datagram that no phone sent. Where audio is not sealed it is heard as any other, and its number counts.
    fn stray_comes(&mut self, user: &str, packet: &Packet, session: &Session, view: &View<'_>) {
        if is_sealed(session, view) || packet.payload().is_empty() {
            return;
        }
        if let Some(phone) = session.m.phone.open() {
            self.socks.entry(phone).or_default().datagram_ms = view.now_ms;
            self.forced(user);
        }
        self.air.users.entry(user.to_owned()).or_default().mixed = true;
        if view.mail.lag_ms == 0 {
            self.air.stray(packet, Some(user));
        }
    }

    /// Whether a chunk is such a datagram, which one socket hears once.
    pub(super) fn is_stray(&mut self, user: &str, conn: ConnId, chunk: &[u8]) -> bool {
        let heard = self.air.users.entry(user.to_owned()).or_default();
        self.air.strays.iter_mut().any(|stray| {
            let own = heard.hash == Some(stray.hash)
                && stray.user.as_deref().is_none_or(|whose| whose == user);
            own && stray.audio == chunk && stray.heard.insert(conn)
        })
    }

    fn accept(
        &mut self,
        user: &str,
        audio: &Audio,
        sealed: bool,
        phone: Option<ConnId>,
        session: &Session,
        view: &View<'_>,
    ) {
        let heard = self.air.users.entry(user.to_owned()).or_default();
        let chunk = (audio.phone as u32, audio.number);
        let in_order = heard.newest.wrapping_sub(audio.sequence) >= 0x8000;
        heard.mix(audio, sealed);
        self.air.seen.sorted += u64::from(!in_order && !heard.mixed);
        self.air.seen.repeated += u64::from(!heard.accepted.insert(chunk));
        let targets = session.m.audio.targets.iter().copied();
        let timely: BTreeSet<ConnId> = targets.filter(|conn| view.is_timely(*conn)).collect();
        let listeners = match heard.listeners.take() {
            Some(before) => &before & &timely,
            None => timely,
        };
        for conn in &listeners {
            let late = heard
                .last
                .get(conn)
                .is_some_and(|last| audio.number <= *last);
            if !heard.mixed && !late && view.mail.lag_ms == 0 {
                self.air.due.push(Due {
                    at_ms: view.now_ms + view.cfg.udp.udp_reorder_timeout_ms + SLACK_MS,
                    user: user.to_owned(),
                    round: heard.round,
                    chunk,
                    conn: *conn,
                    phone,
                });
            }
        }
        heard.listeners = Some(listeners);
    }

    /// 33: a chunk is heard once, in its order, and by the user that its hash belongs to.
    pub(super) fn invariant_33_datagrams(
        &mut self,
        user: &str,
        conn: ConnId,
        chunk: (u32, u32),
        view: &View<'_>,
    ) {
        let heard = self.air.users.entry(user.to_owned()).or_default();
        self.air.seen.heard += 1;
        if view.mail.lag_ms > 0 {
            // It may have been on its way to the session since before a registration, but not without one.
            if heard.hash.is_none() && view.is_timely(conn) {
                let text = format!("chunk {} was heard without a hash", chunk.1);
                self.broken(33, "whose datagrams", user, text);
            }
            return;
        }
        if !heard.accepted.contains(&chunk) {
            let text = format!(
                "chunk {} of phone {} was heard on {conn:?}",
                chunk.1, chunk.0
            );
            return self.broken(33, "whose datagrams", user, text);
        }
        self.air
            .due
            .retain(|due| due.chunk != chunk || due.conn != conn);
        let last = heard.last.insert(conn, chunk.1).unwrap_or(0);
        if chunk.1 <= last && !heard.mixed && view.is_timely(conn) {
            let text = format!("chunk {} came after {last} on {conn:?}", chunk.1);
            self.broken(33, "order of datagrams", user, text);
        }
    }

    /// 33: a probe is confirmed where its hash is registered, and nothing else is.
    pub(super) fn invariant_33_probes(&mut self, conn: ConnId, frame: &Down, view: &View<'_>) {
        let Down::Text(message) = frame else { return };
        if message["type"] != "udp_ping_ack" {
            return;
        }
        let user = view.net.get(conn).map_or("", |sock| &sock.user).to_owned();
        self.air.seen.confirmed += 1;
        // It tells when it was written: at once, or after slow mail to the shard that decides and on to the session's.
        let unix_ms = message["timestamp"].as_u64().unwrap_or_default();
        let written_ms = self.storms.written_ms(unix_ms);
        let mail_ms = 2 * view.mail.lag_ms;
        let of = |at_ms: u64| {
            let mut written = written_ms.iter();
            written.any(|written_ms| at_ms <= *written_ms && *written_ms <= at_ms + mail_ms)
        };
        let own = self.socks.entry(conn).or_default();
        if let Some(at) = own.owed.iter().position(|at_ms| of(*at_ms)) {
            own.owed.remove(at);
        } else if view.mail.lag_ms > 0 {
            let hash = view.session(&user).and_then(|one| one.m.phone.udp_hash);
            let mut probes = self.air.probes.iter();
            if !probes.any(|probe| Some(probe.1) == hash && of(probe.0)) {
                self.broken(33, "probes", &user, "nobody probed".to_owned());
            }
        } else {
            let text = format!("{conn:?} got a confirmation that was not for it");
            self.broken(33, "probes", &user, text);
        }
    }

    pub(super) fn look_at_datagrams(&mut self, cause: &Cause, view: &View<'_>) {
        if let Cause::Datagram(packet) = cause
            && let Content::Probe = packet.content
            && view.mail.lag_ms == 0
        {
            self.invariant_33_a_probe_is_confirmed(packet.hash, view);
        }
        let asked = match cause {
            Cause::Frame(conn, Up::Text(text)) if text.contains("udp_register") => {
                let message: Value = serde_json::from_str(text).unwrap_or_default();
                message["userIdHash"].as_u64().map(|hash| (*conn, hash))
            }
            _ => None,
        };
        let concerned = self.users.keys().filter(|user| {
            let known = self.air.users.get(*user);
            asked.is_some() || known.map(|one| (one.epoch, one.hash)) != Some(bound(user, view))
        });
        for user in concerned.cloned().collect::<Vec<_>>() {
            self.model_registrations(&user, asked, view);
        }
        self.invariant_33_nothing_is_lost(view);
        self.invariant_48_hashes_are_free_again(view);
    }

    fn invariant_33_a_probe_is_confirmed(&mut self, hash: u32, view: &View<'_>) {
        let Some((user, _)) = self.air.owners.get(&hash).cloned() else {
            return;
        };
        let phone = view.session(&user).and_then(|one| one.m.phone.open());
        let missing = phone.filter(|conn| {
            view.is_timely(*conn) && self.socks.get(conn).is_some_and(|own| !own.owed.is_empty())
        });
        if let Some(conn) = missing {
            let text = format!("a probe for {hash:08x} was not confirmed on {conn:?}");
            self.broken(33, "probes", &user, text);
        }
    }

    /// Who claims which hash after an event; one that belongs to a user by its id goes to that user, else the first one has it.
    fn model_registrations(&mut self, user: &str, asked: Option<(ConnId, u64)>, view: &View<'_>) {
        let session = view.session(user);
        let heard = self.air.users.entry(user.to_owned()).or_default();
        let (epoch, hash) = bound(user, view);
        let again = asked.is_some_and(|(conn, asked)| {
            let current = session.and_then(|session| session.m.phone.open());
            current == Some(conn) && hash.is_some_and(|hash| u64::from(hash) == asked)
        });
        let changed = (heard.epoch, heard.hash) != (epoch, hash);
        if !changed && !again {
            return;
        }
        if changed {
            self.air.owners.retain(|_, owner| owner.0 != user);
        }
        if heard.epoch != epoch {
            heard.accepted.clear();
        }
        (heard.epoch, heard.hash) = (epoch, hash);
        heard.begin_round();
        if let Some(hash) = hash {
            let natural = hash_of(user) == hash;
            let owner = self.air.owners.get(&hash);
            if natural || owner.is_none_or(|owner| owner.0 == user) {
                self.air.owners.insert(hash, (user.to_owned(), epoch));
            } else {
                self.air.seen.refused += 1;
            }
        }
    }

    /// 33: what came before its turn was over is heard, at the latest when its predecessors are given up.
    fn invariant_33_nothing_is_lost(&mut self, view: &View<'_>) {
        let mut due = std::mem::take(&mut self.air.due);
        due.retain(|due| {
            let Some(session) = view.session(&due.user) else {
                return false;
            };
            let heard = self.air.users.get(&due.user);
            let same = heard.is_some_and(|heard| heard.round == due.round && !heard.mixed);
            let listens = session.m.audio.targets.contains(&due.conn) && view.is_timely(due.conn);
            same && listens && session.m.phone.open() == due.phone && !self.draining
        });
        if let Some(lost) = due.iter().find(|due| due.at_ms < view.now_ms) {
            let text = format!("chunk {} was not heard on {:?}", lost.chunk.1, lost.conn);
            self.broken(33, "no datagram is lost", &lost.user, text);
        }
        self.air.due = due;
    }

    /// 4 and 48: no hash belongs to a session that let go of it or ended.
    fn invariant_48_hashes_are_free_again(&mut self, view: &View<'_>) {
        if view.mail.unread() > 0 {
            return;
        }
        let claims = view.shard.udp_claims().chain(view.neighbour.udp_claims());
        let mut known = 0;
        for (hash, user, epoch) in claims {
            known += 1;
            let live = view.session(user).is_some_and(|session| {
                session.epoch == epoch && session.m.phone.udp_hash == Some(hash)
            });
            let right = self
                .air
                .owners
                .get(&hash)
                .is_some_and(|owner| owner.0 == user);
            if !live || (!right && view.mail.lag_ms == 0) {
                let text = format!("{hash:08x} belongs to session {epoch}, live: {live}");
                let user = user.to_owned();
                return self.broken(48, "hashes are free again", &user, text);
            }
        }
        if known != self.air.owners.len() && view.mail.lag_ms == 0 {
            let text = format!("{known} hashes belong to somebody: {:?}", self.air.owners);
            self.broken(33, "whose datagrams", "", text);
        }
    }
}
