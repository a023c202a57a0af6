//! Layer 3: effects become frames, timers, mail. Applied in order, right after the event that asked for them.

use super::Shard;
use super::conns::{ParkedSocket, Role};
use super::deadlines::Due;
use super::latency::What;
use super::mailbox::{Answer, AppLink, ToOutside, ToShard};
use super::parked::ParkedHello;
use crate::base::close::CloseReason;
use crate::base::ids::{ConnId, Origin, ReplyTo, ShardId, UserId};
use crate::base::metrics::Counter;
use crate::session::effects::{Class, Effect};
use crate::session::event::{AppHello, Event, HttpOutcome, StoreOutcome};
use crate::wire::frame::Opcode;
use crate::wire::speech::{SpeechFailure, SpeechFailureClass, SpeechOrder, SpeechReport};

/// An event for a session that arose while its effects were applied.
pub(super) struct Followup {
    at: u32,
    user: UserId,
    epoch: u64,
    event: Event,
}

impl Shard {
    /// Applies what session `at` asked for, then whatever that brought about.
    #[inline(always)]
    pub(super) fn apply(&mut self, at: u32) {
        let mark = match self.workspace.metrics.take_last_message() {
            Some((side, kind)) => self.out.records.message(What::Message(side, kind)),
            None => 0,
        };
        self.apply_marked(at, mark);
    }

    /// As [`Shard::apply`], for frames that belong to latency record `mark`.
    pub(super) fn apply_marked(&mut self, at: u32, mark: u32) {
        let mut list = self.workspace.fx.take();
        let mut disposed = false;
        // Frames are read where they stand: an effect is as large as the rarest. Those are taken out, and what stands in their
        // place is not looked at again.
        for effect in &mut list {
            match effect {
                Effect::Text { conn, class, range } => {
                    let text = self.workspace.fx.bytes(range.clone());
                    let metrics = &mut self.workspace.metrics;
                    self.out
                        .send(*conn, Opcode::Text, *class, text, mark, metrics);
                }
                Effect::Asked { conn, by, range } => {
                    let text = self.workspace.fx.bytes(range.clone());
                    let metrics = &mut self.workspace.metrics;
                    if !self.out.ask(*conn, *by, text, mark, metrics) {
                        self.follow(at, Event::PhoneFull { by: *by });
                    }
                }
                Effect::Small { conn, range } => {
                    let data = self.workspace.fx.bytes(range.clone());
                    let metrics = &mut self.workspace.metrics;
                    self.out
                        .send(*conn, Opcode::Binary, Class::Audio, data, mark, metrics);
                }
                Effect::Binary { conn, data } => {
                    let metrics = &mut self.workspace.metrics;
                    self.out
                        .send_shared(*conn, Opcode::Binary, Class::Audio, data, mark, metrics);
                }
                Effect::Disposed => disposed = true,
                other => self.apply_rare(at, other),
            }
        }
        self.workspace.fx.recycle(list);
        if disposed {
            self.remove_session(at, CloseReason::UserSessionEnded);
        } else {
            self.schedule(at);
        }
        if !self.out.overflowed.is_empty() {
            self.tell_overflowed();
        }
        if !self.followups.is_empty() {
            self.follow_up();
        }
    }

    /// What came of the effects. Kept out of the way of frames.
    #[cold]
    #[inline(never)]
    fn follow_up(&mut self) {
        while let Some(next) = self.followups.pop() {
            let epoch = self.entries.epoch(next.at);
            if epoch == Some(next.epoch) {
                self.drive(next.at, |session, cx| session.on_event(next.event, cx));
            } else {
                self.answered_too_late(&next.user, next.epoch, &next.event);
            }
        }
    }

    /// An event for session `at`, once its effects are applied.
    #[cold]
    fn follow(&mut self, at: u32, event: Event) {
        if let Some(entry) = self.entries.get(at) {
            let (user, epoch) = (entry.session.user.clone(), entry.session.epoch);
            self.followups.push(Followup {
                at,
                user,
                epoch,
                event,
            });
        }
    }

    /// Everything that is not a frame. Kept out of the way of frames.
    #[cold]
    #[inline(never)]
    fn apply_rare(&mut self, at: u32, effect: &mut Effect) {
        match std::mem::replace(effect, Effect::Disposed) {
            Effect::Ping { conn, id } => {
                let metrics = &mut self.workspace.metrics;
                self.out
                    .send(conn, Opcode::Ping, Class::Control, &id, 0, metrics);
            }
            Effect::Close { conn, reason } => {
                self.disown(at, conn);
                self.out.close(conn, reason);
            }
            Effect::Terminate { conn } => {
                self.disown(at, conn);
                self.out.cut(conn);
            }
            Effect::ReturnParked {
                conn,
                hello,
                expires_ms,
            } => self.park_again(at, conn, hello, expires_ms),
            Effect::Reply { reply, answer } => self.reply(reply, Answer::Whole(answer)),
            Effect::ReplyStream {
                reply,
                content_type,
            } => self.reply(reply, stream_head(content_type)),
            Effect::ReplyChunk { reply, data } => self.reply(reply, Answer::StreamChunk(data)),
            Effect::ReplyEnd { reply } => self.reply(reply, Answer::StreamEnd),
            Effect::ReplyAbort { reply } => self.reply(reply, Answer::StreamAbort),
            Effect::AppMessage(message) => self.app_message(*message),
            Effect::UdpRegister { hash } => self.udp_register(at, hash),
            Effect::UdpUnregister { hash } => self.udp_unregister(at, hash),
            other => self.apply_outside(at, other),
        }
    }

    /// Effects that the outside thread carries out. Where its inbox is full the session gets its failed answer at once.
    fn apply_outside(&mut self, at: u32, effect: Effect) {
        let Some(entry) = self.entries.get(at) else {
            return;
        };
        let (user, epoch) = (entry.session.user.clone(), entry.session.epoch);
        let (message, refused) = match effect {
            Effect::LoadUser => (
                ToOutside::LoadUser { user, epoch },
                Some(Event::UserLoaded { record: None }),
            ),
            Effect::Http(call) => {
                let refused = Event::Http {
                    call: call.call,
                    outcome: HttpOutcome::Failed {
                        error: "too many outbound calls".into(),
                    },
                };
                (ToOutside::Http { user, epoch, call }, Some(refused))
            }
            Effect::CancelHttp { call, under_way } => (
                ToOutside::CancelHttp {
                    user,
                    epoch,
                    call,
                    under_way,
                },
                None,
            ),
            Effect::Store { op, ack } => (
                ToOutside::Store {
                    user,
                    epoch,
                    op,
                    ack,
                },
                ack.map(|call| Event::Stored {
                    call,
                    outcome: StoreOutcome::Failed,
                }),
            ),
            Effect::AppLink {
                package,
                key_sha256,
                change,
            } => (
                ToOutside::AppLink(Box::new(AppLink {
                    user,
                    package,
                    key_sha256,
                    change,
                })),
                None,
            ),
            Effect::IncidentLogs(logs) => (ToOutside::IncidentLogs { user, logs }, None),
            Effect::Speech(order) => {
                if matches!(order, SpeechOrder::Audio { .. }) && self.is_outside_behind() {
                    self.workspace.metrics.inc(Counter::SpeechAudioLost);
                    return;
                }
                let refused = speech_refused(&order);
                (ToOutside::Speech { user, epoch, order }, refused)
            }
            _ => return,
        };
        if !self.tell_outside(message)
            && let Some(event) = refused
        {
            self.follow(at, event);
        }
    }

    /// Whether the outside thread's inbox is more than half full: the other half is kept from audio, for what must not get lost.
    fn is_outside_behind(&self) -> bool {
        let half = self.outside.capacity().map(|room| room / 2);
        half.is_some_and(|half| self.outside.len() > half)
    }

    /// Keeps the deadline heap in step with the session.
    #[inline]
    fn schedule(&mut self, at: u32) {
        if let Some(entry) = self.entries.get_mut(at) {
            let next = entry.session.next_deadline_ms();
            if next < entry.due_ms {
                entry.due_ms = next;
                self.out.deadlines.set(next, Due::Session(at));
            }
        }
    }

    /// The session let go of a socket: what still comes from it is ignored.
    fn disown(&mut self, at: u32, id: ConnId) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.conns.retain(|other| *other != id);
        }
        if let Some(conn) = self.out.conns.get(id) {
            conn.role = Role::Detached;
        }
    }

    fn park_again(&mut self, at: u32, id: ConnId, hello: AppHello, expires_ms: u64) {
        let Some(entry) = self.entries.get_mut(at) else {
            return;
        };
        entry.conns.retain(|other| *other != id);
        let user = entry.session.user.clone();
        self.park(&user, id, hello, expires_ms);
    }

    /// Lets a socket wait for its user; an older one of the same app gives way.
    pub(super) fn park(&mut self, user: &UserId, id: ConnId, hello: AppHello, expires_ms: u64) {
        let Some(conn) = self.out.conns.get(id) else {
            return;
        };
        conn.role = Role::Parked(Box::new(ParkedSocket {
            user: user.clone(),
            package: hello.package.clone(),
            invalid_json: 0,
        }));
        let waiting = ParkedHello {
            conn: id,
            hello,
            expires_ms,
        };
        let older = self.parked.park(user, waiting);
        self.out.watch(id, expires_ms);
        if let Some(older) = older.filter(|older| *older != id) {
            if let Some(conn) = self.out.conns.get(older) {
                conn.role = Role::Detached;
            }
            self.out.close(older, CloseReason::DeferredSuperseded);
        }
    }

    /// Sends an answer to whoever waits for it.
    pub(super) fn reply(&mut self, to: ReplyTo, answer: Answer) {
        let refused = match to.origin {
            Origin::Shard(shard) if shard == self.id => {
                self.replies.push((to.id, answer));
                false
            }
            Origin::Shard(ShardId(shard)) => {
                shard < self.mail.shards()
                    && self
                        .mail
                        .send(ShardId(shard), ToShard::Reply { id: to.id, answer })
                        .is_err()
            }
            Origin::Outside => self
                .outside
                .try_send(ToOutside::Reply { id: to.id, answer })
                .is_err(),
        };
        if refused {
            self.workspace.metrics.inc(Counter::MailboxFull);
        }
    }

    /// Sessions learn that a socket of theirs could not take what it had to.
    #[cold]
    fn tell_overflowed(&mut self) {
        while let Some(id) = self.out.overflowed.pop() {
            let role = self.out.conns.get(id).map(|conn| &conn.role);
            if let Some(Role::Session(at)) = role {
                let at = *at;
                self.disown(at, id);
                self.drive(at, |session, cx| {
                    session.on_event(Event::Overloaded { conn: id }, cx);
                });
            }
        }
    }
}

/// What a session hears of a recogniser that the outside thread could not be told about.
fn speech_refused(order: &SpeechOrder) -> Option<Event> {
    let SpeechOrder::Open(open) = order else {
        return None;
    };
    Some(Event::Speech {
        id: open.id,
        report: SpeechReport::Failed(SpeechFailure {
            class: SpeechFailureClass::Resource,
            cause: "the outside thread is behind".into(),
            retry_after_ms: 0,
        }),
    })
}

fn stream_head(content_type: String) -> Answer {
    Answer::StreamHead {
        status: 200,
        headers: vec![
            ("Content-Type".into(), content_type),
            ("Cache-Control".into(), "no-cache, no-store".into()),
        ],
    }
}
