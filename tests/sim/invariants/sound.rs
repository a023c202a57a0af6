//! Invariants 8 and 32: whatever a phone cuts its audio into, apps and recognisers get whole samples, each once and in order
//! (behaviour.md §5.1). Audio by UDP is looked at in `datagrams`.

use super::super::net::{Down, Party, Up};
use super::super::udp::{BY_UDP, CHUNK_BYTES, SEALED_BYTES};
use super::super::voice::{NUMBERS, number};
use super::counts::counts;
use super::{Cause, Seen, View, Watch};
use bytes::Bytes;
use prism::base::ids::ConnId;
use prism::session::managers::apps::AppState;
use prism::session::{Session, State};
use prism::wire::streams::Permission;
use std::collections::{BTreeMap, BTreeSet};

/// All users' audio.
#[derive(Default)]
pub(crate) struct Sounds {
    users: BTreeMap<String, Sound>,
    /// What recognisers were given in this event: user, audio.
    fed: Vec<(String, Bytes)>,
    /// How much happened.
    pub(crate) seen: Listened,
}

counts! {
    /// Counts.
    struct Listened {
        /// Frames that apps got, and recognisers.
        frames,
        fed,
        /// Those that began with the last byte of an earlier chunk.
        joined,
        /// Odd bytes that a new socket, or datagrams, made meaningless.
        dropped,
        /// Chunks that waited for the user record.
        held,
        /// Chunks of a socket that goes on after another one was current.
        resumed,
        /// Chunks of sockets that do not count.
        refused,
        /// Chunks of which nobody can tell beforehand whether they continue a sample: datagrams may have come between.
        blind,
    }
}

/// The audio of a session.
#[derive(Default)]
struct Sound {
    epoch: u64,
    /// Whose it is: a phone's socket.
    conn: Option<ConnId>,
    /// Everything that it sent and that counted.
    stream: Vec<u8>,
    /// How much of it is out.
    out: usize,
    /// The phone itself went on with a whole sample, or with half of one.
    straight: bool,
    /// Datagrams may or may not have come between.
    blind: bool,
    /// The socket was not the current one for a while.
    was_away: bool,
    /// Chunks that wait for the user record.
    held: Vec<(ConnId, Bytes)>,
    /// When audio was last heard.
    last_ms: u64,
}

impl Sound {
    /// A chunk counts: what apps are owed now, and whether it begins with an earlier byte.
    fn hear(
        &mut self,
        epoch: u64,
        conn: ConnId,
        chunk: &[u8],
        seen: &mut Listened,
    ) -> (Vec<u8>, bool) {
        if (self.epoch, self.conn) != (epoch, Some(conn)) {
            seen.dropped += self.half();
            *self = Self {
                epoch,
                conn: Some(conn),
                straight: true,
                held: std::mem::take(&mut self.held),
                last_ms: self.last_ms,
                ..Self::default()
            };
        }
        // As phones of this world mark low and high bytes.
        self.straight &= usize::from(chunk[0]) % 2 == self.stream.len() % 2;
        let joins = self.half() == 1;
        seen.resumed += u64::from(std::mem::take(&mut self.was_away));
        self.stream.extend_from_slice(chunk);
        let whole = self.stream.len() & !1;
        let owed = self.stream[self.out..whole].to_vec();
        self.out = whole;
        (owed, joins)
    }

    /// What was heard of a chunk says whether it began with an earlier byte.
    fn settle(&mut self, heard: &[u8], chunk: &[u8]) {
        let first = heard.iter().take(1).filter(|byte| **byte != chunk[0]);
        self.stream = first.copied().collect();
        self.out = 0;
    }

    /// Whether half a sample waits.
    fn half(&self) -> u64 {
        (self.stream.len() - self.out) as u64
    }

    /// What follows begins anew.
    fn forget(&mut self) {
        self.conn = None;
        self.blind = false;
        self.out = self.stream.len();
    }
}

impl Watch {
    /// Audio for recognisers.
    pub(super) fn note_fed(&mut self, user: &str, pcm: &Bytes) {
        self.sound.fed.push((user.to_owned(), pcm.clone()));
    }

    pub(super) fn look_at_sound(&mut self, cause: &Cause, seen: &[Seen], view: &View<'_>) {
        let mut heard: BTreeMap<ConnId, Vec<Bytes>> = BTreeMap::new();
        for one in seen {
            if let Seen::Sent(conn, Down::Binary(data)) = one {
                heard.entry(*conn).or_default().push(data.clone());
            }
        }
        let fed = std::mem::take(&mut self.sound.fed);
        for user in self.users.keys().cloned().collect::<Vec<_>>() {
            let own = |conn: &ConnId| view.net.get(*conn).is_some_and(|sock| sock.user == user);
            let heard: BTreeMap<ConnId, Vec<Bytes>> = heard
                .iter()
                .filter(|row| own(row.0))
                .map(|(conn, frames)| (*conn, frames.clone()))
                .collect();
            let fed = fed.iter().filter(|row| row.0 == user);
            let fed: Vec<Bytes> = fed.map(|row| row.1.clone()).collect();
            self.look_at_sound_of(&user, cause, &heard, &fed, view);
        }
    }

    fn look_at_sound_of(
        &mut self,
        user: &str,
        cause: &Cause,
        heard: &BTreeMap<ConnId, Vec<Bytes>>,
        fed: &[Bytes],
        view: &View<'_>,
    ) {
        let Some(session) = view.session(user) else {
            self.sound.users.remove(user);
            return;
        };
        let chunk = match cause {
            Cause::Frame(conn, Up::Binary(data)) => Some((*conn, data.clone())),
            _ => None,
        };
        let chunk = chunk.filter(|(conn, data)| {
            let sock = view.net.get(*conn);
            let of_phone = sock.is_some_and(|sock| matches!(sock.party, Party::Phone(_)));
            of_phone && sock.is_some_and(|sock| sock.user == user) && !data.is_empty()
        });
        let current = session.m.phone.open();
        let sound = self.sound.users.entry(user.to_owned()).or_default();
        if sound.epoch != session.epoch {
            *sound = Sound {
                epoch: session.epoch,
                ..Sound::default()
            };
        }
        sound.was_away |= sound.conn.is_some() && current != sound.conn;
        let before_ms = std::mem::replace(&mut sound.last_ms, session.m.audio.last_ms);
        let loading = session.state == State::Initializing;
        if loading || !sound.held.is_empty() {
            self.sound.seen.held += u64::from(chunk.is_some());
            sound.held.extend(chunk);
            if !loading {
                self.chunks_are_released(user, current, view);
            }
        } else if self.draining {
            // Sockets close, one by one.
        } else if let Some((conn, data)) = chunk {
            if current == Some(conn) {
                self.chunk_counts(user, conn, &data, heard, fed, view);
            } else {
                self.sound.seen.refused += 1;
                self.nobody_hears(user, heard, fed);
            }
        } else {
            self.datagrams_are_heard(user, before_ms, may_hear(cause, session), heard, view);
        }
    }

    /// The user record is there: of what waited, the chunks of the current socket count. No app can listen yet.
    fn chunks_are_released(&mut self, user: &str, current: Option<ConnId>, view: &View<'_>) {
        let epoch = view.session(user).map_or(0, |session| session.epoch);
        let Some(sound) = self.sound.users.get_mut(user) else {
            return;
        };
        for (conn, data) in std::mem::take(&mut sound.held) {
            if current == Some(conn) {
                sound.hear(epoch, conn, &data, &mut self.sound.seen);
            }
        }
    }

    fn chunk_counts(
        &mut self,
        user: &str,
        conn: ConnId,
        data: &Bytes,
        heard: &BTreeMap<ConnId, Vec<Bytes>>,
        fed: &[Bytes],
        view: &View<'_>,
    ) {
        let (Some(session), Some(Party::Phone(phone))) = (
            view.session(user),
            view.net.get(conn).map(|sock| sock.party),
        ) else {
            return;
        };
        let all = self.listeners(user, view);
        let (slow, listeners): (BTreeSet<_>, BTreeSet<_>) =
            all.into_iter().partition(|conn| self.is_slow(*conn));
        let Some(sound) = self.sound.users.get_mut(user) else {
            return;
        };
        let mut blind = std::mem::take(&mut sound.blind) && sound.conn == Some(conn);
        if blind {
            self.sound.seen.blind += 1;
            let mut frames = heard.values().flatten().chain(fed);
            blind = frames.next().is_none_or(|frame| {
                sound.settle(frame, data);
                false
            });
        }
        let (owed, joins) = sound.hear(session.epoch, conn, data, &mut self.sound.seen);
        sound.blind = blind;
        let straight = sound.straight;
        if blind {
            self.audio_is_unsure(user, view);
        } else if !owed.is_empty() {
            self.owe_audio(slow, &owed);
        }
        let all = heard
            .iter()
            .map(|(conn, frames)| (Some(*conn), frames.clone()));
        let all = all.chain((!fed.is_empty()).then(|| (None, fed.to_vec())));
        for (listener, frames) in all {
            self.invariant_32_whole_samples(user, listener, &frames, straight);
            match listener {
                Some(listener) if straight => {
                    self.invariant_08_order(user, listener, phone, &frames.concat());
                    self.sound.seen.frames += frames.len() as u64;
                }
                Some(_) => {}
                None => self.sound.seen.fed += frames.len() as u64,
            }
            if frames.concat() != owed && !blind {
                let text = format!("{listener:?} got {frames:?} of {owed:?}");
                self.broken(32, "every sample is heard", user, text);
            }
            self.sound.seen.joined += u64::from(joins && !frames.is_empty());
        }
        let expected = if owed.is_empty() {
            BTreeSet::new()
        } else {
            listeners
        };
        let got: BTreeSet<ConnId> = heard.keys().copied().collect();
        if !blind && got != expected {
            let text = format!("{got:?} heard a chunk of {conn:?}, and not {expected:?}");
            self.broken(32, "every sample is heard", user, text);
        }
    }

    /// Apps that want the microphone and may have it, by their sets and sockets. They read, or will.
    fn listeners(&self, user: &str, view: &View<'_>) -> BTreeSet<ConnId> {
        let wants = |name: &String| name == "audio_chunk" || name == "*";
        let pairs = self.users[user].pairs.iter();
        pairs
            .filter(|(_, pair)| pair.state == AppState::Running && pair.subs.iter().any(wants))
            .filter(|(package, _)| {
                let record = view.apps.last_known(package);
                record.is_some_and(|record| record.grants(Permission::Microphone))
            })
            .filter_map(|(_, pair)| pair.conn)
            .filter(|conn| view.is_timely(*conn) || self.is_slow(*conn))
            .collect()
    }

    /// 32: frames are neither empty nor odd, and begin with the low byte of a sample.
    fn invariant_32_whole_samples(
        &mut self,
        user: &str,
        listener: Option<ConnId>,
        frames: &[Bytes],
        straight: bool,
    ) {
        let whole = |frame: &Bytes| {
            let marked = |pair: &[u8]| !straight || number(pair[0], pair[1]).is_some();
            !frame.is_empty() && frame.len().is_multiple_of(2) && frame.chunks_exact(2).all(marked)
        };
        if let Some(frame) = frames.iter().find(|frame| !whole(frame)) {
            let text = format!("{listener:?} got {frame:?}");
            self.broken(32, "whole samples", user, text);
        }
    }

    /// 8: audio arrives in the order it was sent, and none of it twice.
    fn invariant_08_order(&mut self, user: &str, listener: ConnId, phone: usize, samples: &[u8]) {
        let own = self.socks.entry(listener).or_default();
        let numbers = samples.chunks_exact(2);
        for sample in numbers.filter_map(|pair| number(pair[0], pair[1])) {
            // A socket may begin anywhere; half of all numbers behind is ahead.
            let next = *own.samples.get(&phone).unwrap_or(&sample);
            if next.wrapping_sub(sample).wrapping_sub(1) % NUMBERS < NUMBERS / 2 {
                let text = format!("sample {sample} came where {next} was next on {listener:?}");
                return self.broken(8, "order", user, text);
            }
            own.samples.insert(phone, (sample + 1) % NUMBERS);
        }
    }

    fn nobody_hears(&mut self, user: &str, heard: &BTreeMap<ConnId, Vec<Bytes>>, fed: &[Bytes]) {
        if !heard.is_empty() || !fed.is_empty() {
            let text = format!("{heard:?} {fed:?} came of a socket that does not count");
            self.broken(32, "every sample is heard", user, text);
        }
    }

    /// What is heard without a frame of the phone came by UDP. What a socket left of a sample then waits for nothing any more.
    fn datagrams_are_heard(
        &mut self,
        user: &str,
        before_ms: u64,
        may_hear: bool,
        heard: &BTreeMap<ConnId, Vec<Bytes>>,
        view: &View<'_>,
    ) {
        let Some(sound) = self.sound.users.get_mut(user) else {
            return;
        };
        let came = sound.last_ms != before_ms || !heard.is_empty();
        if came {
            self.sound.seen.dropped += sound.half();
            sound.forget();
        } else if sound.last_ms == view.now_ms && may_hear {
            // Something else was heard in the same millisecond.
            sound.blind = true;
        }
        if came || sound.blind {
            self.audio_is_unsure(user, view);
        }
        for (conn, frames) in heard {
            for frame in frames {
                self.look_at_datagram_chunk(user, *conn, frame, view);
            }
        }
    }

    fn look_at_datagram_chunk(&mut self, user: &str, conn: ConnId, chunk: &[u8], view: &View<'_>) {
        if self.is_stray(user, conn, chunk) {
            return;
        }
        let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| chunk[at + byte]));
        let phone = match chunk.len() {
            // Ciphertext that nobody asked to have opened.
            SEALED_BYTES => return,
            CHUNK_BYTES => word(4) ^ BY_UDP,
            _ => BY_UDP,
        };
        if phone >= BY_UDP {
            let text = format!("{conn:?} got {chunk:?} as audio by UDP");
            return self.broken(32, "whole samples", user, text);
        }
        self.invariant_33_datagrams(user, conn, (phone, word(0)), view);
    }
}

/// Whether audio by UDP may be heard in this event.
fn may_hear(cause: &Cause, session: &Session) -> bool {
    match cause {
        Cause::Datagram(_) | Cause::Turn | Cause::Mail => session.m.phone.udp_hash.is_some(),
        Cause::Frame(_, Up::Text(text)) => text.contains("udp_"),
        _ => false,
    }
}
