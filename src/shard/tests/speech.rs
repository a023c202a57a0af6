//! Recognisers of sessions, as the outside thread hears of them.

use super::*;
use crate::session::managers::speech::Trigger;
use crate::session::testkit::session_end;
use crate::wire::speech::{SpeechId, SpeechOrder};

/// A user with a recogniser; what was asked of it so far is taken.
fn speaking(room: usize) -> (World, ConnId) {
    let mut cfg = Settings::default();
    cfg.speech.soniox_api_key = "key".into();
    let mut world = World::with(cfg);
    let (outside, kept) = flume::bounded(room);
    (world.shard.outside, world.outside) = (outside, kept);
    let phone = world.phone("a@x.io");
    world.loaded("a@x.io");
    world.outside.drain();
    (world, phone)
}

impl World {
    fn loaded(&mut self, user: &str) {
        let event = Event::UserLoaded { record: None };
        let at = self.shard.users[user];
        self.shard
            .drive(at, |session, cx| session.on_event(event, cx));
    }

    fn orders(&self) -> Vec<SpeechOrder> {
        let speech = self.outside.drain().filter_map(|message| match message {
            ToOutside::Speech { order, .. } => Some(order),
            _ => None,
        });
        speech.collect()
    }

    fn sound(&mut self, phone: ConnId) {
        self.shard.begin_turn(phone, self.now, 1);
        let message = Message::Binary(Bytes::from_static(&[0; 320]));
        let _ = self.shard.message(phone, message);
        self.shard.end_turn(phone, || 2);
    }
}

const WISH: &str =
    r#"{"type":"phone_subscription_update","subscriptions":["transcription:en-US"]}"#;

#[test]
fn a_session_that_ends_leaves_no_recogniser_whatever_ended_it() {
    for panics in [false, true] {
        let (mut world, phone) = speaking(1024);
        world.say(phone, WISH);
        assert!(matches!(world.orders()[..], [SpeechOrder::Open(_)]));
        let at = world.shard.users["a@x.io"];
        world.shard.drive(at, |session, cx| {
            assert!(!panics, "a defect");
            session.on_event(session_end(), cx);
        });
        assert!(!world.shard.has_session("a@x.io"));
        assert_eq!(world.orders(), [SpeechOrder::Abandon], "panics: {panics}");
    }
}

#[test]
fn a_full_mailbox_loses_sound_and_refuses_recognisers() {
    let (mut world, phone) = speaking(1);
    world.say(phone, WISH);
    world.sound(phone);
    assert_eq!(world.orders().len(), 1);
    world.sound(phone);
    world.sound(phone);
    assert_eq!(
        world.shard.workspace.metrics.get(Counter::SpeechAudioLost),
        2
    );
    let at = world.shard.users["a@x.io"];
    world.shard.drive(at, |session, cx| {
        let failed = crate::wire::speech::SpeechReport::Closed(Some(1006));
        let id = SpeechId(1);
        session.on_event(Event::Speech { id, report: failed }, cx);
    });
    world.pass(1000);
    assert_eq!(
        world.shard.workspace.metrics.get(Counter::SpeechResource),
        1
    );
    let session = world.shard.session("a@x.io").expect("there");
    assert!(!session.m.speech.holds_any());
    world.outside.drain();
    world.shard.drive(at, |session, cx| {
        crate::session::flow::recognisers::reconcile(session, Trigger::Subscription, cx);
    });
    assert!(matches!(world.orders()[..], [SpeechOrder::Open(_)]));
}

#[test]
fn sound_leaves_half_of_a_mailbox_to_others() {
    let (mut world, phone) = speaking(10);
    world.say(phone, WISH);
    for _ in 0..10 {
        world.sound(phone);
    }
    assert_eq!(
        world.shard.workspace.metrics.get(Counter::SpeechAudioLost),
        5
    );
    world.say(phone, r#"{"type":"VAD","status":false}"#);
    assert_eq!(
        world.orders().last(),
        Some(&SpeechOrder::Close(SpeechId(1)))
    );
}

#[test]
fn recognisers_end_even_if_the_mailbox_was_full_then() {
    let (mut world, phone) = speaking(2);
    world.say(phone, WISH);
    assert!(matches!(world.orders()[..], [SpeechOrder::Open(_)]));
    while world
        .shard
        .outside
        .try_send(ToOutside::Reply {
            id: 0,
            answer: Answer::StreamEnd,
        })
        .is_ok()
    {}
    let at = world.shard.users["a@x.io"];
    world.shard.drive(at, |session, cx| {
        session.on_event(session_end(), cx);
    });
    world.pass(10);
    assert_eq!(world.orders(), [], "still full");
    world.pass(10);
    assert_eq!(world.orders(), [SpeechOrder::Abandon]);
    world.pass(10);
    assert_eq!(world.orders(), [], "said once");
}

#[test]
fn a_key_that_a_reload_brings_is_used_at_once() {
    let (mut world, phone) = speaking(1024);
    let with_key = Arc::clone(&world.shard.cfg);
    let mut without = Settings::clone(&with_key);
    without.speech.soniox_api_key.clear();
    world.shard.receive(ToShard::Settings(Arc::new(without)));
    world.say(phone, WISH);
    assert_eq!(world.orders(), []);
    world
        .shard
        .receive(ToShard::Settings(Arc::clone(&with_key)));
    world.pass(1);
    assert!(matches!(world.orders()[..], [SpeechOrder::Open(_)]));
    // Other settings are no news for recognisers.
    world.shard.receive(ToShard::Settings(with_key));
    world.pass(1);
    assert_eq!(world.orders(), []);
}
