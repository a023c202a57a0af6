//! Fan-out in steady state allocates nothing per relayed audio frame, from the decoded frame to the bytes that go to the
//! kernel; nor does a relayed event. What recognisers get is copied once, with the frame's one allocation. The shard is driven as `net/` drives it, with writers that take what is pending.

#[path = "support/counting.rs"]
mod counting;
#[path = "support/relay.rs"]
mod relay;

use bytes::Bytes;
use prism::base::ids::UserId;
use prism::base::settings::Settings;
use prism::session::event::PhoneFlags;
use prism::wire::frame::{Lent, Message, Utf8Bytes};
use prism::wire::speech::SpeechOrder;
use relay::{USER, World};

const APPS: usize = 3;

/// Allocations of a thousand runs, after a few that let buffers grow; `run` says how many bytes each app got.
fn allocations(world: &mut World, frame_bytes: usize, mut run: impl FnMut(&mut World)) -> u64 {
    for _ in 0..32 {
        run(world);
        world.drain();
    }
    let before = counting::allocations();
    for _ in 0..1000 {
        run(world);
        assert!(world.drain() >= frame_bytes, "every app gets every frame");
    }
    counting::allocations() - before
}

#[test]
fn an_audio_frame_reaches_three_apps_without_an_allocation() {
    let mut world = World::new(APPS, PhoneFlags::default());
    let pcm = Bytes::from(vec![1_u8; 640]);
    let count = allocations(&mut world, 644, |world| {
        let phone = world.phone;
        world.frame(phone, Message::Binary(pcm.clone()));
    });
    assert_eq!(count, 0, "in 1000 frames to {APPS} apps");
}

#[test]
fn a_frame_lent_from_the_read_buffer_reaches_three_apps_without_an_allocation() {
    let mut world = World::new(APPS, PhoneFlags::default());
    let count = allocations(&mut world, 644, |world| {
        let phone = world.phone;
        assert!(
            world.shard.lends(phone) > Some(640),
            "phones' audio is lent"
        );
        assert_eq!(world.shard.lends(world.apps[0]), Some(0), "apps' is not");
        world.turn(phone, |shard| shard.lent(phone, Lent::Binary(&[1; 640])));
    });
    assert_eq!(count, 0, "in 1000 frames to {APPS} apps");
}

#[test]
fn a_frame_for_recognisers_is_copied_once_however_many_there_are() {
    let mut settings = Settings::default();
    settings.speech.soniox_api_key = "key".into();
    let mut world = World::with(settings, APPS, PhoneFlags::default());
    let app = world.apps[0];
    world.text(app, r#"{"type":"subscription_update","subscriptions":["audio_chunk","button_press","transcription:en-US","transcription:auto","translation:fr-en"]}"#);
    assert_eq!(world.speech().count(), 3, "recognisers");
    let count = allocations(&mut world, 644, |world| {
        let phone = world.phone;
        world.turn(phone, |shard| shard.lent(phone, Lent::Binary(&[1; 640])));
        let given = world.speech().map(|order| match order {
            SpeechOrder::Audio { ids, pcm } => (ids.len(), pcm.len()),
            other => panic!("{other:?}"),
        });
        assert!(given.eq([(3, 640)]));
    });
    assert_eq!(count, 1000, "one for each of 1000 frames");
}

#[test]
fn an_audio_datagram_reaches_three_apps_without_an_allocation() {
    let mut world = World::new(APPS, PhoneFlags::default());
    let (phone, hash) = (world.phone, UserId::new(USER).hash32());
    world.text(
        phone,
        &format!(r#"{{"type":"udp_register","userIdHash":{hash}}}"#),
    );
    let mut sequence = 0_u16;
    let count = allocations(&mut world, 644, |world| {
        let mut packet = [1; 646];
        packet[..4].copy_from_slice(&hash.to_be_bytes());
        packet[4..6].copy_from_slice(&sequence.to_be_bytes());
        sequence = sequence.wrapping_add(1);
        world.shard.datagram(&mut packet);
    });
    assert_eq!(count, 0, "in 1000 datagrams to {APPS} apps");
}

#[test]
fn an_event_reaches_three_apps_without_an_allocation() {
    let mut world = World::new(APPS, PhoneFlags::default());
    let press = r#"{"type":"button_press","buttonId":"main","pressType":"short","timestamp":1773480413589}"#;
    let kept = Utf8Bytes::from_static(press);
    let count = allocations(&mut world, 200, |world| {
        let phone = world.phone;
        world.frame(phone, Message::Text(kept.clone()));
        world.turn(phone, |shard| shard.lent(phone, Lent::Text(press)));
    });
    assert_eq!(count, 0, "in 2000 events to {APPS} apps");
}
