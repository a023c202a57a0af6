//! The streams: sending what is due or what the last delivery allows, and accounting for what arrives.

use super::Engine;
use super::conn::Token;
use super::udp::Sent;
use crate::clock::{self, SECOND};
use crate::frame::{self, Opcode};
use crate::golden;
use crate::hist::Class;
use crate::rng::Rng;
use crate::scenario::{Arrivals, Kind, Stream};
use crate::schedule::{Poisson, Round, Schedule};
use crate::tag::{Tag, Template};
use crate::track::Arrival;

/// Due messages sent per turn, so that reading is never put off for long.
const SENDS_PER_TURN: usize = 256;
/// A closed loop gives a message up after this time, and goes on.
const STALL: u64 = 2 * SECOND;

/// A stream of the scenario at work.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) spec: Stream,
    pub(super) class: Class,
    /// Taken in turn; one, but for a mix.
    templates: Vec<Template>,
    pub(super) schedule: Option<Schedule>,
    /// The first so many users take part.
    pub(super) members: u32,
}

impl StreamState {
    pub(super) fn new(spec: &Stream) -> Self {
        let templates = match spec.kind {
            Kind::Audio | Kind::Speech => vec![Template::binary(spec.bytes)],
            Kind::Lc3 => {
                let messages = super::lc3::messages();
                messages.into_iter().map(Template::fixed).collect()
            }
            Kind::Event => {
                let template = Template::json(
                    r#"{"type":"button_press","buttonId":""#,
                    r#"","pressType":"short","timestamp":1773480413589}"#,
                    spec.bytes,
                );
                vec![template]
            }
            Kind::Transcript => {
                let tail = r#"","isFinal":false,"startTime":100,"endTime":900,"speakerId":0,"transcribeLanguage":"en-US","provider":"ondevice"}"#;
                let head = r#"{"type":"local_transcription","text":""#;
                vec![Template::json(head, tail, spec.bytes)]
            }
            Kind::Mix => {
                let stamped = |(_, text): (&str, &str)| {
                    let (head, tail) = golden::split(text);
                    Template::json(&head, tail, 0)
                };
                golden::PHONE.map(stamped).to_vec()
            }
            Kind::Display => {
                let tail = if spec.force {
                    r#""},"forceDisplay":true,"timestamp":"2026-03-14T09:26:53.589Z"}"#
                } else {
                    r#""},"timestamp":"2026-03-14T09:26:53.589Z"}"#
                };
                let head = concat!(
                    r#"{"type":"display_event","packageName":"load.app0","sessionId":"","#,
                    r#""view":"main","layout":{"layoutType":"text_wall","text":""#
                );
                vec![Template::json(head, tail, spec.bytes)]
            }
        };
        Self {
            spec: spec.clone(),
            class: spec.kind.class(),
            templates,
            schedule: None,
            members: 0,
        }
    }

    /// The template of message number `seq`.
    pub(super) fn template(&self, seq: u64) -> &Template {
        &self.templates[self.turn(seq)]
    }

    fn turn(&self, seq: u64) -> usize {
        usize::try_from(seq % self.templates.len() as u64).unwrap_or(0)
    }

    /// Prepares the phase that begins at `start`; `pace` multiplies the scenario's rate.
    pub(super) fn begin(&mut self, users: u32, start: u64, pace: f64, rng: &mut Rng) {
        self.members = (f64::from(users) * self.spec.share).round() as u32;
        let members: Vec<u32> = (0..self.members).collect();
        self.schedule = self.spec.per_user_per_s.map(|own| {
            let period = (SECOND as f64 / (own * pace)) as u64;
            match self.spec.arrivals {
                Arrivals::Even => Schedule::Even(Round::new(&members, period, start, rng)),
                Arrivals::Poisson => Schedule::Poisson(Poisson::new(&members, period, start, rng)),
            }
        });
    }
}

impl Engine {
    /// Sends what open-loop schedules have due.
    pub(super) fn fire_streams(&mut self, now: u64) -> bool {
        let mut acted = false;
        for index in 0..self.streams.len() {
            for _ in 0..SENDS_PER_TURN {
                let Some(schedule) = &mut self.streams[index].schedule else {
                    break;
                };
                let Some((due, user)) = schedule.pop_due(now) else {
                    break;
                };
                acted = true;
                let in_window = self.in_window(due);
                self.stats.lag.record(now.saturating_sub(due), in_window);
                self.send_message(index, user, due);
            }
        }
        acted
    }

    /// Messages that were due before `end` and that we did not get to.
    pub(super) fn count_unreached(&mut self, end: u64) -> u64 {
        let schedules = self.streams.iter_mut().filter_map(|s| s.schedule.as_mut());
        schedules
            .map(|schedule| {
                std::iter::from_fn(|| schedule.pop_due(end.saturating_sub(1))).count() as u64
            })
            .sum()
    }

    /// Closed loops: puts the first messages of every user on the way.
    pub(super) fn kick_closed(&mut self) {
        for index in 0..self.streams.len() {
            let Some(in_flight) = self.streams[index].spec.in_flight else {
                continue;
            };
            for user in 0..self.streams[index].members {
                for _ in 0..in_flight {
                    self.send_message(index, user, clock::mono_ns());
                }
            }
        }
    }

    /// Sends one message of a stream, meant to go at `due`.
    fn send_message(&mut self, index: usize, user: u32, due: u64) {
        let own = &self.users[user as usize];
        let stream = &self.streams[index];
        let (token, receivers) = match stream.spec.kind {
            Kind::Audio | Kind::Lc3 | Kind::Speech | Kind::Event | Kind::Transcript | Kind::Mix => {
                (own.phone.filter(|_| own.acked), own.apps.len())
            }
            Kind::Display => {
                let app = own.apps.first().filter(|app| app.ready && own.acked);
                (app.and_then(|app| app.conn), 1)
            }
        };
        let Some(token) = token else {
            self.stats.skipped_offline += 1;
            return;
        };
        if self.is_backed_up(token) {
            self.stats.held_back += 1;
            return;
        }
        let own = &mut self.users[user as usize];
        let tag = Tag {
            stream: u8::try_from(index).unwrap_or(u8::MAX),
            phase: self.phase,
            user,
            seq: own.seq[index],
            due,
        };
        own.seq[index] += 1;
        own.awaited[index] += u32::try_from(receivers).unwrap_or(0);
        own.progress[index] = due;
        if self.streams[index].spec.kind == Kind::Lc3 {
            self.spoke(user, tag.seq, due);
        }
        let stream = &mut self.streams[index];
        let class = stream.class;
        let opcode = match stream.spec.kind {
            Kind::Audio | Kind::Lc3 | Kind::Speech => Opcode::Binary,
            Kind::Event | Kind::Transcript | Kind::Mix | Kind::Display => Opcode::Text,
        };
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        let turn = stream.turn(tag.seq);
        let by_udp = stream.spec.transport.is_udp();
        let payload = stream.templates[turn].stamp(tag);
        if by_udp {
            out.extend_from_slice(payload);
            self.send_audio_packet(token, user, &mut out);
        } else {
            frame::encode(&mut out, opcode, payload, self.rng.mask());
            self.send_bytes(token, &out);
        }
        self.scratch = out;
        self.stats.of(class).sent += 1;
        self.stats.sent_in_interval += 1;
    }

    /// Audio by UDP, or over the WebSocket while there is no such path. A packet that finds no room is lost.
    fn send_audio_packet(&mut self, token: Token, user: u32, payload: &mut Vec<u8>) {
        match self.send_udp(user, payload) {
            Sent::Yes => self.stats.udp_packets += 1,
            Sent::NoRoom => self.stats.udp_no_room += 1,
            Sent::No => {
                let audio = std::mem::take(payload);
                frame::encode(payload, Opcode::Binary, &audio, self.rng.mask());
                self.send_bytes(token, payload);
                self.stats.udp_fallback += 1;
            }
        }
    }

    /// A binary frame arrived at an app.
    pub(super) fn on_audio(&mut self, user: u32, app: u8, payload: &[u8], now: u64) {
        if let Some(index) = self.lc3_stream() {
            self.on_samples(index, user, app, payload, now);
            return;
        }
        let Some(tag) = Tag::from_bytes(payload) else {
            let is_damaged = !self.answer_greeting(user, app, payload);
            self.stats.of(Class::Audio).damaged += u64::from(is_damaged);
            return;
        };
        let Some(index) = self.stream_of(tag, Class::Audio) else {
            return;
        };
        if !self.streams[index].template(tag.seq).same_filler(payload) {
            self.stats.of(Class::Audio).damaged += 1;
        }
        self.on_delivery(index, user, app, tag, now);
    }

    /// An envelope arrived at an app.
    pub(super) fn on_event(&mut self, user: u32, app: u8, payload: &[u8], now: u64) {
        let hint = &mut self.users[user as usize].apps[usize::from(app)].hint;
        let Some(tag) = Tag::find_hex(payload, hint) else {
            let is_marked = Tag::is_marked(payload, *hint);
            let is_damaged = !self.answer_greeting(user, app, payload) && is_marked;
            self.stats.of(Class::Event).damaged += u64::from(is_damaged);
            return;
        };
        let hint = *hint;
        let Some(index) = self.stream_of(tag, Class::Event) else {
            self.on_transcription(user, app, payload, tag, now);
            return;
        };
        let template = self.streams[index].template(tag.seq);
        if !template.contained_in(payload, hint, tag) || !is_envelope(payload, tag) {
            self.stats.of(Class::Event).damaged += 1;
        }
        self.on_delivery(index, user, app, tag, now);
    }

    pub(super) fn on_delivery(&mut self, index: usize, user: u32, app: u8, tag: Tag, now: u64) {
        let class = self.streams[index].class;
        if tag.user != user {
            self.stats.of(class).misrouted += 1;
            return;
        }
        let own = &mut self.users[user as usize];
        let arrival = own.apps[usize::from(app)].trackers[index].arrive(tag.seq);
        let apps = u32::try_from(own.apps.len()).unwrap_or(1);
        if !self.is_left_out(user, app) {
            self.count_arrival(class, arrival, tag, now);
        }
        if arrival != Arrival::Duplicate {
            self.closed_step(index, user, apps, now);
        }
    }

    /// A display event arrived at a phone.
    pub(super) fn on_display(&mut self, user: u32, payload: &[u8], now: u64) {
        let own = &mut self.users[user as usize];
        // Boot screens and clears of the server carry no tag.
        let Some(tag) = Tag::find_hex(payload, &mut own.hint) else {
            let damaged = Tag::is_marked(payload, own.hint);
            self.stats.of(Class::Display).damaged += u64::from(damaged);
            return;
        };
        let hint = own.hint;
        let Some(index) = self.stream_of(tag, Class::Display) else {
            return;
        };
        if tag.user != user {
            self.stats.of(Class::Display).misrouted += 1;
            return;
        }
        if !self.streams[index]
            .template(tag.seq)
            .contained_in(payload, hint, tag)
        {
            self.stats.of(Class::Display).damaged += 1;
        }
        let own = &mut self.users[user as usize];
        let drawn_before = std::mem::replace(&mut own.drawn_by[index], own.phone);
        if own.standing[index] == tag.seq + 1 && drawn_before != own.phone {
            // What stood there is painted again for a phone that came back.
            return;
        }
        let arrival = own.displays[index].arrive(tag.seq);
        own.standing[index] = tag.seq + 1;
        self.count_arrival(Class::Display, arrival, tag, now);
        if arrival != Arrival::Duplicate {
            self.closed_step(index, user, 1, now);
        }
    }

    fn count_arrival(&mut self, class: Class, arrival: Arrival, tag: Tag, now: u64) {
        if arrival == Arrival::Duplicate {
            return;
        }
        let received_in_window = u64::from(self.in_window(now));
        let sent_in_window = self.in_window(tag.due);
        let count = self.stats.of(class);
        count.received_in_interval += 1;
        count.received_in_window += received_in_window;
        self.stats
            .latency(class, now.saturating_sub(tag.due), sent_in_window);
    }

    /// Stream of a tag, when it is of this phase and class.
    pub(super) fn stream_of(&self, tag: Tag, class: Class) -> Option<usize> {
        let index = usize::from(tag.stream);
        let known = self.streams.get(index)?.class == class && tag.phase == self.phase;
        known.then_some(index)
    }

    /// Closed loop: sends the next message when all receivers have one.
    fn closed_step(&mut self, index: usize, user: u32, receivers: u32, now: u64) {
        let Some(in_flight) = self.streams[index].spec.in_flight else {
            return;
        };
        let own = &mut self.users[user as usize];
        own.awaited[index] = own.awaited[index].saturating_sub(1);
        own.progress[index] = now;
        if self.generating && own.awaited[index] <= (in_flight - 1) * receivers {
            self.send_message(index, user, now);
        }
    }

    /// Closed loop: messages that got lost must not stop a user for ever.
    pub(super) fn restart_stalled(&mut self, now: u64) {
        for index in 0..self.streams.len() {
            let Some(in_flight) = self.streams[index].spec.in_flight else {
                continue;
            };
            for user in 0..self.streams[index].members {
                let own = &mut self.users[user as usize];
                if own.progress[index] + STALL > now || !own.acked {
                    continue;
                }
                if own.seq[index] > 0 {
                    self.stats.stalled += u64::from(own.awaited[index] > 0);
                }
                own.awaited[index] = 0;
                own.progress[index] = now;
                for _ in 0..in_flight {
                    self.send_message(index, user, now);
                }
            }
        }
    }
}

/// Checks one envelope in 256 as a whole, by parsing it (`protocol.md §5.9`).
fn is_envelope(payload: &[u8], tag: Tag) -> bool {
    if tag.seq & 0xff != 0 {
        return true;
    }
    serde_json::from_slice::<serde_json::Value>(payload).is_ok_and(|value| {
        value["data"]["type"].is_string()
            && value["streamType"] == value["data"]["type"]
            && value["sessionId"].as_str().is_some_and(|id| !id.is_empty())
            && value["timestamp"]
                .as_str()
                .is_some_and(|at| at.ends_with('Z'))
    })
}

/// Total open-loop rate of the streams, messages per second.
pub(super) fn open_rate(streams: &[StreamState]) -> f64 {
    streams
        .iter()
        .filter_map(|stream| Some(stream.spec.per_user_per_s? * f64::from(stream.members)))
        .sum()
}
