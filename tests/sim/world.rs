//! The world of a run: one shard (the code that serves) with all users, a second one that only decides about hashes of audio
//! datagrams, simulated time, and everything around them. One seed makes all of it.

use super::app::{Server, ServerWake};
use super::http::{Calls, Key};
use super::invariants::{Cause, Failure, View, Watch};
use super::net::{Down, Net, Up};
use super::phone::{Phone, PhoneWake};
use super::provider::Provider;
use super::registrar::Registrar;
use super::script::Step;
use super::speech::{Key as Recogniser, Recognisers};
use super::store::Store;
use super::trace::Trace;
use super::udp::{Mail, Packet};
use bytes::Bytes;
use prism::base::clock::Now;
use prism::base::ids::{ConnId, Origin, ReplyTo, ShardId, UserId};
use prism::base::settings::Settings;
use prism::session::Session;
use prism::session::event::{Event, HttpOutcome};
use prism::session::rest::Call;
use prism::shard::mailbox::{Answer, Mailboxes, ToOutside, ToShard, UnderWay};
use prism::shard::routes::Envelope;
use prism::shard::shared::Shared;
use prism::shard::{Parts, Shard};
use prism::wire::records::Registry;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

/// `mono_ms` at which every run begins.
pub(crate) const START_MS: u64 = 1_000_000;
/// The time of day then.
pub(crate) const START_UNIX_MS: u64 = 1_773_480_413_589;
/// Sockets without a session have deadlines that only the shard knows: it turns at least this often.
const TURN_MS: u64 = 50;

/// What the invariants look at, apart from what they remember.
macro_rules! view {
    ($world:ident) => {
        View {
            shard: &$world.shard,
            neighbour: &$world.neighbour,
            mail: &$world.mail,
            registrar: &$world.registrar,
            net: &$world.net,
            apps: &$world.apps,
            cfg: &$world.cfg,
            now_ms: $world.now.mono_ms,
            ahead_ms: $world.now.unix_ms.wrapping_sub($world.now.mono_ms),
        }
    };
}

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Act {
    /// A frame reaches the server.
    Up(ConnId, Up),
    /// The end of a connection reaches the server.
    UpEnd(ConnId),
    /// A frame reaches the peer.
    Down(ConnId, Down),
    /// The end of a connection reaches the peer.
    DownEnd(ConnId),
    /// A phone's own timer.
    Phone(usize, PhoneWake),
    /// An app server's own timer.
    Server(usize, ServerWake),
    /// A result reaches the shard.
    Result(String, u64, Event),
    /// An app server's HTTP answer (or the time limit) reaches the server.
    Answer(Key, HttpOutcome),
    /// A datagram reaches a shard.
    Datagram(usize, Packet),
    /// The oldest message of a shard's inbox is read.
    Mail(usize),
    /// What a conversation with the provider has waited for.
    Speech(Recogniser),
    /// Something that a user, a developer or bad luck does.
    Step(String, Step),
}

/// The whole.
pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) shard: Shard,
    /// Has no users of its own.
    pub(super) neighbour: Shard,
    pub(super) mail: Mail,
    /// Connections whose writers must look.
    pub(super) marked: BTreeSet<ConnId>,
    pub(crate) net: Net,
    pub(crate) phones: Vec<Phone>,
    pub(crate) servers: Vec<Server>,
    pub(crate) store: Store,
    pub(crate) calls: Calls,
    pub(crate) recognisers: Recognisers,
    /// Whoever says what recognisers hear, where a script does.
    pub(crate) provider: Provider,
    pub(super) registrar: Registrar,
    pub(crate) watch: Watch,
    pub(crate) trace: Trace,
    pub(crate) rng: fastrand::Rng,
    pub(crate) events: u64,
    /// Live inputs that the provider of managed streams made.
    pub(super) inputs_made: u64,
    /// That provider does at once what it is asked for.
    pub(super) provider_is_tame: bool,
    /// The bytes of whole HTTP answers and the bodies of streamed ones, for scenarios.
    pub(super) http: BTreeMap<u64, Vec<u8>>,
    /// How often the shard turns although no session is due.
    pub(crate) turn_ms: u64,
    pub(super) cfg: Arc<Settings>,
    apps: Arc<Registry>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    acts: BTreeMap<u64, Act>,
    next_act: u64,
    next_reply: u64,
    turned_ms: u64,
    pub(super) outside: flume::Receiver<ToOutside>,
}

impl World {
    /// A world with nobody in it.
    pub(crate) fn new(seed: u64, cfg: Settings, apps: Registry) -> Self {
        let (to_outside, outside) = flume::bounded(10_000);
        let (cfg, apps) = (Arc::new(cfg), Arc::new(apps));
        let (senders, mail) = Mail::new();
        let (shared, mailboxes) = (Arc::new(Shared::new(2)), Mailboxes::new(senders));
        let shard = |id| {
            Shard::new(Parts {
                id: ShardId(id),
                cfg: Arc::clone(&cfg),
                apps: Arc::clone(&apps),
                shared: Arc::clone(&shared),
                mail: mailboxes.clone(),
                outside: to_outside.clone(),
                driver: "none",
                seed,
            })
        };
        let (shard, neighbour) = (shard(0), shard(1));
        let now = Now {
            mono_ms: START_MS,
            unix_ms: START_UNIX_MS,
        };
        Self {
            now,
            shard,
            neighbour,
            mail,
            marked: BTreeSet::new(),
            net: Net::default(),
            phones: Vec::new(),
            servers: Vec::new(),
            store: Store::default(),
            calls: Calls::default(),
            recognisers: Recognisers::default(),
            provider: Provider::default(),
            registrar: Registrar::default(),
            watch: Watch::default(),
            trace: Trace::default(),
            rng: fastrand::Rng::with_seed(seed ^ 0x5eed),
            events: 0,
            inputs_made: 0,
            provider_is_tame: false,
            http: BTreeMap::new(),
            turn_ms: TURN_MS,
            cfg,
            apps,
            queue: BinaryHeap::new(),
            acts: BTreeMap::new(),
            next_act: 0,
            next_reply: 0,
            turned_ms: 0,
            outside,
        }
    }

    /// A user's live session.
    pub(crate) fn session(&self, user: &str) -> Option<&Session> {
        self.shard.session(user)
    }

    /// Milliseconds since the start.
    pub(crate) fn t(&self) -> u64 {
        self.now.mono_ms - START_MS
    }

    /// What went wrong first, if anything did.
    pub(crate) fn failure(&self) -> Option<&Failure> {
        self.watch.failure.as_ref()
    }

    /// Lets something happen after `delay_ms`.
    pub(crate) fn after(&mut self, delay_ms: u64, act: Act) {
        self.at(self.now.mono_ms + delay_ms, act);
    }

    pub(super) fn at(&mut self, at_ms: u64, act: Act) {
        self.next_act += 1;
        self.queue.push(Reverse((at_ms, self.next_act)));
        self.acts.insert(self.next_act, act);
    }

    /// Runs for so many milliseconds, or until an invariant breaks.
    pub(crate) fn run(&mut self, ms: u64) {
        let end_ms = self.now.mono_ms + ms;
        while self.failure().is_none() {
            let turn_ms = self.next_turn_ms();
            let act = self.queue.peek().map(|Reverse(row)| *row);
            let act_ms = act.map_or(u64::MAX, |(at_ms, _)| at_ms);
            let next_ms = turn_ms.min(act_ms);
            if next_ms > end_ms {
                break;
            }
            self.advance_to(next_ms);
            match act {
                Some((_, id)) if act_ms <= turn_ms => {
                    self.queue.pop();
                    if let Some(act) = self.acts.remove(&id) {
                        self.happen(act);
                    }
                }
                _ => {
                    self.turned_ms = next_ms;
                    self.call(Cause::Turn, |shard, now| shard.tick(now));
                }
            }
            self.end_again();
        }
        self.advance_to(end_ms);
    }

    /// What has just ended is ended once more, which must mean nothing.
    fn end_again(&mut self) {
        while let Some(user) = self.watch.take_ended() {
            if self.failure().is_none() && self.session(&user).is_none() {
                self.rest(&user, Call::Dispose);
            }
        }
    }

    fn advance_to(&mut self, at_ms: u64) {
        self.now = self.now.plus(at_ms.saturating_sub(self.now.mono_ms));
        self.shard.at(self.now);
        self.neighbour.at(self.now);
    }

    fn next_turn_ms(&self) -> u64 {
        let due = self
            .watch
            .users
            .keys()
            .filter_map(|user| self.shard.session(user))
            .map(Session::next_deadline_ms)
            .min()
            .unwrap_or(u64::MAX);
        due.min(self.turned_ms + self.turn_ms)
            .max(self.turned_ms + 1)
            .max(self.now.mono_ms)
    }

    fn happen(&mut self, act: Act) {
        self.events += 1;
        match act {
            Act::Up(conn, frame) => self.arrive(conn, frame),
            Act::UpEnd(conn) => self.ended(conn),
            Act::Down(conn, frame) => self.received(conn, frame),
            Act::DownEnd(conn) => self.lost(conn),
            Act::Phone(ix, wake) => self.phone_wakes(ix, wake),
            Act::Server(ix, wake) => self.server_wakes(ix, wake),
            Act::Result(user, epoch, event) => {
                self.trace
                    .add(self.t(), &user, || format!("result   {event:?}"));
                self.watch.speech_reports(&user, epoch, &event);
                self.watch.recovery_reports(&user, epoch, &event);
                self.call(Cause::Result(user.clone()), |shard, _| {
                    let user = UserId::new(&user);
                    let rest = shard.receive(ToShard::Result { user, epoch, event });
                    assert!(rest.is_none(), "results are for sessions");
                });
            }
            Act::Answer(key, outcome) => self.http_answered(key, outcome),
            Act::Datagram(shard, packet) => self.datagram_comes(shard, packet),
            Act::Mail(shard) => self.mail_is_read(shard),
            Act::Speech(key) => self.provider_turns(&key),
            Act::Step(user, step) => {
                self.trace
                    .add(self.t(), &user, || format!("step     {step:?}"));
                self.take_step(&user, step);
            }
        }
    }

    /// Calls into the shard, carries out what it wants, and looks at the invariants.
    pub(crate) fn call<R>(&mut self, cause: Cause, act: impl FnOnce(&mut Shard, Now) -> R) -> R {
        self.call_at(0, cause, act)
    }

    /// The same, at one of the two shards.
    pub(super) fn call_at<R>(
        &mut self,
        shard: usize,
        cause: Cause,
        act: impl FnOnce(&mut Shard, Now) -> R,
    ) -> R {
        self.watch.before(&cause, &view!(self));
        let now = self.now;
        let result = act(self.shard_mut(shard), now);
        self.pump();
        self.watch.after(&cause, &view!(self));
        self.catch_up();
        result
    }

    pub(super) fn shard_mut(&mut self, shard: usize) -> &mut Shard {
        match shard {
            0 => &mut self.shard,
            _ => &mut self.neighbour,
        }
    }

    /// The server learns of its apps anew, and tells its sessions in its next turn.
    pub(crate) fn registry_becomes(&mut self, apps: Registry) {
        // What is due already is not to be mixed with what the records mean.
        self.call(Cause::Turn, |shard, now| shard.tick(now));
        let apps = Arc::new(apps.after(&self.apps));
        let message = ToShard::Registry(Arc::clone(&apps));
        self.call(Cause::Mail, |shard, _| {
            shard.receive(message);
        });
        self.apps = apps;
        self.watch.records_changed(&view!(self));
        self.call(Cause::Turn, |shard, now| shard.tick(now));
    }

    /// The records that the server has.
    pub(super) fn registry(&self) -> &Registry {
        &self.apps
    }

    /// A REST call of the phone or an administrator; returns its number.
    pub(crate) fn rest(&mut self, user: &str, call: Call) -> u64 {
        self.next_reply += 1;
        let id = self.next_reply;
        let reply = ReplyTo {
            origin: Origin::Shard(ShardId(0)),
            id,
        };
        self.trace
            .add(self.t(), user, || format!("rest     {id} {call:?}"));
        let cause = Cause::Rest(user.to_owned(), id, call.clone());
        self.call(cause, |shard, _| {
            shard.call(&UserId::new(user), reply, call);
        });
        id
    }

    pub(super) fn answered(&mut self, id: u64, answer: Answer) {
        self.keep_http(id, &answer);
        let (status, body) = match answer {
            Answer::Whole(answer) | Answer::WithHeaders(answer, _) => (answer.status, answer.body),
            Answer::StreamHead { status, .. } => (status, Bytes::new()),
            _ => return,
        };
        let body = serde_json::from_slice(&body).unwrap_or_default();
        self.trace
            .add(self.t(), "", || format!("answer   {id} {status} {body}"));
        self.watch.answered(id, status, body);
        self.recovery_answered(id, status);
    }

    /// What its client reads of an answer, where a scenario may want to look.
    fn keep_http(&mut self, id: u64, answer: &Answer) {
        if !self.watch.logging {
            return;
        }
        let bytes = match answer {
            Answer::Whole(answer) => Envelope::default().whole(answer, &[]),
            Answer::WithHeaders(answer, more) => Envelope::default().whole(answer, more),
            Answer::StreamChunk(data) => data.to_vec(),
            _ => return,
        };
        self.http.entry(id).or_default().extend(bytes);
    }

    pub(super) fn outside_asked(&mut self, message: ToOutside) {
        match message {
            ToOutside::LoadUser { user, epoch, .. } => {
                let draw = self.rng.u64(..);
                if let Some((delay_ms, record)) = self.store.read(&user, draw) {
                    let record = record.map(Box::new);
                    let event = Event::UserLoaded { record };
                    self.after(delay_ms, Act::Result(user.to_string(), epoch, event));
                }
            }
            ToOutside::Store {
                user,
                epoch,
                op,
                ack,
                ..
            } => self.store_asked(&user, epoch, &op, ack),
            ToOutside::Http {
                user, epoch, call, ..
            } => self.http_asked(&user, epoch, call),
            ToOutside::CancelHttp {
                user,
                epoch,
                call,
                under_way,
            } => {
                self.trace.add(self.t(), &user, || {
                    format!("http     {call:?} cancelled, {under_way:?}")
                });
                // Calls start at once here.
                if under_way == UnderWay::Cut {
                    self.calls.cancel(&user, epoch, call);
                    self.watch.http_over(&user, epoch, call);
                }
            }
            ToOutside::Speech { user, epoch, order } => self.speech_ordered(&user, epoch, order),
            ToOutside::Report(report) => self.watch.report = Some(report),
            ToOutside::AppLink(link) => self.registrar.link(&link),
            _ => {}
        }
    }
}
