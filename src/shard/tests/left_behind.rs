//! What sessions leave behind elsewhere is removed.

use super::*;
use crate::base::ids::CallId;
use crate::session::effects::{HttpCall, HttpMethod};
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
