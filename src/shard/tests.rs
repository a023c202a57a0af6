//! Behaviour of a shard that a peer would notice.

mod datagrams;
mod defects;
mod left_behind;
mod lines;
mod memory;
mod outbox;
mod shares;
mod speech;
mod waiting;

use super::admission::Candidate;
use super::mailbox::ToShard;
use super::sockets::{LinkRef, Opening};
use super::writers::WriteStep;
use super::*;
use crate::base::ids::{ConnId, Origin, ReplyTo};
use crate::base::metrics::Side;
use crate::base::settings::HealthMonitorMode;
use crate::session::effects::StoreOp;
use crate::session::event::{Event, HttpOutcome, PhoneFlags};
use crate::session::rest::Call;
use crate::wire::auth::sha256_hex;
use crate::wire::frame::{Lent, Message, Utf8Bytes};
use crate::wire::kinds::AppKind;
use crate::wire::records::{AppRecord, UserRecord};
use crate::wire::upgrade::AppHeaders;
use bytes::Bytes;

struct World {
    shard: Shard,
    now: Now,
    outside: flume::Receiver<ToOutside>,
}

impl World {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn with(cfg: Settings) -> Self {
        let (inbox, _) = flume::bounded(16);
        let (outside, kept) = flume::bounded(1024);
        let record = AppRecord {
            package_name: "com.acme.x".into(),
            key_sha256: sha256_hex("k1"),
            ..AppRecord::default()
        };
        let shard = Shard::new(Parts {
            id: ShardId(0),
            cfg: Arc::new(cfg),
            apps: Arc::new(Registry::new([record], 1)),
            shared: Arc::new(Shared::new(1)),
            mail: Mailboxes::new(vec![inbox]),
            outside,
            driver: "test",
            seed: 7,
        });
        let now = Now {
            mono_ms: 1000,
            unix_ms: 1_773_480_413_589,
        };
        let mut world = Self {
            shard,
            now,
            outside: kept,
        };
        world.pass(0);
        world
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        self.shard.tick(self.now);
    }

    fn phone(&mut self, user: &str) -> ConnId {
        let opening = Opening {
            handle: 1,
            link: LinkRef::default(),
            switch: b"101",
        };
        self.shard
            .open_phone(&UserId::new(user), PhoneFlags::default(), opening)
            .expect("room")
    }

    fn app(&mut self, user: &str) -> ConnId {
        self.app_of(user, "com.acme.x")
    }

    fn app_of(&mut self, user: &str, package: &str) -> ConnId {
        let candidate = Candidate {
            headers: AppHeaders {
                user: Some(user.into()),
                package: Some(package.into()),
                api_key: Some("k1".into()),
                ..AppHeaders::default()
            },
            ..Candidate::default()
        };
        let opening = Opening {
            handle: 2,
            link: LinkRef::default(),
            switch: b"101",
        };
        self.shard.open_app(candidate, opening).expect("room")
    }

    /// An app socket that waits for its user, its answer read.
    fn parked_app(&mut self, user: &str) -> ConnId {
        let conn = self.app(user);
        self.say(conn, RECONNECT);
        self.sent(conn);
        conn
    }

    /// A phone, and an app that waited for it and runs; the phone was told nothing yet.
    fn phone_and_app(&mut self, user: &str) -> (ConnId, ConnId) {
        let app = self.parked_app(user);
        let phone = self.phone(user);
        let user = UserId::new(user);
        let epoch = self.shard.session(&user).expect("a session").epoch;
        let record = Some(Box::new(UserRecord {
            running_apps: vec!["com.acme.x".into()],
            ..UserRecord::default()
        }));
        let event = Event::UserLoaded { record };
        self.shard.receive(ToShard::Result { user, epoch, event });
        assert!(self.sent(app).contains("reconnect_ack"));
        (phone, app)
    }

    fn say(&mut self, conn: ConnId, text: &'static str) {
        self.shard.begin_turn(conn, self.now, 1);
        let message = Message::Text(text.into());
        let _ = self.shard.message(conn, message);
        self.shard.end_turn(conn, || 2);
    }

    /// Everything queued on a connection, as the peer reads it.
    fn sent(&mut self, conn: ConnId) -> String {
        match self.shard.next_write(conn) {
            Some(WriteStep::Send(pending)) => {
                let text = String::from_utf8_lossy(pending.bytes()).into_owned();
                self.shard.sent(pending, 3);
                text
            }
            _ => String::new(),
        }
    }
}

const REPLY: ReplyTo = ReplyTo {
    origin: Origin::Shard(ShardId(0)),
    id: 1,
};
const RECONNECT: &str = r#"{"type":"reconnect","sdkVersion":"3.0.0"}"#;

#[test]
fn sockets_sessions_and_audio_are_counted_once() {
    let mut world = World::new();
    let phone = world.phone("a@x.io");
    world.app("b@x.io");
    // Upgraded, and counted, on another shard.
    let opening = Opening {
        handle: 3,
        link: LinkRef::default(),
        switch: b"",
    };
    assert!(
        world
            .shard
            .open_app(Candidate::default(), opening)
            .is_some()
    );
    world.shard.begin_turn(phone, world.now, 1);
    let audio = Message::Binary(Bytes::from_static(&[1; 320]));
    let _ = world.shard.message(phone, audio);
    world.shard.end_turn(phone, || 2);
    for (counter, count) in [
        (Counter::PhoneOpened, 1),
        (Counter::AppOpened, 1),
        (Counter::AudioBytesWs, 320),
        (Counter::SessionsCreated, 1),
        (Counter::SessionsDisposed, 0),
    ] {
        assert_eq!(
            world.shard.workspace.metrics.get(counter),
            count,
            "{counter:?}"
        );
    }
}

#[test]
fn a_slow_message_is_told_with_its_user_and_its_type() {
    let mut world = World::new();
    let phone = world.phone("a@x.io");
    let lines = crate::base::log_capture::lines_of(|| {
        for end_ns in [100_000_000, 100_000_001] {
            world.shard.begin_turn(phone, world.now, 1);
            let ping = Message::Text(r#"{"type":"ping"}"#.into());
            let _ = world.shard.message(phone, ping);
            world.shard.end_turn(phone, || end_ns);
        }
    });
    let [line] = &lines[..] else {
        panic!("one of the two took 100 ms: {lines:?}");
    };
    let user = UserId::new("a@x.io").log_tag();
    for part in [
        "WARN slow message",
        user.as_str(),
        "correlation_id=",
        "kinds=\"ping\"",
        "ms=100",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn an_answer_to_a_session_that_ended_means_nothing_to_the_next_one() {
    let mut world = World::new();
    let record = AppRecord {
        package_name: "com.acme.x".into(),
        public_url: "http://127.0.0.1:9".into(),
        ..AppRecord::default()
    };
    world.shard.apps = Arc::new(Registry::new([record], 2));
    world.phone("a@x.io");
    let user = UserId::new("a@x.io");
    let at = world.shard.users["a@x.io"];
    world.shard.drive(at, |session, cx| {
        session.on_event(Event::UserLoaded { record: None }, cx);
    });
    let start = Call::StartApp {
        package: "com.acme.x".into(),
        shape: crate::session::rest::Shape::Phone,
    };
    world.shard.call(&user, REPLY, start);
    let asked = |world: &World| {
        let calls = world
            .outside
            .try_iter()
            .filter_map(|message| match message {
                ToOutside::Http { epoch, call, .. } => Some((epoch, call.call)),
                _ => None,
            });
        calls.collect::<Vec<_>>()
    };
    let (epoch, call) = asked(&world)[0];
    for (epoch, retries) in [(epoch + 1, 0), (epoch, 1)] {
        let outcome = HttpOutcome::Failed {
            error: "refused".into(),
        };
        let event = Event::Http { call, outcome };
        let user = user.clone();
        let rest = world.shard.receive(ToShard::Result { user, epoch, event });
        assert!(rest.is_none());
        world.pass(1100);
        assert_eq!(asked(&world).len(), retries, "{epoch}");
    }
    assert_eq!(
        world
            .shard
            .workspace
            .metrics
            .get(Counter::CorrelationOrphans),
        1
    );
}

#[test]
fn a_slow_connect_of_an_app_is_told_and_counted_like_any_message() {
    let mut world = World::new();
    world.phone("a@x.io");
    let app = world.app("a@x.io");
    let parked = world.app("b@x.io");
    let lines = crate::base::log_capture::lines_of(|| {
        for conn in [app, parked] {
            world.shard.begin_turn(conn, world.now, 1);
            let _ = world.shard.message(conn, Message::Text(RECONNECT.into()));
            world.shard.end_turn(conn, || 100_000_001);
        }
        // What the parked socket said is nobody's.
        world.shard.begin_turn(app, world.now, 1);
        let _ = world.shard.message(app, Message::Pong(Bytes::new()));
        world.shard.end_turn(app, || 100_000_001);
    });
    let [line] = &lines[..] else {
        panic!("one of them has a session: {lines:?}");
    };
    let user = UserId::new("a@x.io").log_tag();
    for part in ["slow message", user.as_str(), "kinds=\"reconnect\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let counted = world.shard.workspace.metrics.messages(Side::App)[AppKind::Reconnect as usize];
    assert_eq!(counted, 2);
}

#[test]
fn administrators_see_how_much_went_out_on_a_socket() {
    let mut world = World::new();
    let phone = world.phone("a@x.io");
    let at = world.shard.users["a@x.io"];
    let out = |world: &mut World| {
        world
            .shard
            .call(&UserId::new("a@x.io"), REPLY, Call::Connections);
        let Some((_, Answer::Whole(answer))) = world.shard.replies().pop() else {
            panic!("no answer");
        };
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let of = |name: &str| body[0][name].as_u64().expect("a number");
        (of("messagesOut"), of("bytesOut"))
    };
    world.shard.drive(at, |session, cx| {
        session.on_event(Event::UserLoaded { record: None }, cx);
    });
    assert_eq!(out(&mut world), (0, 0), "nothing has gone yet");
    let Some(WriteStep::Send(pending)) = world.shard.next_write(phone) else {
        panic!("an ack waits");
    };
    let first = pending.len() - "101".len();
    world.shard.sent(pending, 3);
    let (messages, bytes) = out(&mut world);
    assert!(messages > 0 && bytes == first as u64, "the 101 is no frame");
    world.pass(10_000);
    world.sent(phone);
    assert_eq!(out(&mut world), (messages + 1, bytes + 10), "a ping");
}

#[test]
fn a_shutdown_stores_the_last_location_and_nothing_else() {
    let mut world = World::new();
    let phone = world.phone("a@x.io");
    let at = world.shard.users["a@x.io"];
    world.shard.drive(at, |session, cx| {
        session.on_event(Event::UserLoaded { record: None }, cx);
    });
    world.say(
        phone,
        r#"{"type":"location_update","lat":38.7169,"lng":-9.1399,"accuracy":12.5}"#,
    );
    world.sent(phone);
    world.outside.drain();
    world.shard.receive(ToShard::Drain);
    let stored: Vec<StoreOp> = world
        .outside
        .drain()
        .filter_map(|message| match message {
            ToOutside::Store { op, .. } => Some(op),
            _ => None,
        })
        .collect();
    assert!(
        matches!(&stored[..], [StoreOp::SetLocation(fix)] if fix.lat == 38.7169),
        "{stored:?}"
    );
    let bye = world.sent(phone);
    assert!(bye.ends_with("\u{3}\u{fffd}Server shutting down"), "{bye}");
}

/// protocol.md §1.6: any inbound byte counts, also of a message that takes minutes to arrive.
#[test]
fn a_socket_whose_message_arrives_in_pieces_is_not_silent() {
    let mut world = World::new();
    let (slow, silent) = (world.phone("a@x.io"), world.phone("b@x.io"));
    for _ in 0..300 {
        world.pass(1000);
        world.shard.begin_turn(slow, world.now, 1);
        world.shard.end_turn(slow, || 2);
    }
    assert!(world.sent(silent).contains("Connection timeout detected"));
    assert!(!world.sent(slow).contains("Connection timeout detected"));
}

/// behaviour.md §7.10: an app that never uses the feature must not cost or get a message per user.
#[test]
fn who_comes_and_goes_concerns_only_apps_that_write_to_each_other() {
    use crate::base::ids::Package;
    use crate::session::managers::app_messages::{Content, Incoming, Outgoing, RoomRequest, To};
    let mut world = World::new();
    let joined = |package: &str| Incoming {
        from: UserId::new("b@x.io"),
        package: Package::new(package),
        content: Content::Joined,
    };
    let mut leave = |package: &str, to: To| {
        let message = joined(package);
        world.shard.app_message(Outgoing { to, message });
        world.shard.app_to_app.contains(package)
    };
    assert!(!leave("com.acme.x", To::Everybody));
    let room_id = "r1".to_owned();
    assert!(leave(
        "com.acme.x",
        To::Rooms(RoomRequest::Leave { room_id })
    ));
    assert!(leave("com.acme.x", To::Everybody));
    assert!(!leave("com.acme.y", To::Everybody));
}

#[test]
fn calls_of_users_without_a_session_have_their_own_answers() {
    let mut world = World::new();
    let mut ask = |call: Call| {
        let reply = ReplyTo {
            origin: crate::base::ids::Origin::Shard(ShardId(0)),
            id: 1,
        };
        world.shard.call(&UserId::new("a@x.io"), reply, call);
        match world.shard.replies().pop() {
            Some((1, Answer::Whole(answer))) => (
                answer.status,
                String::from_utf8(answer.body.to_vec()).expect("text"),
            ),
            other => panic!("{other:?}"),
        }
    };
    let (status, body) = ask(Call::ButtonPress {
        body: Bytes::from_static(b"{}"),
    });
    assert_eq!(
        status, 200,
        "no app wants the press: the phone takes a photo"
    );
    assert!(body.starts_with(r#"{"success":true,"action":"take_photo","requestId":"p"#));
    assert_eq!(ask(Call::Goodbye).0, 200);
    let request_id = "p1".to_owned();
    assert_eq!(ask(Call::SystemPhoto { request_id }).0, 404);
    assert!(ask(Call::ListApps).1.contains("NO_ACTIVE_SESSION"));
}

#[test]
fn a_socket_that_the_transport_gave_up_ended_by_timeout() {
    let mut cfg = Settings::default();
    cfg.health.health_monitor_mode = crate::base::settings::HealthMonitorMode::Off;
    let mut world = World::with(cfg);
    let phone = world.phone("a@x.io");
    world.sent(phone);
    let ended = |world: &World| {
        let session = world.shard.session("a@x.io").expect("in its grace");
        let last = session.m.health.ended().last();
        last.map(|ended| ended.reason.as_str())
    };
    for _ in 0..119 {
        world.pass(1000);
    }
    assert_eq!(ended(&world), None);
    world.pass(1000);
    world.pass(1000);
    assert_eq!(ended(&world), Some("timeout"));
}

/// behaviour.md §9.4: a stall of our own process must not look like peers that fell silent.
#[test]
fn after_a_stall_peers_have_a_heartbeats_time_to_be_heard() {
    for speaks in [true, false] {
        let mut cfg = Settings::default();
        cfg.health.health_monitor_mode = crate::base::settings::HealthMonitorMode::Off;
        let mut world = World::with(cfg);
        let phone = world.phone("a@x.io");
        world.pass(1000);
        world.pass(600_000);
        for _ in 0..9 {
            assert!(world.shard.cuts().is_empty());
            world.pass(1000);
        }
        if speaks {
            world.shard.begin_turn(phone, world.now, 1);
            world.shard.end_turn(phone, || 2);
        }
        world.pass(1000);
        world.pass(1000);
        assert_eq!(world.shard.cuts().is_empty(), speaks);
    }
}
