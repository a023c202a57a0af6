//! What sessions leave behind elsewhere is removed.

use super::*;
use crate::base::ids::CallId;
use crate::session::effects::{HttpCall, HttpKind, HttpMethod};
use crate::session::event::StoreOutcome;
use crate::session::rest::Shape;
use crate::session::testkit::session_end;

const ASK: &str = r#"{"type":"managed_stream_request","requestId":"r1"}"#;

/// A phone that asked for a managed stream, and the call that makes its live input.
fn asking() -> (World, u64, CallId) {
    let mut cfg = Settings::default();
    cfg.streaming.managed_api_url = "https://api.example.net".into();
    cfg.streaming.managed_account_id = "acc".into();
    cfg.device.validation_enabled = false;
    let mut world = World::with(cfg);
    let phone = world.phone("a@x.io");
    let at = world.shard.users["a@x.io"];
    world.shard.drive(at, |session, cx| {
        session.on_event(Event::UserLoaded { record: None }, cx);
    });
    world.say(phone, ASK);
    let (epoch, call) = world.calls().pop().expect("a call of the provider");
    assert_eq!(call.method, HttpMethod::Post);
    (world, epoch, call.call)
}

impl World {
    pub(super) fn calls(&self) -> Vec<(u64, HttpCall)> {
        let calls = self.outside.drain().filter_map(|message| match message {
            ToOutside::Http { epoch, call, .. } => Some((epoch, call)),
            _ => None,
        });
        calls.collect()
    }

    /// The provider answers.
    pub(super) fn answered(&mut self, epoch: u64, call: CallId, body: &'static [u8]) {
        let outcome = HttpOutcome::Answer {
            status: 200,
            body: Bytes::from_static(body),
            retry_after_s: None,
        };
        let user = UserId::new("a@x.io");
        let event = Event::Http { call, outcome };
        self.shard.receive(ToShard::Result { user, epoch, event });
    }

    fn made(&mut self, epoch: u64, call: CallId) -> Vec<String> {
        self.answered(epoch, call, br#"{"success":true,"result":{"uid":"u1"}}"#);
        let calls = self.calls().into_iter();
        calls
            .map(|(_, call)| format!("{:?} {}", call.method, call.url))
            .collect()
    }
}

#[test]
fn a_live_input_that_is_made_after_its_session_ended_is_removed_once() {
    for panics in [false, true] {
        let (mut world, epoch, call) = asking();
        let at = world.shard.users["a@x.io"];
        world.shard.drive(at, |session, cx| {
            assert!(!panics, "a defect");
            session.on_event(session_end(), cx);
        });
        assert!(!world.shard.has_session("a@x.io"));
        assert!(world.calls().is_empty());
        // The user's next session has calls of the same number.
        world.phone("a@x.io");
        assert!(world.made(epoch + 1, call).is_empty());
        let removal = "Delete https://api.example.net/accounts/acc/stream/live_inputs/u1";
        assert_eq!(world.made(epoch, call), [removal], "panics: {panics}");
        assert!(world.made(epoch, call).is_empty());
    }
}

#[test]
fn a_shutdown_removes_the_live_inputs_of_all_sessions_whether_they_are_there_or_on_their_way() {
    let removal = "Delete https://api.example.net/accounts/acc/stream/live_inputs/u1";
    // It is there.
    let (mut world, epoch, call) = asking();
    assert!(world.made(epoch, call).is_empty());
    world.shard.receive(ToShard::Drain);
    let removed: Vec<_> = world.calls().into_iter().map(|(_, call)| call).collect();
    assert_eq!(removed.len(), 1);
    assert_eq!(
        format!("{:?} {}", removed[0].method, removed[0].url),
        removal
    );
    // It is on its way.
    let (mut world, epoch, call) = asking();
    world.shard.receive(ToShard::Drain);
    assert!(world.calls().is_empty());
    assert_eq!(world.made(epoch, call), [removal]);
}

/// A running app whose stop somebody waits for.
fn asked_to_stop(shape: Shape) -> World {
    let mut world = World::new();
    let app = AppRecord {
        package_name: "com.acme.x".into(),
        public_url: "https://x.acme.dev".into(),
        ..AppRecord::default()
    };
    world.shard.apps = Arc::new(Registry::new([app], 2));
    world.phone("a@x.io");
    let at = world.shard.users["a@x.io"];
    let record = UserRecord {
        running_apps: vec!["com.acme.x".into()],
        ..UserRecord::default()
    };
    world.shard.drive(at, |session, cx| {
        let record = Some(Box::new(record));
        session.on_event(Event::UserLoaded { record }, cx);
    });
    world.call(Call::StopApp {
        package: "com.acme.x".into(),
        shape,
    });
    world
}

/// The same, when the session ends: by the end of its webhook or before. The write of the store.
fn stopping(shape: Shape, answered: bool, end: impl FnOnce(&mut World)) -> (World, u64, CallId) {
    let mut world = asked_to_stop(shape);
    if answered {
        let stops = world.calls().into_iter();
        for (epoch, stop) in stops.filter(|(_, call)| call.kind == HttpKind::StopRequest) {
            world.answered(epoch, stop.call, b"");
        }
        assert!(world.answers().is_empty(), "not durable yet");
    }
    let mut writes = world.writes();
    end(&mut world);
    assert!(!world.shard.has_session("a@x.io"));
    writes.extend(world.writes());
    let [(epoch, call)] = writes[..] else {
        panic!("one write: {writes:?}");
    };
    (world, epoch, call)
}

fn ends(world: &mut World) {
    let at = world.shard.users["a@x.io"];
    world
        .shard
        .drive(at, |session, cx| session.on_event(session_end(), cx));
}

impl World {
    fn call(&mut self, call: Call) {
        let reply = ReplyTo {
            origin: Origin::Shard(ShardId(0)),
            id: 7,
        };
        self.shard.call(&UserId::new("a@x.io"), reply, call);
    }

    fn answers(&mut self) -> Vec<(u16, String)> {
        let replies = std::mem::take(self.shard.replies());
        let answers = replies.into_iter().map(|(id, answer)| {
            let Answer::Whole(whole) = answer else {
                panic!("streamed");
            };
            assert_eq!(id, 7);
            (
                whole.status,
                String::from_utf8_lossy(&whole.body).into_owned(),
            )
        });
        answers.collect()
    }

    /// Writes to the running list that are acknowledged.
    fn writes(&self) -> Vec<(u64, CallId)> {
        let writes = self.outside.drain().filter_map(|message| match message {
            ToOutside::Store {
                epoch,
                op: StoreOp::RemoveRunning(_),
                ack,
                ..
            } => Some((epoch, ack?)),
            _ => None,
        });
        writes.collect()
    }

    fn stored(&mut self, epoch: u64, call: CallId, outcome: StoreOutcome) {
        let user = UserId::new("a@x.io");
        let event = Event::Stored { call, outcome };
        self.shard.receive(ToShard::Result { user, epoch, event });
    }
}

/// behaviour.md §12.3: the app is stopped, with its session; success is said when that is durable.
#[test]
fn a_stop_whose_session_ends_is_answered_when_the_store_has() {
    let stopped = r#"{"success":true,"data":{"status":"stopped","isRunning":false}}"#;
    let assistant = r#"{"success":true,"message":"App stopped successfully"}"#;
    for (shape, body) in [(Shape::Phone, stopped), (Shape::SystemApp, assistant)] {
        for answered in [false, true] {
            let (mut world, epoch, call) = stopping(shape, answered, ends);
            assert!(world.answers().is_empty(), "not durable yet");
            // The user's next session has calls of the same number.
            world.phone("a@x.io");
            world.stored(epoch + 1, call, StoreOutcome::Done);
            assert!(world.answers().is_empty());
            for expected in [vec![(200, body.to_owned())], vec![]] {
                world.stored(epoch, call, StoreOutcome::Done);
                assert_eq!(world.answers(), expected, "once");
            }
        }
    }
}

#[test]
fn a_stop_whose_write_finds_no_room_as_its_session_ends_is_an_error_at_once() {
    let mut world = asked_to_stop(Shape::Phone);
    let user = UserId::new("a@x.io");
    while world.shard.tell_outside(ToOutside::LoadUser {
        user: user.clone(),
        epoch: 0,
    }) {}
    ends(&mut world);
    let body = r#"{"success":false,"message":"Error stopping app"}"#;
    assert_eq!(world.answers(), [(500, body.to_owned())]);
    world.pass(10_000);
    assert!(world.answers().is_empty(), "once");
}

#[test]
fn a_stop_whose_session_ends_and_that_the_store_does_not_keep_is_an_error() {
    let body = r#"{"success":false,"message":"Error stopping app"}"#;
    let broken = [(500, body.to_owned())];
    let (mut world, epoch, call) = stopping(Shape::Phone, false, ends);
    world.stored(epoch, call, StoreOutcome::Failed);
    assert_eq!(world.answers(), broken);
    let (mut world, epoch, call) = stopping(Shape::Phone, true, ends);
    world.pass(4999);
    assert!(world.answers().is_empty());
    world.pass(1);
    assert_eq!(world.answers(), broken);
    world.stored(epoch, call, StoreOutcome::Done);
    assert!(world.answers().is_empty(), "once");
}

#[test]
fn a_stop_that_waits_when_its_session_breaks_is_answered_too() {
    let (mut world, epoch, call) = stopping(Shape::Phone, true, |world| {
        let at = world.shard.users["a@x.io"];
        world.shard.drive(at, |_, _| panic!("a defect"));
    });
    world.stored(epoch, call, StoreOutcome::Done);
    assert_eq!(world.answers()[0].0, 200);
}
